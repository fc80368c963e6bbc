"""The client over etcd's protocol: the same tests with Debian's etcd and with kvraft."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from kvraft.client import Patience
from kvraft.errors import (
    Compacted,
    ConnectionLost,
    DeadlineExceeded,
    EmptyKey,
    FutureRevision,
    KvraftError,
    LeaseNotFound,
    NotSupported,
    RequestTooLarge,
    Unavailable,
)
from kvraft.types import (
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRangeRequest,
    EventKind,
    PutRequest,
    RangeRequest,
    RangeResponse,
    SnapshotRequest,
    TxnRequest,
    TxnResponse,
    prefix_end,
)
from tests.kvraft.client.etcd.stores import PROGRAMS, connect, start
from tests.kvraft.client.proxy import open_proxy
from tests.kvraft.members import until
from tests.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from kvraft.client import Client, WatchStream
    from tests.kvraft.processes import Processes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=PROGRAMS)
def processes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    yield from start(request.param, tmp_path_factory.mktemp("store"), 1)


@pytest.fixture
def url(processes: Processes) -> str:
    return processes.urls[0]


@pytest.fixture
async def client(url: str) -> AsyncIterator[Client]:
    async with connect([url]) as client:
        yield client


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> bytes:
    """Keys of this test alone."""
    return f"{request.node.name}/".encode()


async def _revisions(stream: WatchStream, count: int) -> list[int]:
    """The revisions of the next ``count`` events."""
    found: list[int] = []
    with trio.fail_after(30):
        while len(found) < count:
            found += [event.kv.mod_revision for event in (await anext(stream)).events]
    return found


async def test_what_was_put_is_there(client: Client, prefix: bytes) -> None:
    first = await client.put(prefix, b"1")
    second = await client.put(prefix, b"2", prev_kv=True)
    assert second.prev_kv is not None
    assert (second.revision, second.prev_kv.value) == (first.revision + 1, b"1")
    (kv,) = (await client.range(prefix)).kvs
    assert (kv.value, kv.version, kv.create_revision, kv.mod_revision) == (b"2", 2, first.revision, second.revision)
    assert (await client.range(prefix, revision=first.revision)).kvs[0].value == b"1"
    assert await client.revision() == second.revision
    deleted = await client.delete_range(prefix, prefix_end(prefix), prev_kv=True)
    assert (deleted.deleted, [kv.value for kv in deleted.prev_kvs]) == (1, [b"2"])


async def test_transactions_of_every_kind(client: Client, prefix: bytes) -> None:
    guard = Compare(prefix, CompareTarget.MOD, CompareResult.EQUAL, 0)
    read = RangeRequest(prefix, prefix_end(prefix))
    inner = TxnRequest((), (PutRequest(prefix + b"b", b"2"),))
    done = await client.txn([guard], [PutRequest(prefix, b"1"), read, inner, DeleteRangeRequest(b"none")], [read])
    assert done.succeeded
    assert [type(each).__name__ for each in done.responses] == [
        *("PutResponse", "RangeResponse", "TxnResponse", "DeleteRangeResponse")
    ]
    assert isinstance(done.responses[2], TxnResponse)
    refused = await client.txn([guard], [PutRequest(prefix, b"9")], [read])
    assert not refused.succeeded
    (found,) = refused.responses
    assert isinstance(found, RangeResponse)
    assert [kv.value for kv in found.kvs] == [b"1", b"2"]
    value = Compare(prefix, CompareTarget.VALUE, CompareResult.EQUAL, b"1")
    assert (await client.txn([value], [read])).succeeded


async def test_large_answers_and_many_at_once(client: Client, prefix: bytes) -> None:
    value = b"v" * 400_000
    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(client.put, prefix + b"%02d" % number, value)
    answer = await client.range(prefix, prefix_end(prefix))
    assert [len(kv.value) for kv in answer.kvs] == [400_000] * 30
    async with client.watch(prefix, prefix_end(prefix), start_revision=answer.kvs[0].create_revision) as stream:
        del stream  # opened, and left while it has much to say
    assert (await client.range(prefix, prefix_end(prefix), count_only=True)).count == 30


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda client: client.put(b"", b""), EmptyKey),
        (lambda client: client.range(b"a", revision=1 << 40), FutureRevision),
        (lambda client: client.compact(1 << 40), FutureRevision),
        (lambda client: client.lease_revoke(12345), LeaseNotFound),
        (lambda client: client.lease_keep_alive_once(12345), LeaseNotFound),
        (lambda client: client.put(b"k", b"v", lease=12345), LeaseNotFound),
        (lambda client: client.put(b"k", b"v" * 1_700_000), RequestTooLarge),
        (lambda client: client.put(b"k", b"v" * 2_500_000), RequestTooLarge),
        (lambda client: client.put(b"k", b"v" * 4_000_000), RequestTooLarge),
        (lambda client: client._read(SnapshotRequest(), RangeResponse), NotSupported),
    ],
)
async def test_what_is_refused_has_its_error(client: Client, call, error) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error) as caught:
        await call(client)
    assert caught.value.definite
    assert (await client.range(b"k")).kvs == []


async def test_the_member_and_its_cluster(client: Client, url: str) -> None:
    status = await client.status(url)
    assert status.leader == status.member_id
    assert status.version.startswith("3.")
    (member,) = (await client.member_list()).members
    assert member.client_urls == (url,)
    assert await client.alarms() == []
    assert (await client.hash_kv(url)).hash
    assert (await client.hash(url)).hash
    await client.defragment(url)


async def test_leases(client: Client, prefix: bytes) -> None:
    granted = await client.lease_grant(60)
    await client.put(prefix, b"v", lease=granted.lease_id)
    assert granted.lease_id in await client.leases()
    assert (await client.lease_keep_alive_once(granted.lease_id)).ttl == 60
    left = await client.lease_time_to_live(granted.lease_id, keys=True)
    assert (left.granted_ttl, left.keys) == (60, [prefix])
    await client.lease_revoke(granted.lease_id)
    assert (await client.range(prefix)).kvs == []
    async with client.lock(prefix, ttl=30) as holding:
        assert (await client.range(holding.key)).kvs
    async with client.campaign(prefix, b"me", ttl=30):
        assert (await client.elected(prefix)).kv.value == b"me"


async def test_a_watch_sees_past_and_future_once_and_in_order(client: Client, prefix: bytes) -> None:
    first = (await client.put(prefix, b"1")).revision
    second = (await client.delete_range(prefix)).revision
    async with client.watch(prefix, prefix_end(prefix), start_revision=first, prev_kv=True) as stream:
        third = (await client.put(prefix + b"x", b"2")).revision
        events = []
        while len(events) < 3:
            events += (await anext(stream)).events
    assert [(event.kind, event.kv.mod_revision) for event in events] == [
        (EventKind.PUT, first),
        (EventKind.DELETE, second),
        (EventKind.PUT, third),
    ]
    assert events[1].prev_kv is not None
    assert events[1].prev_kv.value == b"1"
    async with client.watch(prefix, prefix_end(prefix), no_put=True, start_revision=first) as stream:
        assert await _revisions(stream, 1) == [second]


async def test_from_now_means_from_the_moment_the_block_is_entered(client: Client, prefix: bytes) -> None:
    await client.put(prefix, b"before")
    async with client.watch(prefix) as stream:
        revision = (await client.put(prefix, b"after")).revision
        assert await _revisions(stream, 1) == [revision]


async def test_large_revisions_come_whole(client: Client, prefix: bytes) -> None:
    """Fragments: etcd cuts what is too large for one message, also within a revision."""
    puts = [PutRequest(prefix + b"%03d" % number, b"v" * 20_000) for number in range(60)]
    first = (await client.txn([], puts)).revision
    second = (await client.txn([], puts)).revision
    third = (await client.delete_range(prefix, prefix_end(prefix))).revision
    batches = []
    # With the value before and after each event, one revision is more than 2 MiB.
    async with client.watch(prefix, prefix_end(prefix), start_revision=first, prev_kv=True) as stream:
        with trio.fail_after(30):
            while not batches or batches[-1].revision < third:
                batches.append(await anext(stream))
    revisions = [{event.kv.mod_revision for event in batch.events} for batch in batches if batch.events]
    seen = [event.kv.mod_revision for batch in batches for event in batch.events]
    assert seen == [first] * 60 + [second] * 60 + [third] * 60
    assert sum(map(len, revisions)) == 3, "a revision was cut in two"
    assert all(batch.revision == max(each) for batch, each in zip(batches, revisions, strict=True))


async def test_progress_is_told_or_said_to_be_unknown(client: Client, url: str, prefix: bytes) -> None:
    modern = (await client.status(url)).version != "3.4.23"
    async with client.watch(prefix) as stream:
        revision = (await client.put(b"elsewhere", b"1")).revision
        reached = 0
        with trio.fail_after(20):
            while reached < revision:
                told = await stream.request_progress()
                if not told:
                    break
                with trio.move_on_after(0.1):
                    reached = (await anext(stream)).revision
    assert told is modern
    assert (reached >= revision) is modern


async def test_a_watch_of_compacted_history_says_so_and_ends(client: Client, prefix: bytes) -> None:
    first = (await client.put(prefix, b"1")).revision
    last = (await client.put(prefix, b"2")).revision
    await client.compact(last)
    with pytest.raises(Compacted):
        await client.range(prefix, revision=first)
    async with client.watch(prefix, start_revision=first) as stream:
        batches = [batch async for batch in stream]
    assert batches[-1].compact_revision == last
    assert [event for batch in batches for event in batch.events] == []


async def test_a_cut_connection_costs_no_event_and_doubles_none(client: Client, url: str, prefix: bytes) -> None:
    async with (
        open_proxy(url) as proxy,
        connect([proxy.url]) as cut,
        cut.watch(prefix, prefix_end(prefix)) as stream,
    ):
        expected: list[int] = []
        seen: list[int] = []
        for _ in range(5):
            expected += [(await client.put(prefix, b"%d" % number)).revision for number in range(2)]
            proxy.cut()
            expected += [(await client.put(prefix, b"%d" % number)).revision for number in range(2)]
            seen += await _revisions(stream, 2)
        seen += await _revisions(stream, len(expected) - len(seen))
        assert seen == expected
        assert proxy.connections > 2


async def test_a_write_whose_answer_is_lost_is_not_repeated(client: Client, url: str, prefix: bytes) -> None:
    async with open_proxy(url) as proxy, connect([proxy.url, url]) as other:
        await other.range(prefix)
        proxy.lose_answers, lost = True, proxy.lost_bytes
        raised: list[KvraftError] = []

        async def put() -> None:
            try:
                await other.put(prefix, b"v")
            except KvraftError as error:
                raised.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(put)
            await until(lambda: proxy.lost_bytes > lost)
            await _arrived(client, prefix)
            proxy.cut()
        (error,) = raised
        assert isinstance(error, ConnectionLost)
        assert not error.definite
        (kv,) = (await client.range(prefix)).kvs
        assert kv.version == 1


async def _arrived(client: Client, key: bytes) -> None:
    with trio.fail_after(30):
        while not (await client.range(key)).kvs:
            pass


async def test_time_limits_and_cancellation_leave_the_connection_to_the_others(url: str, prefix: bytes) -> None:
    patience = Patience(silence_seconds=60.0)  # the deadline is to come first
    async with open_proxy(url) as proxy, connect([proxy.url], 0.5, patience=patience) as client:
        await client.put(prefix, b"v")
        proxy.freeze()
        with trio.move_on_after(0.05) as scope:
            await client.range(prefix)
        assert scope.cancelled_caught
        with pytest.raises(DeadlineExceeded) as caught:
            await client.put(prefix, b"w")
        assert not caught.value.definite
        proxy.thaw()
        assert (await client.range(prefix)).kvs
        assert proxy.connections == 1


async def test_no_member_at_all_is_a_definite_error() -> None:
    (port,) = free_ports(1)
    async with connect([f"http://127.0.0.1:{port}"], timeout_seconds=0.2) as client:
        with pytest.raises(Unavailable) as caught:
            await client.put(b"k", b"v")
        assert caught.value.definite
