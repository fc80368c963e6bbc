"""Reads that are parked until the store's word comes: who gets which state, and what may stand against it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from apilayer.audit.counts import AuditCounts
from apilayer.audit.policy_file import parse_policy
from apilayer.audit.record import RecordingAudit
from apilayer.pipeline.request import Request
from apilayer.server.parked import Parked
from apilayer.storage.freshness import Freshness
from apilayer.storage.interface import StoreUnavailable
from tests.apilayer.audit.test_record import Collected
from tests.apilayer.memory_store import MemoryStore
from tests.apilayer.server.test_direct_watch import CONFIGMAPS, Served, Steps, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from apilayer.audit.interface import Audit
    from apilayer.storage.interface import Record
    from tests.apilayer.server.conftest import Client

ONE = f"{CONFIGMAPS}/c1"
POLICY = b"""
apiVersion: audit.k8s.io/v1
kind: Policy
rules: [{level: Metadata}]
"""


class HeldStore(MemoryStore):
    """Gives its word when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Callable[[int], None]] = []
        self.reads = 0
        self.reachable = True

    async def get(self, key: bytes) -> tuple[Record | None, int]:
        self.reads += 1
        if not self.reachable:
            raise StoreUnavailable("nobody leads")
        return await super().get(key)

    def confirm(self, then: Callable[[int], None]) -> bool:
        if self.reachable:
            self.asked.append(then)
        return self.reachable

    async def tell(self, revision: int | None = None) -> None:
        """The answer to the question that was asked first; 0 for none."""
        self.asked.pop(0)(self.revision if revision is None else revision)
        await wait_all_tasks_blocked()


class Rig(Served):
    """A server with its held store, which holds two config maps."""

    store: HeldStore

    @property
    def running(self) -> int:
        return self.server.app.flow_control.running[0]

    async def ask(self, client: Client, path: str = ONE, **headers: str) -> None:
        """Sends a GET, and waits until the server has done what it can."""
        await client.stream.send_all(client.encode("GET", path, None, headers))
        await wait_all_tasks_blocked()


@asynccontextmanager
async def rig(certificates: Path, count: int = 1, **how: Any) -> AsyncIterator[Rig]:
    store = HeldStore()
    async with served(certificates, count, store=store, **how) as it:
        found = Rig(it.server, it.clients)
        object.__setattr__(found, "store", store)
        found.put(1)
        found.put(2)
        await wait_all_tasks_blocked()
        store.reads = 0
        yield found


def counted(it: Rig) -> dict[int, int]:
    """How many GETs were answered, by code."""
    found: dict[int, int] = {}
    for (labels, code), number in it.server.app.requests.requests.items():
        if labels[0] == "GET":
            found[code] = found.get(code, 0) + number
    return found


async def test_the_answer_runs_no_task_of_the_connection(certificates: Path) -> None:
    async with rig(certificates) as it:
        (client,) = it.clients
        for number in range(1, 4):
            await it.ask(client)
            assert (len(it.store.asked), it.running) == (1, 1)
            steps = Steps()
            trio.lowlevel.add_instrument(steps)
            await it.store.tell()
            answer = await client.answer()
            trio.lowlevel.remove_instrument(steps)
            assert (answer.status, answer.json["metadata"]["name"]) == (200, "c1")
            assert "connection" not in answer.headers
            assert (steps.count, it.store.reads, it.running, counted(it)) == (0, 0, 0, {200: number})


async def test_who_comes_while_a_question_is_under_way_waits_for_the_next_one(certificates: Path) -> None:
    async with rig(certificates, 4) as it:
        first, *others = it.clients
        await it.ask(first)
        known = it.store.revision
        it.put(1, 5)
        for client in others:
            await it.ask(client)
        assert len(it.store.asked) == 1
        await it.store.tell(known)
        assert (await first.answer()).status == 200
        assert (len(it.store.asked), it.running) == (1, 3)  # one for all of them, and nobody has been answered
        await it.store.tell()
        for client in others:
            assert (await client.answer()).json["data"] == {"x": "xxxxx"}
        assert (it.store.asked, it.store.reads, it.running) == ([], 0, 0)


