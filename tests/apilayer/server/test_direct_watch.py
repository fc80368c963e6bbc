"""Watch events that are sent on the spot, over real sockets that take little."""

from __future__ import annotations

import gc
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import httptools
import pytest
import trio
import trio.testing

from apilayer.audit.interface import NO_AUDIT
from apilayer.pipeline.request import Request, Response
from apilayer.server.arrivals import Arrivals
from apilayer.server.h1 import MAX_EARLY_BYTES, H1Connection
from apilayer.server.h1_parser import Incoming, RequestParser
from apilayer.server.h2 import H2Connection
from tests.apilayer.in_process import serving
from tests.apilayer.server.conftest import Client
from tests.apilayer.server.test_secure_stream import agreed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from apilayer.audit.interface import Audit
    from tests.apilayer.in_process import Server
    from tests.apilayer.memory_store import MemoryStore

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


class Steps(trio.abc.Instrument):
    """Counts how often the tasks of connections were run."""

    def __init__(self, name: str = "served.<locals>.connect") -> None:
        self.count = 0
        self._name = name

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += self._name in task.name


@attrs.frozen
class Served:
    """A server and connections to it whose sockets take little."""

    server: Server
    clients: list[Client]

    def put(self, number: int, size: int = 0) -> None:
        """A config map comes into being; the name says its number."""
        value = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"c%d"},"data":{"x":"%s"}}'
        self.server.store._write(b"/registry/configmaps/default/c%d" % number, value % (number, b"x" * size))


@asynccontextmanager
async def served(
    certificates: Path,
    count: int = 1,
    buffer_bytes: int = 1 << 15,
    *,
    http2: bool = False,
    store: MemoryStore | None = None,
    audit: Audit = NO_AUDIT,
) -> AsyncIterator[Served]:
    arrivals = Arrivals()
    async with serving(store, audit) as server, trio.open_nursery() as nursery:
        clients: list[Client] = []
        nursery.start_soon(arrivals.run)

        async def connect(task_status: trio.TaskStatus[None]) -> None:
            async with agreed(certificates) as (ours, theirs):
                ours.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
                theirs.transport_stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
                clients.append(Client(theirs))
                task_status.started()
                app = server.app
                kind = H2Connection(ours, app, None, 100) if http2 else H1Connection(ours, app, None, "", arrivals)
                await kind.run()
                ours.close()
                await trio.sleep_forever()  # the client may still have something to read

        for _ in range(count):
            await nursery.start(connect)
        yield Served(server, clients)
        nursery.cancel_scope.cancel()
    arrivals.close()


async def test_a_watch_that_keeps_up_runs_no_task(certificates: Path) -> None:
    async with served(certificates, 3) as it:
        watches = [await client.watch(f"{CONFIGMAPS}?watch=1") for client in it.clients]
        await trio.testing.wait_all_tasks_blocked()
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        for number in range(10):
            it.put(number)
            for watching in watches:
                assert await watching.events(1) == [("ADDED", f"c{number}")]
        assert steps.count == 0
        for watcher in it.server.registry.cache.watchers():
            watcher.close()
        assert [await watching.event() for watching in watches] == [None] * 3
        assert steps.count


async def test_nothing_is_kept_of_a_request_for_a_watch(certificates: Path) -> None:
    earlier = of_a_request()  # of other tests' servers, in this process
    async with served(certificates) as it:
        assert (await it.clients[0].request("GET", "/version")).status == 200
        await it.clients[0].watch(f"{CONFIGMAPS}?watch=1")
        await trio.testing.wait_all_tasks_blocked()
        known = {id(found) for found in earlier}
        kept = [type(found) for found in of_a_request() if id(found) not in known]
        assert kept == [RequestParser]


def of_a_request() -> list[object]:
    """What is there of requests, or takes them in."""
    gc.collect()
    kinds = {Incoming, Request, Response, httptools.HttpRequestParser, RequestParser}
    return [found for found in gc.get_objects() if type(found) in kinds]


