"""The async client against real members: operations, failover, watches that resume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from kvraft.client import open_client
from kvraft.embed import open_member
from kvraft.errors import (
    Compacted,
    DuplicateKey,
    EmptyKey,
    FutureRevision,
    KvraftError,
    RequestTooLarge,
    TooManyOps,
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
    prefix_end,
)
from tests.kvraft.members import open_members
from tests.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kvraft.client import Client


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with open_member(tmp_path / "data") as member, open_client(member.client_urls) as client:
        yield client


async def test_what_was_put_is_there(client: Client) -> None:
    first = await client.put(b"a", b"1")
    second = await client.put(b"a", b"2", prev_kv=True)
    assert second.revision == first.revision + 1
    assert second.prev_kv is not None
    assert second.prev_kv.value == b"1"
    answer = await client.range(b"a")
    (kv,) = answer.kvs
    assert (kv.value, kv.version, kv.create_revision, kv.mod_revision) == (b"2", 2, first.revision, second.revision)
    assert (await client.range(b"a", revision=first.revision)).kvs[0].value == b"1"
    assert (await client.range(b"a", serializable=True)).kvs[0].value == b"2"
    assert await client.revision() == second.revision


async def test_ranges_count_everything_and_page(client: Client) -> None:
    for name in (b"p/a", b"p/b", b"p/c", b"q"):
        await client.put(name, b"x")
    page = await client.range(b"p/", prefix_end(b"p/"), limit=2)
    assert ([kv.key for kv in page.kvs], page.count, page.more) == ([b"p/a", b"p/b"], 3, True)
    assert (await client.range(b"p/", prefix_end(b"p/"), count_only=True)).count == 3
    deleted = await client.delete_range(b"p/", prefix_end(b"p/"), prev_kv=True)
    assert (deleted.deleted, [kv.key for kv in deleted.prev_kvs]) == (3, [b"p/a", b"p/b", b"p/c"])
    assert (await client.range(b"\0", b"\0")).count == 1


async def test_transactions_guard_and_answer_each_operation(client: Client) -> None:
    create = Compare(b"k", CompareTarget.MOD, CompareResult.EQUAL, 0)
    first = await client.txn([create], [PutRequest(b"k", b"1")], [RangeRequest(b"k")])
    assert first.succeeded
    second = await client.txn([create], [PutRequest(b"k", b"2")], [RangeRequest(b"k")])
    assert not second.succeeded
    (read,) = second.responses
    assert isinstance(read, RangeResponse)
    assert read.kvs[0].value == b"1"
    assert second.revision == first.revision
    assert (await client.txn([], [RangeRequest(b"k")])).succeeded


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda c: c.put(b"", b"x"), EmptyKey),
        (lambda c: c.range(b""), EmptyKey),
        (lambda c: c.put(b"k", bytes(1_600_000)), RequestTooLarge),
        (lambda c: c.range(b"k", revision=10**6), FutureRevision),
        (lambda c: c.txn([], [PutRequest(b"k%d" % i, b"") for i in range(129)]), TooManyOps),
        (lambda c: c.txn([], [PutRequest(b"k", b""), DeleteRangeRequest(b"a", b"z")]), DuplicateKey),
    ],
)
async def test_bad_requests_have_their_error_and_change_nothing(client: Client, call, error) -> None:  # type: ignore[no-untyped-def]
    before = await client.revision()
    with pytest.raises(error):
        await call(client)
    assert await client.revision() == before


async def test_compacted_revisions_are_refused(client: Client) -> None:
    for number in range(3):
        last = await client.put(b"k", b"%d" % number)
    await client.compact(last.revision)
    with pytest.raises(Compacted):
        await client.range(b"k", revision=last.revision - 1)
    assert (await client.range(b"k", revision=last.revision)).kvs[0].value == b"2"


async def test_a_watch_sees_past_and_future_once_and_in_order(client: Client) -> None:
    first = await client.put(b"w/1", b"a")
    await client.put(b"w/1", b"b")
    async with client.watch(b"w/", prefix_end(b"w/"), first.revision, prev_kv=True) as stream:
        await client.delete_range(b"w/1")
        events = []
        async for batch in stream:
            events += batch.events
            if len(events) == 3:
                break
    assert [event.kind for event in events] == [EventKind.PUT, EventKind.PUT, EventKind.DELETE]
    assert [event.kv.mod_revision for event in events] == [first.revision + n for n in range(3)]
    assert [event.prev_kv and event.prev_kv.value for event in events] == [None, b"a", b"b"]


async def test_progress_tells_how_far_a_quiet_watch_is(client: Client) -> None:
    async with client.watch(b"quiet") as stream:
        answer = await client.put(b"loud", b"x")
        while True:
            await stream.request_progress()
            batch = await anext(stream)
            assert not batch.events
            if batch.revision >= answer.revision:
                break


async def test_a_watch_of_a_compacted_revision_says_so_and_ends(client: Client) -> None:
    for _ in range(3):
        last = await client.put(b"k", b"x")
    await client.compact(last.revision)
    async with client.watch(b"k", start_revision=1) as stream:
        batches = [batch async for batch in stream]
    assert batches[-1].compact_revision == last.revision


async def test_no_member_at_all_is_a_definite_error() -> None:
    (port,) = free_ports(1)
    async with open_client([f"http://127.0.0.1:{port}"], timeout_seconds=0.2) as client:
        with pytest.raises(Unavailable, match="no member can be reached") as caught:
            await client.put(b"k", b"v")
    assert caught.value.definite


async def test_the_client_finds_the_leader_and_outlives_it(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members, open_client(members.urls) as client:
        leader = await members.leader()
        follower = next(url for name, url in members.client_urls.items() if name != leader)
        async with open_client([follower]) as other:
            await other.put(b"a", b"through a follower's address")
        seen: list[bytes] = []
        written: list[bytes] = []
        unknown: set[bytes] = set()
        done = trio.Event()

        async def watch() -> None:
            async with client.watch(b"n/", prefix_end(b"n/"), 1) as stream:
                async for batch in stream:
                    seen.extend(event.kv.key for event in batch.events)
                    if b"n/end" in seen:
                        done.set()
                        return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            for number in range(60):
                if number in (20, 40):
                    await members.stop(await members.leader())
                if number == 30:
                    members.start(next(name for name in members.client_urls if name not in members.running))
                key = b"n/%03d" % number
                try:
                    await client.put(key, b"x")
                    written.append(key)
                except KvraftError as error:
                    assert not error.definite
                    unknown.add(key)
            await client.put(b"n/end", b"x")
            await done.wait()
    assert [key for key in seen if key not in unknown] == [*written, b"n/end"]
    assert len(set(seen)) == len(seen)