@pytest.mark.parametrize("word", [10_000, 3, 0])
async def test_a_word_that_does_not_say_that_the_cache_is_fresh(certificates: Path, word: int) -> None:
    """It lies ahead of the cache, behind it, as of a store that was restored, or there is none: the store is read."""
    async with rig(certificates, 2) as it:
        client, other = it.clients
        await it.ask(client)
        await it.ask(other)
        await it.store.tell(word)
        if word:
            await it.store.tell()  # what the other waits for
        assert ((await client.answer()).json["metadata"]["name"], it.store.reads) == ("c1", 2 if not word else 1)
        assert (await other.answer()).json["metadata"]["name"] == "c1"
        assert (it.store.asked, it.running, counted(it)) == ([], 0, {200: 2})
        await it.ask(client)
        await it.store.tell()
        assert (await client.answer()).status == 200


async def test_a_change_that_is_on_its_way_is_waited_for(certificates: Path) -> None:
    async with rig(certificates) as it:
        (client,) = it.clients
        for size in (5, 6):
            await it.ask(client)
            it.put(1, size)
            it.store.asked.pop(0)(it.store.revision)  # before the cache has had its turn
            assert it.running == 1
            assert (await client.answer()).json["data"] == {"x": "x" * size}
            assert (it.store.reads, it.running, len(it.store.asked)) == (0, 0, 1)
            await it.store.tell()  # for whom it was too long, had there been somebody
        await it.ask(client)
        it.store.asked.pop(0)(it.store.revision + 2)
        for running in (1, 0):
            it.put(1)
            await wait_all_tasks_blocked()
            assert it.running == running
        assert (await client.answer()).status == 200


async def test_a_store_out_of_reach_is_told_as_ever(certificates: Path) -> None:
    async with rig(certificates) as it:
        (client,) = it.clients
        it.store.reachable = False
        await it.ask(client)
        answer = await client.answer()
        assert (answer.status, answer.message) == (500, "nobody leads")
        it.store.reachable = True
        await it.ask(client)
        it.store.reachable = False
        await it.store.tell(0)
        assert (await client.answer()).status == 500
        assert (it.running, counted(it)) == (0, {500: 2})


async def test_what_is_not_there_and_what_cannot_be_read(certificates: Path) -> None:
    async with rig(certificates) as it:
        (client,) = it.clients
        it.store._write(b"/registry/configmaps/default/broken", b"{")
        await wait_all_tasks_blocked()
        for name, code in (("absent", 404), ("broken", 500)):
            await it.ask(client, f"{CONFIGMAPS}/{name}")
            await it.store.tell()
            parked = await client.answer()
            assert (parked.status, it.store.reads, it.running) == (code, 0, 0)
            plain = await it.server.request("GET", f"{CONFIGMAPS}/{name}")
            assert plain.json == parked.json
            it.store.reads = 0


async def test_what_comes_before_the_answer_is_answered_after_it(certificates: Path) -> None:
    async with rig(certificates) as it:
        (client,) = it.clients
        await it.ask(client)
        await it.ask(client, "/version")
        assert (await client.answer()).json["metadata"]["name"] == "c1"
        assert "major" in (await client.answer()).json
        await it.ask(client)
        assert len(it.store.asked) == 1  # still the first
        await it.store.tell()
        assert it.running == 1
        await it.store.tell()
        assert (await client.answer()).json["metadata"]["name"] == "c1"
        both = client.encode("GET", ONE, None, {}) + client.encode("GET", f"{CONFIGMAPS}/c2", None, {})
        await client.stream.send_all(both + client.encode("GET", ONE, None, {}) + b"no HTTP\r\n\r\n")
        names = [(await client.answer()).json["metadata"]["name"] for _ in range(3)]
        assert (names, (await client.answer()).status) == (["c1", "c2", "c1"], 400)


class AtStep(trio.abc.Instrument):
    """Does something once, when the task of a connection has been woken and is about to run."""

    def __init__(self, do: Callable[[], None]) -> None:
        self._do = do

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if "served.<locals>.connect" in task.name:
            trio.lowlevel.remove_instrument(self)
            self._do()


@pytest.mark.parametrize("word", [0, None])
async def test_the_word_comes_with_what_the_client_sends(certificates: Path, word: int | None) -> None:
    async with rig(certificates) as it:
        (client,) = it.clients
        await it.ask(client)
        then = it.store.asked.pop(0)
        trio.lowlevel.add_instrument(AtStep(lambda: then(it.store.revision if word is None else word)))
        await it.ask(client, "/version")
        assert (await client.answer()).json["metadata"]["name"] == "c1"
        assert (it.store.reads, it.running) == (int(word == 0), 0)
        assert "major" in (await client.answer()).json