@pytest.mark.parametrize("leaves", [True, False])
async def test_who_leaves_or_sends_too_much_ends_the_watch(certificates: Path, leaves: bool) -> None:
    async with served(certificates, 2) as it:
        stays = await it.clients[1].watch(f"{CONFIGMAPS}?watch=1")
        await it.clients[0].watch(f"{CONFIGMAPS}?watch=1")
        cache = it.server.registry.cache
        await it.clients[0].stream.send_all(b"x" * MAX_EARLY_BYTES)
        await trio.testing.wait_all_tasks_blocked()
        assert len(cache.watchers()) == 2
        if leaves:
            await trio.aclose_forcefully(it.clients[0].stream)
        else:
            await it.clients[0].stream.send_all(b"x")
        await trio.testing.wait_all_tasks_blocked()
        assert len(cache.watchers()) == 1
        it.put(0)
        assert await stays.events(1) == [("ADDED", "c0")]


@pytest.mark.parametrize(
    ("count", "size", "buffer_bytes"), [(300, 0, 1 << 13), (100, 3_000, 1 << 15), (60, 40_000, 1 << 18)]
)
async def test_a_reader_that_falls_behind_misses_nothing(
    certificates: Path, count: int, size: int, buffer_bytes: int
) -> None:
    async with served(certificates, buffer_bytes=buffer_bytes) as it:
        watching = await it.clients[0].watch(f"{CONFIGMAPS}?watch=1&timeoutSeconds=60")
        for number in range(count):
            it.put(number, size)
            if number % 3:
                await trio.testing.wait_all_tasks_blocked()
        half = [("ADDED", f"c{number}") for number in range(count // 2)]
        assert await watching.events(count // 2) == half
        await trio.testing.wait_all_tasks_blocked()
        it.put(count, size)
        rest = [("ADDED", f"c{number}") for number in range(count // 2, count + 1)]
        assert await watching.events(count + 1 - count // 2) == rest


async def test_what_is_left_over_goes_before_the_end(certificates: Path) -> None:
    async with served(certificates) as it:
        watching = await it.clients[0].watch(f"{CONFIGMAPS}?watch=1")
        for number in range(100):
            it.put(number, 5_000)
            await trio.testing.wait_all_tasks_blocked()
        for watcher in it.server.registry.cache.watchers():
            watcher.close()
        assert await watching.events(100) == [("ADDED", f"c{number}") for number in range(100)]
        assert await watching.event() is None
        assert (await it.clients[0].request("GET", "/version")).status == 200


async def test_each_gets_its_own_form_and_tables_their_columns_once(certificates: Path) -> None:
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    metadata = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    forms = ["application/json", table, metadata, "application/json", table, metadata]
    async with served(certificates, len(forms) + 1) as it:
        *_, late = it.clients
        watches = [
            await client.watch(f"{CONFIGMAPS}?watch=1&timeoutSeconds=60", Accept=form)
            for client, form in zip(it.clients[:-1], forms, strict=True)
        ]
        for number in range(4):
            await trio.testing.wait_all_tasks_blocked()
            it.put(number)
            if number == 1:
                it.put(-1)
            shown = [(await watching.event())["object"] for watching in watches]
            assert shown[:3] == shown[3:]
            whole, rows, partial = shown[:3]
            assert whole["metadata"] == partial["metadata"] == rows["rows"][0]["object"]["metadata"]
            assert (whole["kind"], whole["data"]["x"], partial["kind"]) == ("ConfigMap", "", "PartialObjectMetadata")
            assert (rows["columnDefinitions"] is None) == (number > 0)
            if number == 1:
                assert [(await watching.event())["type"] for watching in watches] == ["ADDED"] * len(forms)
        last = await late.watch(
            f"{CONFIGMAPS}?watch=1&resourceVersion={whole['metadata']['resourceVersion']}", Accept=table
        )
        await trio.testing.wait_all_tasks_blocked()
        it.put(4)
        assert (await watches[1].event())["object"]["columnDefinitions"] is None
        assert (await last.event())["object"]["columnDefinitions"] is not None
