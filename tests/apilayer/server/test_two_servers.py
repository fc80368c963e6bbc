"""Two API servers over one store behave as one, and who loses one goes on at the other."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from apilayer.server.controllers import LEASE_NAME, ControllerOptions, run_controllers
from tests.apilayer.in_process import serving
from tests.apilayer.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from apilayer.storage.interface import ChangeBatch
    from tests.apilayer.in_process import Server
    from tests.apilayer.memory_store import MemoryStream

DEFAULT = "/api/v1/namespaces/default"
CONFIGMAPS = f"{DEFAULT}/configmaps"
LAG_SECONDS = 0.5


class LaggingStore(MemoryStore):
    """The same store by a slow watch: who reads its cache must wait for it."""

    def __init__(self, store: MemoryStore) -> None:
        self.__dict__ = store.__dict__

    @asynccontextmanager
    async def watch(self, prefix: bytes, from_revision: int) -> AsyncIterator[Any]:
        async with super().watch(prefix, from_revision) as stream:
            yield LaggingStream(stream)


class LaggingStream:
    """Batches that come late."""

    def __init__(self, stream: MemoryStream) -> None:
        self._stream = stream

    def __aiter__(self) -> LaggingStream:
        return self

    async def __anext__(self) -> ChangeBatch:
        batch = await anext(self._stream)
        await trio.sleep(LAG_SECONDS)
        return batch

    async def request_progress(self) -> None:
        await self._stream.request_progress()


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Server, Server]]:
    """Two servers over one store; the second learns of changes late."""
    store = MemoryStore()
    async with serving(store) as first, serving(LaggingStore(store)) as second:
        yield first, second


def names(listed: Any) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


async def test_what_one_writes_the_other_reads_at_once(autojump_clock: MockClock) -> None:
    async with pair() as (first, second):
        for index in range(5):
            name = f"a{index}"
            created = await first.request("POST", CONFIGMAPS, {"metadata": {"name": name}})
            assert (await second.request("GET", f"{CONFIGMAPS}/{name}")).json == created.json
            assert names((await second.request("GET", CONFIGMAPS)).json) == [name]
            version = created.json["metadata"]["resourceVersion"]
            newer = f"{CONFIGMAPS}?resourceVersion={version}&resourceVersionMatch=NotOlderThan"
            assert names((await second.request("GET", newer)).json) == [name]
            assert (await second.request("DELETE", f"{CONFIGMAPS}/{name}")).status == 200
            assert names((await first.request("GET", CONFIGMAPS)).json) == []


async def test_watches_of_both_show_the_same(autojump_clock: MockClock) -> None:
    async with pair() as (first, second), trio.open_nursery() as nursery:
        watches = [await server.watch(f"{CONFIGMAPS}?watch=1") for server in (first, second)]
        for watch in watches:
            nursery.start_soon(watch.run)
        for index in range(10):
            server = (first, second)[index % 2]
            await server.request("POST", CONFIGMAPS, {"metadata": {"name": f"a{index}"}})
        await trio.sleep(20 * LAG_SECONDS)
        await wait_all_tasks_blocked()
        assert watches[0].taken == watches[1].taken
        assert [event["object"]["metadata"]["name"] for event in watches[0].taken] == [f"a{i}" for i in range(10)]
        nursery.cancel_scope.cancel()


async def count_up(server: Server, times: int, conflicts: list[str]) -> None:
    """Adds one so many times, each time until nobody else was faster."""
    while times:
        found = (await server.request("GET", f"{CONFIGMAPS}/counter")).json
        found["data"]["n"] = str(int(found["data"]["n"]) + 1)
        answer = await server.request("PUT", f"{CONFIGMAPS}/counter", found)
        if answer.status == 200:
            times -= 1
        else:
            conflicts.append(answer.json["reason"])


async def test_no_update_is_lost_between_them(autojump_clock: MockClock) -> None:
    conflicts: list[str] = []
    async with pair() as (first, second):
        await first.request("POST", CONFIGMAPS, {"metadata": {"name": "counter"}, "data": {"n": "0"}})
        async with trio.open_nursery() as nursery:
            for server in (first, second) * 2:
                nursery.start_soon(count_up, server, 5, conflicts)
        assert (await second.request("GET", f"{CONFIGMAPS}/counter")).json["data"] == {"n": "20"}
    assert set(conflicts) == {"Conflict"}


async def test_what_must_be_unique_is_unique_across_them(autojump_clock: MockClock) -> None:
    """Names, cluster IPs and node ports that both give out at the same time."""
    codes: Counter[int] = Counter()
    made: list[Any] = []

    async def create(server: Server, target: str, body: Any) -> None:
        answer = await server.request("POST", target, body)
        codes[answer.status] += 1
        made.append(answer.json)

    async with pair() as (first, second):
        async with trio.open_nursery() as nursery:
            for server in (first, second):
                nursery.start_soon(create, server, CONFIGMAPS, {"metadata": {"name": "same"}})
        assert codes == {201: 1, 409: 1}
        codes.clear()
        made.clear()
        spec = {"type": "NodePort", "ports": [{"port": 80}]}
        async with trio.open_nursery() as nursery:
            for server in (first, second) * 6:
                body = {"metadata": {"generateName": "s-"}, "spec": spec}
                nursery.start_soon(create, server, f"{DEFAULT}/services", body)
    assert codes == {201: 12}
    assert len({service["spec"]["clusterIP"] for service in made}) == 12
    assert len({service["spec"]["ports"][0]["nodePort"] for service in made}) == 12


async def test_controllers_run_in_one_of_them(autojump_clock: MockClock) -> None:
    """Whoever holds the Lease; the other takes over when that is stopped."""
    leases = f"/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{LEASE_NAME}"
    options = ControllerOptions("serviceaccount-controller")
    async with pair() as servers, trio.open_nursery() as nursery:
        scopes = []
        for server in servers:
            scopes.append(trio.CancelScope())

            async def run(server: Server = server, scope: trio.CancelScope = scopes[-1]) -> None:
                with scope:
                    await run_controllers(server.registry, options)

            nursery.start_soon(run)
            await trio.sleep(60)
        holder = (await servers[1].request("GET", leases)).json["spec"]
        assert holder["leaseTransitions"] == 1
        scopes[0].cancel()
        await trio.sleep(60)
        after = (await servers[1].request("GET", leases)).json["spec"]
        assert after["holderIdentity"] != holder["holderIdentity"]
        assert after["leaseTransitions"] == 2
        assert (await servers[1].request("DELETE", f"{DEFAULT}/serviceaccounts/default")).status == 200
        await trio.sleep(60)
        assert (await servers[1].request("GET", f"{DEFAULT}/serviceaccounts/default")).status == 200
        nursery.cancel_scope.cancel()


async def test_clients_of_a_server_that_is_killed_go_on_at_the_other(start_server: Any) -> None:
    """Over real sockets and a real store: a watch that breaks off is taken up without gap and without duplicate."""
    seen: list[tuple[str, str]] = []
    expected = [f"c{index:02}" for index in range(12)]
    with trio.fail_after(30):
        async with start_server() as second, second.connect() as writer, second.connect() as other:
            async with start_server() as first, first.connect() as client:
                version = (await client.request("GET", CONFIGMAPS)).json["metadata"]["resourceVersion"]
                watching = await client.watch(f"{CONFIGMAPS}?watch=1&resourceVersion={version}")
                for name in expected[:6]:
                    await writer.request("POST", CONFIGMAPS, {"metadata": {"name": name}})
                seen, version = await follow(watching, 4, version)
                first.nursery.cancel_scope.cancel()
            for name in expected[6:]:
                await writer.request("POST", CONFIGMAPS, {"metadata": {"name": name}})
            with suppress(EOFError, trio.ClosedResourceError, trio.BrokenResourceError):
                more, version = await follow(watching, 2, version)  # what had been sent before the end
                seen += more
            watching = await other.watch(f"{CONFIGMAPS}?watch=1&resourceVersion={version}")
            more, _ = await follow(watching, len(expected) - len(seen), version)
    assert seen + more == [("ADDED", name) for name in expected]


async def follow(watching: Any, count: int, version: str) -> tuple[list[tuple[str, str]], str]:
    """The next events, and the version of the last."""
    seen = []
    for _ in range(count):
        event = await watching.event()
        metadata = event["object"]["metadata"]
        seen.append((event["type"], metadata["name"]))
        version = metadata["resourceVersion"]
    return seen, version