async def test_the_last_request_of_a_connection(certificates: Path) -> None:
    async with rig(certificates) as it:
        (client,) = it.clients
        await it.ask(client, Connection="close")
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"], it.store.asked) == (200, "close", [])
        assert await client.closed()


async def test_a_client_that_goes_away_leaves_nothing_behind(certificates: Path) -> None:
    async with rig(certificates, 3) as it:
        for client in it.clients[:2]:
            await it.ask(client)
        for client in it.clients[:2]:
            await trio.aclose_forcefully(client.stream)
        with trio.fail_after(5):
            while it.running:
                await trio.lowlevel.checkpoint()
        await it.store.tell()
        await it.ask(it.clients[2])
        await it.store.tell()
        while it.store.asked:
            await it.store.tell()
        assert (await it.clients[2].answer()).status == 200
        assert it.running == 0


async def test_its_time_is_over_before_the_word_comes(certificates: Path, mock_clock: MockClock) -> None:
    async with rig(certificates) as it:
        (client,) = it.clients
        await it.ask(client)
        mock_clock.jump(70)
        assert (await client.answer()).status == 504
        assert it.running == 0
        await it.store.tell()
        assert (counted(it), sum(it.server.app.requests.aborted.values())) == ({}, 1)
        mock_clock.jump(2)
        assert await client.closed()


async def test_a_connection_waits_as_long_as_any_between_requests(certificates: Path, mock_clock: MockClock) -> None:
    async with rig(certificates) as it:
        (client,) = it.clients
        await it.ask(client)
        mock_clock.jump(50)
        await it.store.tell()
        assert (await client.answer()).status == 200
        for seconds, code in ((85, 200), (30, 200)):
            mock_clock.jump(seconds)
            await wait_all_tasks_blocked()
            await it.ask(client)
            await it.store.tell()
            assert (await client.answer()).status == code
        mock_clock.jump(91)
        assert await client.closed()


async def test_a_server_that_ends_answers_and_closes(certificates: Path) -> None:
    async with rig(certificates) as it:
        (client,) = it.clients
        await it.ask(client)
        it.server.app.refusing = True
        await it.store.tell()
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"], it.running) == (200, "close", 0)
        assert await client.closed()


@pytest.mark.parametrize(("size", "encoding"), [(40_000, ""), (90_000, ""), (200_000, "gzip")])
async def test_what_does_not_go_at_once_follows(certificates: Path, size: int, encoding: str) -> None:
    """More than the socket takes, more than is sent in one piece, and what is compressed in a thread before."""
    async with rig(certificates, buffer_bytes=1 << 13 if size < 64 << 10 else 1 << 17) as it:
        (client,) = it.clients
        it.put(1, size)
        await wait_all_tasks_blocked()
        for _ in range(2):
            await it.ask(client, ONE, **({"Accept-Encoding": encoding} if encoding else {}))
            await it.store.tell()
            answer = await client.answer()
            assert answer.headers.get("content-encoding", "") == encoding
            assert answer.headers["content-length"] == str(len(answer.body))
            assert encoding or len(answer.json["data"]["x"]) == size
        assert (it.store.reads, it.running) == (0, 0)


async def test_what_is_audited_is_not_parked(certificates: Path) -> None:
    sink = Collected()
    audit: Audit = RecordingAudit(parse_policy(POLICY)[0], sink, AuditCounts())
    async with rig(certificates, audit=audit) as it:
        (client,) = it.clients
        await it.ask(client)
        assert (await client.answer()).status == 200
        assert (it.store.asked, it.store.reads) == ([], 1)
        assert [event["stage"] for event in sink.take()] == ["RequestReceived", "ResponseComplete"]


async def test_over_http_2_the_store_is_read(certificates: Path) -> None:
    async with rig(certificates, 0) as it:
        assert (await it.server.request("GET", ONE)).status == 200  # as from any task of its own
        assert (it.store.asked, it.store.reads) == ([], 1)


async def test_who_waits_after_it_was_parked_is_told() -> None:
    async def answer() -> Any:
        try:
            await freshness.confirmed()
            await trio.lowlevel.checkpoint()
        except RuntimeError as error:
            return str(error), ()
        return "", ()

    store = HeldStore()
    freshness = Freshness(store, Any)  # type: ignore[arg-type]
    request = Request("GET", "/", "", {}, None, trio.lowlevel.checkpoint)  # type: ignore[arg-type]
    answering = answer()
    assert answering.send(None) is freshness
    found: Any = Parked(Any, request, answering, freshness).finish()  # type: ignore[arg-type]
    assert found == ("a parked request waits", ())
