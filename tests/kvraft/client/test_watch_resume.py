"""Watches over connections that fail: without gap, without duplicate, and told when what they need is compacted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from kvraft.client import open_client
from kvraft.client import watch as watch_module
from kvraft.embed import open_member
from kvraft.errors import InvalidArgument, Unavailable
from kvraft.types import WatchBatch, prefix_end
from tests.kvraft.client.proxy import open_proxy
from tests.kvraft.members import open_members, until
from tests.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kvraft.client import Client, WatchStream
    from kvraft.server.member import Member

PREFIX = (b"w/", prefix_end(b"w/"))


@pytest.fixture
async def member(tmp_path: Path) -> AsyncIterator[Member]:
    async with open_member(tmp_path / "data") as member:
        yield member


async def _put(client: Client, count: int) -> list[int]:
    return [(await client.put(b"w/%d" % number, b"v")).revision for number in range(count)]


async def _revisions(stream: WatchStream, count: int) -> list[int]:
    """The revisions of the next ``count`` events."""
    found: list[int] = []
    while len(found) < count:
        found += [event.kv.mod_revision for event in (await anext(stream)).events]
    return found


@pytest.mark.parametrize("start", [0, 1])
async def test_a_cut_connection_costs_no_event_and_doubles_none(member: Member, start: int) -> None:
    async with (
        open_client(member.client_urls) as direct,
        open_proxy(member.client_urls[0]) as proxy,
        open_client([proxy.url]) as client,
        client.watch(*PREFIX, start_revision=start) as stream,
    ):
        expected: list[int] = []
        seen: list[int] = []
        for _ in range(10):
            expected += await _put(direct, 3)
            proxy.cut()
            expected += await _put(direct, 3)
            seen += await _revisions(stream, 3)
        seen += await _revisions(stream, len(expected) - len(seen))
        assert seen == expected
        assert proxy.connections > 5


async def test_from_now_means_from_the_moment_the_block_is_entered(member: Member) -> None:
    async with (
        open_client(member.client_urls) as direct,
        open_proxy(member.client_urls[0]) as proxy,
        open_client([proxy.url]) as client,
    ):
        proxy.freeze()
        expected: list[int] = []

        async def watch() -> None:
            async with client.watch(*PREFIX) as stream:
                expected.extend(await _put(direct, 2))
                proxy.cut()
                assert await _revisions(stream, 2) == expected

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await until(lambda: proxy.connections == 1)
            assert expected == []
            proxy.cut()  # before its request has come through
            proxy.thaw()


async def test_from_now_needs_a_member_and_from_a_revision_does_not(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    async with open_client([url], timeout_seconds=0.1) as client:
        with pytest.raises(Unavailable, match="could not be established in time"):
            async with client.watch(*PREFIX):
                pass
        async with (
            client.watch(*PREFIX, start_revision=1) as stream,
            open_member(tmp_path / "data", client_url=url),
            open_client([url]) as other,
        ):
            expected = await _put(other, 2)
            assert await _revisions(stream, 2) == expected


async def test_an_impossible_watch_is_refused_at_once(member: Member) -> None:
    async with open_client(member.client_urls) as client:
        with pytest.raises(InvalidArgument):
            async with client.watch(b"b", b"a"):
                pass
        await client.put(b"k", b"v")


async def test_a_silent_member_is_left_for_another(member: Member) -> None:
    async with open_client(member.client_urls) as direct, open_proxy(member.client_urls[0]) as proxy:
        endpoints = [proxy.url, member.client_urls[0]]
        async with open_client(endpoints, timeout_seconds=1.5) as client, client.watch(*PREFIX) as stream:
            proxy.freeze()
            expected = await _put(direct, 5)
            with trio.fail_after(10):
                assert await _revisions(stream, 5) == expected


async def test_a_quiet_connection_is_kept(member: Member) -> None:
    async with (
        open_proxy(member.client_urls[0]) as proxy,
        open_client([proxy.url], timeout_seconds=1.0) as client,
        client.watch(*PREFIX) as stream,
    ):
        before = proxy.connections
        with trio.move_on_after(1.2):  # longer than silence may last
            while not (await anext(stream)).events:
                pass
        assert proxy.connections == before
        expected = await _put(client, 1)
        assert await _revisions(stream, 1) == expected


async def test_a_member_without_a_leader_is_left_and_the_watch_goes_on(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members:
        names = list(members.running)
        async with open_client(members.urls, timeout_seconds=1.5) as client, client.watch(*PREFIX) as stream:
            expected = await _put(client, 2)
            assert stream._connection is not None
            first = stream._watch_id
            await members.crash(await members.leader())
            await members.crash(next(iter(members.running)))
            await until(lambda: stream._watch_id != first or stream._failure is not None)
            for name in names:
                if name not in members.running:
                    members.start(name)
            async with open_client(members.urls) as other:
                expected += await _put(other, 3)
            assert await _revisions(stream, len(expected)) == expected


async def test_a_watch_that_had_seen_everything_goes_on_over_a_compaction(member: Member) -> None:
    async with (
        open_client(member.client_urls) as direct,
        open_proxy(member.client_urls[0]) as proxy,
        open_client([proxy.url]) as client,
        client.watch(*PREFIX, start_revision=1) as stream,
    ):
        expected = await _put(direct, 5)
        assert await _revisions(stream, 5) == expected
        await direct.compact(expected[-1])
        proxy.cut()
        expected = await _put(direct, 5)
        assert await _revisions(stream, 5) == expected


async def test_a_watch_that_missed_something_is_told_and_ends(member: Member) -> None:
    async with (
        open_client(member.client_urls) as direct,
        open_proxy(member.client_urls[0]) as proxy,
        open_client([proxy.url]) as client,
        client.watch(*PREFIX, start_revision=1) as stream,
    ):
        expected = await _put(direct, 2)
        assert await _revisions(stream, 2) == expected
        proxy.freeze()
        proxy.cut()
        missed = await _put(direct, 5)
        await direct.compact(missed[-1])
        proxy.cut()
        proxy.thaw()
        rest: list[WatchBatch] = [batch async for batch in stream]
        assert [event for batch in rest for event in batch.events] == []
        assert rest[-1].compact_revision == missed[-1]


@pytest.mark.parametrize(("bound", "limit"), [("MAX_QUEUED_EVENTS", 10), ("MAX_QUEUED_BYTES", 1000)])
async def test_a_reader_that_falls_behind_queues_little_and_misses_nothing(
    member: Member, monkeypatch: pytest.MonkeyPatch, bound: str, limit: int
) -> None:
    monkeypatch.setattr(watch_module, bound, limit)
    async with open_client(member.client_urls) as client, client.watch(*PREFIX, start_revision=1) as stream:
        expected = await _put(client, 200)
        await until(lambda: stream._connection is None)
        assert stream._queued_events <= 100
        seen = await _revisions(stream, 100)
        expected += await _put(client, 100)
        seen += await _revisions(stream, len(expected) - len(seen))
        assert seen == expected


async def test_crashes_of_leaders_cost_no_event_and_double_none(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members, open_client(members.urls) as client:
        seen: list[int] = []
        written: list[int] = []
        async with client.watch(*PREFIX) as stream:
            for _ in range(2):
                name = await members.leader()
                written += await _put(client, 10)
                await members.crash(name)
                async with open_client([url for n, url in members.client_urls.items() if n != name]) as other:
                    written += await _put(other, 10)
                members.start(name)
            seen = await _revisions(stream, len(written))
        assert seen == written
