"""etcd's Watch service: many watches on one stream, in one order, to the letter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from kvraft.client import open_client
from kvraft.embed import open_member
from kvraft.wire.etcd import kv_pb2
from tests.kvraft.members import Members, until
from tests.kvraft.server.etcd.stubs import Stream, Stubs, in_thread, refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kvraft.server.member import Member
    from kvraft.types import WatchBatch

ALL = {"key": b"\0", "range_end": b"\0"}


@pytest.fixture
async def member(tmp_path: Path) -> AsyncIterator[Member]:
    async with open_member(tmp_path / "data") as member:
        yield member


def _create(stream: Stream, **fields: Any) -> Any:
    return stream.ask(create_request=fields)


def _seen(answer: Any) -> list[tuple[int, bytes, int]]:
    return [(event.type, event.kv.key, event.kv.mod_revision) for event in answer.events]


async def test_events_of_several_watches_come_on_one_stream(member: Member) -> None:
    def converse(stubs: Stubs) -> None:
        stream = stubs.open("Watch/Watch")
        first = _create(stream, key=b"a", prev_kv=True)
        assert (first.watch_id, first.created, first.canceled, first.header.revision) == (0, True, False, 1)
        assert _create(stream, key=b"b", range_end=b"d").watch_id == 1
        stubs.call("KV/Put", key=b"a", value=b"1")
        stubs.call("KV/Put", key=b"c", value=b"2")
        stubs.call("KV/DeleteRange", key=b"a")
        answers = [stream.receive() for _ in range(3)]
        assert [(answer.watch_id, _seen(answer)) for answer in answers] == [
            (0, [(0, b"a", 2)]),
            (1, [(0, b"c", 3)]),
            (0, [(1, b"a", 4)]),
        ]
        assert [answer.header.revision for answer in answers] == [2, 3, 4]
        deleted = answers[2].events[0]
        assert deleted.kv == kv_pb2.KeyValue(key=b"a", mod_revision=4)
        assert (deleted.prev_kv.value, deleted.prev_kv.mod_revision) == (b"1", 2)
        assert not answers[0].events[0].HasField("prev_kv")
        ended = stream.ask(cancel_request={"watch_id": 0})
        assert (ended.watch_id, ended.canceled, ended.created) == (0, True, False)
        stream.send(cancel_request={"watch_id": 77})  # silence
        stubs.call("KV/Put", key=b"a")
        stubs.call("KV/Put", key=b"b")
        assert stream.receive().watch_id == 1
        stream.cancel()

    await in_thread(member.client_urls[0], converse)
    await until(lambda: member.machine.watch.statistics() == {"synced": 0, "lagging": 0, "blocked": 0})


async def test_the_past_comes_first_and_half_closing_ends_nothing(member: Member) -> None:
    def converse(stubs: Stubs) -> None:
        stubs.call("KV/Put", key=b"a", value=b"1")
        stubs.call("KV/Put", key=b"a", value=b"2")
        stream = stubs.open("Watch/Watch")
        _create(stream, key=b"a", start_revision=2)
        stream.half_close()
        seen = _seen(stream.receive())
        stubs.call("KV/Put", key=b"a", value=b"3")
        seen += _seen(stream.receive())
        assert seen == [(0, b"a", 2), (0, b"a", 3), (0, b"a", 4)]
        stream.cancel()

    await in_thread(member.client_urls[0], converse)


async def test_ids_are_given_and_taken(member: Member) -> None:
    def converse(stubs: Stubs) -> None:
        stream = stubs.open("Watch/Watch")
        assert _create(stream, key=b"a", watch_id=1).watch_id == 1
        assert _create(stream, key=b"a").watch_id == 0
        assert _create(stream, key=b"a").watch_id == 2  # 1 is in use
        taken = _create(stream, key=b"a", watch_id=1)
        assert (taken.watch_id, taken.created, taken.canceled) == (-1, True, True)
        assert taken.cancel_reason == "mvcc: duplicate watch ID provided on the WatchStream"
        stream.cancel()

    await in_thread(member.client_urls[0], converse)


async def test_watches_that_cannot_be(member: Member) -> None:
    def converse(stubs: Stubs) -> None:
        stream = stubs.open("Watch/Watch")
        for fields, reason in (
            ({"key": b"b", "range_end": b"a"}, "mvcc: watcher range is empty"),
            ({"key": b"a", "start_revision": -1}, "etcdserver: mvcc: required revision has been compacted"),
        ):
            answer = _create(stream, **fields)
            assert (answer.watch_id, answer.created, answer.canceled) == (-1, True, True)
            assert answer.cancel_reason == reason
        stream.cancel()

    await in_thread(member.client_urls[0], converse)


async def test_what_was_compacted_ends_the_watch(member: Member) -> None:
    def converse(stubs: Stubs) -> None:
        for _ in range(4):
            stubs.call("KV/Put", key=b"a")
        stubs.call("KV/Compact", revision=4)
        stream = stubs.open("Watch/Watch")
        created = _create(stream, key=b"a", start_revision=2)
        assert (created.watch_id, created.created, created.canceled) == (0, True, False)
        ended = stream.receive()
        assert (ended.watch_id, ended.canceled, ended.compact_revision) == (0, True, 4)
        assert _create(stream, key=b"a", watch_id=5, start_revision=4).watch_id == 5  # equal is still there
        assert _seen(stream.receive()) == [(0, b"a", 4), (0, b"a", 5)]
        stream.cancel()

    await in_thread(member.client_urls[0], converse)


async def test_filters_and_an_empty_key(member: Member) -> None:
    def converse(stubs: Stubs) -> None:
        stream = stubs.open("Watch/Watch")
        _create(stream, range_end=b"\0", filters=["NOPUT"])
        _create(stream, key=b"a", filters=["NODELETE"])
        _create(stream, key=b"a", filters=["NODELETE", "NOPUT"])
        stubs.call("KV/Put", key=b"a")
        stubs.call("KV/DeleteRange", key=b"a")
        stubs.call(
            "KV/Txn",
            success=[{"request_put": {"key": b"a"}}, {"request_put": {"key": b"b"}}],
        )
        stubs.call("KV/DeleteRange", key=b"b")
        answers = [stream.receive() for _ in range(4)]
        assert sorted((answer.watch_id, _seen(answer)) for answer in answers) == [
            (0, [(1, b"a", 3)]),
            (0, [(1, b"b", 5)]),
            (1, [(0, b"a", 2)]),
            (1, [(0, b"a", 4)]),
        ]
        stream.cancel()

    await in_thread(member.client_urls[0], converse)


async def test_progress_on_request_speaks_for_the_whole_stream(member: Member) -> None:
    def converse(stubs: Stubs) -> None:
        stream = stubs.open("Watch/Watch")
        stream.send(progress_request={})  # without a watch there is nothing to tell
        _create(stream, key=b"a")
        stubs.call("KV/Put", key=b"other")
        told = stream.ask(progress_request={})
        assert (told.watch_id, told.header.revision, list(told.events)) == (-1, 2, [])
        _create(stream, key=b"a", start_revision=99)
        stream.send(progress_request={})  # one of them has not begun: silence
        stubs.call("KV/Put", key=b"a")
        assert _seen(stream.receive()) == [(0, b"a", 3)]
        stream.cancel()

    await in_thread(member.client_urls[0], converse)


async def test_progress_comes_by_itself_where_nothing_happens(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member.machine.watch._periodic, "_interval_seconds", 0.05)

    def converse(stubs: Stubs) -> None:
        stream = stubs.open("Watch/Watch")
        _create(stream, key=b"a")
        _create(stream, key=b"b", progress_notify=True)
        stubs.call("KV/Put", key=b"other")
        told = stream.receive()
        assert (told.watch_id, list(told.events)) == (1, [])
        stream.cancel()

    await in_thread(member.client_urls[0], converse)


@pytest.mark.parametrize("fragment", [False, True])
async def test_large_revisions_come_in_fragments_to_who_asks(tmp_path: Path, fragment: bool) -> None:
    def converse(stubs: Stubs) -> None:
        stream = stubs.open("Watch/Watch")
        _create(stream, **ALL, fragment=fragment, prev_kv=True)
        puts = [{"request_put": {"key": b"%d" % number, "value": bytes(90_000)}} for number in range(10)]
        for _ in range(2):
            stubs.call("KV/Txn", success=puts)
        answers = [stream.receive()]
        while sum(len(answer.events) for answer in answers) < 20 or answers[-1].fragment:
            answers.append(stream.receive())
        assert [len(event.prev_kv.value) for answer in answers for event in answer.events] == [0] * 10 + [90_000] * 10
        if fragment:
            assert [answer.fragment for answer in answers] == [False, True, False]
            assert all(answer.ByteSize() < 1_000_000 + 512 * 1024 for answer in answers)
        else:
            assert len(answers) == 2
        assert {answer.watch_id for answer in answers} == {0}
        stream.cancel()

    async with open_member(tmp_path / "data", max_request_bytes=1_000_000) as member:
        await in_thread(member.client_urls[0], converse)


@pytest.mark.parametrize("fragment", [False, True])
async def test_a_long_revision_is_encoded_in_pieces(
    member: Member, monkeypatch: pytest.MonkeyPatch, fragment: bool
) -> None:
    monkeypatch.setattr("kvraft.mvcc.reading.LONG_CHANGES", 10)
    monkeypatch.setattr("kvraft.server.turns.CATCH_UP_EVENTS", 16)
    keys = [b"k%03d" % number for number in range(100)]
    encoded: list[int] = []
    encode = member.etcd.encoded_events

    def counted(batch: WatchBatch) -> bytes:
        encoded.append(len(batch.events))
        return encode(batch)

    monkeypatch.setattr(member.etcd, "encoded_events", counted)

    def converse(stubs: Stubs) -> None:
        puts = [{"request_put": {"key": key, "value": b"v"}} for key in keys]
        stubs.call("KV/Txn", success=puts)
        stubs.call("KV/DeleteRange", **ALL)
        stream = stubs.open("Watch/Watch")
        _create(stream, **ALL, fragment=fragment, prev_kv=True, start_revision=3)
        answers = [stream.receive()]
        while answers[-1].fragment:
            answers.append(stream.receive())
        assert _seen(answers[0])[0] == (1, b"k000", 3)
        assert [event.kv.key for answer in answers for event in answer.events] == keys
        assert {event.prev_kv.value for answer in answers for event in answer.events} == {b"v"}
        assert (len(answers) > 1) is fragment
        stream.cancel()

    await in_thread(member.client_urls[0], converse)
    assert sum(encoded) == len(keys)
    assert max(encoded) < len(keys)


async def test_too_many_watches_of_one_connection(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvraft.server.clients.MAX_WATCHES", 3)

    def converse(stubs: Stubs) -> None:
        stream, other = stubs.open("Watch/Watch"), stubs.open("Watch/Watch")
        _create(stream, key=b"a")
        _create(stream, key=b"a")
        _create(other, key=b"a")
        assert _create(other, key=b"a").cancel_reason == "etcdserver: too many requests"
        stream.cancel()
        other.cancel()

    await in_thread(member.client_urls[0], converse)


async def test_without_a_leader_streams_that_need_one_end(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        members = Members(tmp_path, ["m1", "m2", "m3"], nursery, election_ms=250)
        for name in members.client_urls:
            members.start(name)
        leader = await members.leader()
        follower = next(name for name in members.running if name != leader)
        await until(lambda: all(member.ready.is_set() for member in members.running.values()))
        opened, ended = trio.Event(), trio.Event()

        def converse(stubs: Stubs) -> None:
            needy = stubs.open("Watch/Watch", metadata=[("hasleader", "true")])
            patient = stubs.open("Watch/Watch")
            _create(needy, key=b"a")
            _create(patient, key=b"a")
            trio.from_thread.run_sync(opened.set)
            with refused("UNAVAILABLE", "etcdserver: no leader"):
                needy.receive()
            with refused("UNAVAILABLE", "etcdserver: no leader"):
                stubs.open("Watch/Watch", metadata=[("hasleader", "true")]).receive()
            with refused("UNAVAILABLE", "etcdserver: no leader"):
                stubs.call("KV/Range", metadata=[("hasleader", "true")], key=b"a", serializable=True)
            stubs.call("KV/Range", key=b"a", serializable=True)
            assert _create(patient, key=b"b").watch_id == 1
            patient.cancel()
            needy.cancel()
            trio.from_thread.run_sync(ended.set)

        nursery.start_soon(in_thread, members.client_urls[follower], converse)
        await opened.wait()
        for name in list(members.running):
            if name != follower:
                await members.crash(name)
        await ended.wait()
        await members.stop(follower)


async def test_a_member_that_stops_ends_its_streams(tmp_path: Path) -> None:
    opened = trio.Event()

    def converse(stubs: Stubs) -> None:
        stream = stubs.open("Watch/Watch")
        _create(stream, key=b"a")
        trio.from_thread.run_sync(opened.set)
        with refused("UNAVAILABLE", "etcdserver: server stopped"):
            stream.receive()
        stream.half_close()

    async with trio.open_nursery() as nursery, open_member(tmp_path / "data") as member:
        nursery.start_soon(in_thread, member.client_urls[0], converse)
        await opened.wait()


async def test_events_go_to_both_protocols(member: Member) -> None:
    ready = trio.Event()

    def converse(stubs: Stubs) -> list[tuple[int, bytes, int]]:
        stream = stubs.open("Watch/Watch")
        _create(stream, **ALL)
        trio.from_thread.run_sync(ready.set)
        seen = [_seen(stream.receive())[0] for _ in range(20)]
        stream.cancel()
        return seen

    async with open_client(member.client_urls) as client, trio.open_nursery() as nursery:

        async def compare() -> None:
            seen = await in_thread(member.client_urls[0], converse)
            assert seen == [(0, b"%d" % number, number + 2) for number in range(20)]

        nursery.start_soon(compare)
        await ready.wait()
        for number in range(20):
            await client.put(b"%d" % number, b"v")
