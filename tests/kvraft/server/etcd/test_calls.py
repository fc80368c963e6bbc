"""Calls that go wrong: deadlines, cancellation, clients that do not read, streams opened and reset, bad frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from kvraft.client import open_client
from kvraft.embed import open_member
from kvraft.server import clients
from kvraft.server.http import h2
from kvraft.wire.etcd import rpc_pb2 as pb
from kvraft.wire.grpc.messages import framed
from kvraft.wire.http2 import frames
from kvraft.wire.http2.frames import ErrorCode, frame, rst_stream, window_update
from tests.kvraft.members import Members, until
from tests.kvraft.server.etcd.raw import raw_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kvraft.server.member import Member

PUT, RANGE = "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range"
WATCH = "/etcdserverpb.Watch/Watch"
LIMIT = 1 << 20


@pytest.fixture
async def member(tmp_path: Path) -> AsyncIterator[Member]:
    async with open_member(tmp_path / "data") as member:
        yield member


@pytest.fixture
async def leaderless(tmp_path: Path) -> AsyncIterator[Member]:
    """One of three members, alone: what it is asked waits."""
    async with trio.open_nursery() as nursery:
        members = Members(tmp_path, ["m1", "m2", "m3"], nursery)
        for name in members.client_urls:
            members.start(name)
        leader = await members.leader()
        for name in list(members.running):
            if name != leader:
                await members.crash(name)
        yield members.running[leader]
        await members.stop(leader)


def _put(key: bytes, value: bytes = b"v") -> bytes:
    return pb.PutRequest(key=key, value=value).SerializeToString()


async def _assert_healthy(member: Member) -> None:
    async with open_client(member.client_urls) as client:
        await client.put(b"health", b"y")


async def test_a_deadline_ends_the_call(leaderless: Member) -> None:
    async with raw_client(leaderless.client_urls[0]) as client:
        await client.send(client.request(1, PUT, _put(b"a"), [("grpc-timeout", "20m")]))
        headers, messages = await client.answer(1)
        assert (headers["grpc-status"], headers["grpc-message"]) == ("4", "context deadline exceeded")
        assert messages == []
        assert len(leaderless.timers) < 20


async def test_cancelling_drops_the_answer_and_not_the_write(member: Member) -> None:
    async with raw_client(member.client_urls[0]) as client, open_client(member.client_urls) as other:
        await client.send(
            client.request(1, PUT, _put(b"a")), rst_stream(1, ErrorCode.CANCEL), client.request(3, PUT, _put(b"b"))
        )
        headers, _ = await client.answer(3)
        assert headers["grpc-status"] == "0"
        assert (await other.range(b"a")).count == 1
        (connection, *_) = member.connections
        assert connection.unanswered == 0


async def test_what_is_left_of_a_lost_connection_is_nothing(leaderless: Member) -> None:
    async with raw_client(leaderless.client_urls[0]) as client:
        await client.send(client.request(1, PUT, _put(b"a")), client.head(3, WATCH))
        await client.send(
            frame(frames.DATA, 0, 3, framed(pb.WatchRequest(create_request={"key": b"a"}).SerializeToString()))
        )
        await until(lambda: sum(leaderless.machine.watch.statistics().values()) == 1)
    await until(lambda: not leaderless.connections)
    assert sum(leaderless.machine.watch.statistics().values()) == 0


@pytest.mark.parametrize(
    ("extra", "sent", "status", "text"),
    [
        ([], frame(0, 1, 1), "13", "grpc: a method of one request got none"),
        ([], frame(0, 1, 1, framed(_put(b"a"))[:-1]), "13", "grpc: unexpected EOF"),
        ([], frame(0, 1, 1, framed(_put(b"")) + framed(_put(b""))), "3", "etcdserver: key is not provided"),
        (
            [],
            frame(0, 1, 1, b"\1" + framed(b"x")[1:]),
            "13",
            "grpc: compressed flag set with identity or empty encoding",
        ),
        ([("grpc-encoding", "zstd")], frame(0, 1, 1, b"\1" + framed(b"x")[1:]), "12", "zstd"),
        ([("grpc-timeout", "soon")], b"", "13", 'malformed grpc-timeout: "soon"'),
        ([("client-api-version", b"\xff")], b"", "3", "etcdserver: invalid client api version"),  # type: ignore[list-item]
    ],
)
async def test_malformed_calls(
    member: Member, extra: list[tuple[str, str]], sent: bytes, status: str, text: str
) -> None:
    async with raw_client(member.client_urls[0]) as client:
        await client.send(client.head(1, PUT, extra), sent)
        headers, _ = await client.answer(1)
        assert headers["grpc-status"] == status
        assert text in headers["grpc-message"].replace("%22", '"')
        await client.send(client.request(3, RANGE, pb.RangeRequest(key=b"k").SerializeToString()))
        assert (await client.answer(3))[0]["grpc-status"] == "0"


async def test_two_messages_where_one_is_due(leaderless: Member) -> None:
    async with raw_client(leaderless.client_urls[0]) as client:
        await client.send(client.head(1, PUT), frame(frames.DATA, 0, 1, framed(_put(b"a")) * 2))
        headers, _ = await client.answer(1)
        assert headers["grpc-message"] == "grpc: a method of one request got another"


async def test_a_head_that_breaks_http_breaks_its_stream_alone(member: Member) -> None:
    async with raw_client(member.client_urls[0]) as client:
        await client.send(client.head(1, PUT, [("connection", "close")]))
        assert (await client.answer(1))[0]["reset"] == "1"
        await client.send(client.request(3, RANGE, pb.RangeRequest(key=b"k").SerializeToString()))
        assert (await client.answer(3))[0]["grpc-status"] == "0"


async def test_a_breach_is_named_in_the_goodbye(member: Member) -> None:
    async with raw_client(member.client_urls[0]) as client:
        await client.send(frame(frames.DATA, 0, 1, b"x"))
        last = None
        while (got := await client.next_frame()) is not None:
            last = got
        assert last is not None
        assert (last.kind, last.payload[8:]) == (frames.GOAWAY, b"data on stream 1, which is not open")
    await _assert_healthy(member)


async def test_ten_thousand_streams_opened_and_reset_harm_nobody(member: Member) -> None:
    async with raw_client(member.client_urls[0]) as client:
        for start in range(0, 10_000, 500):
            await client.send(
                *(
                    client.head(2 * number + 1, WATCH) + rst_stream(2 * number + 1, ErrorCode.CANCEL)
                    for number in range(start, start + 500)
                )
            )
        await client.send(client.request(20_001, RANGE, pb.RangeRequest(key=b"k").SerializeToString()))
        assert (await client.answer(20_001))[0]["grpc-status"] == "0"
        (connection,) = member.connections
        assert connection.watches == 0
    await _assert_healthy(member)


async def test_writes_that_are_reset_at_once_are_still_counted(
    leaderless: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "MAX_UNANSWERED", 10)
    async with raw_client(leaderless.client_urls[0]) as client:
        for number in range(10):
            await client.send(
                client.request(2 * number + 1, PUT, _put(b"a")), rst_stream(2 * number + 1, ErrorCode.CANCEL)
            )
        await client.send(client.request(99, PUT, _put(b"a")))
        headers, _ = await client.answer(99)
        assert (headers["grpc-status"], headers["grpc-message"]) == ("8", "etcdserver: too many requests")


async def test_a_watch_that_is_not_read_lags_and_misses_nothing(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(h2, "MAX_STREAM_HELD_BYTES", LIMIT)
    async with raw_client(member.client_urls[0]) as client, open_client(member.client_urls) as other:
        create = pb.WatchRequest(create_request={"key": b"a"})
        await client.send(client.head(1, WATCH), frame(frames.DATA, 0, 1, framed(create.SerializeToString())))
        await until(lambda: member.machine.watch.statistics()["synced"] == 1)
        highest = 0
        (speaker,) = [each._speaker for each in member.connections if isinstance(each._speaker, h2.Http2Speaker)]
        for _ in range(60):
            await other.put(b"a", bytes(100_000))
            highest = max(highest, speaker.http.held_bytes)
        assert LIMIT < highest < LIMIT + 200_000
        assert member.machine.watch.statistics()["blocked"] == 1
        await client.send(window_update(0, 1 << 30), window_update(1, 1 << 30))
        seen: list[int] = []
        decoder = h2.MessageDecoder(1 << 30)
        while len(seen) < 60:
            got = await client.next_frame()
            assert got is not None
            if got.kind == frames.DATA:
                for message in decoder.feed(got.payload):
                    seen += [event.kv.mod_revision for event in pb.WatchResponse.FromString(message).events]
        assert seen == list(range(2, 62))


async def test_small_questions_with_large_answers_are_held_back(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "MAX_UNREAD_BYTES", LIMIT)
    async with raw_client(member.client_urls[0], {frames.SETTINGS_INITIAL_WINDOW_SIZE: 0}) as client:
        async with open_client(member.client_urls) as other:
            await other.put(b"a", bytes(500_000))
        ask = pb.RangeRequest(key=b"a").SerializeToString()
        await client.send(*(client.request(2 * number + 1, RANGE, ask) for number in range(50)))
        (speaker,) = [each._speaker for each in member.connections if isinstance(each._speaker, h2.Http2Speaker)]
        await until(lambda: speaker._held != [])
        assert speaker.http.held_bytes < LIMIT + 1_000_000
        await client.send(client.request(201, PUT, _put(b"b")))
        headers, _ = await client.answer(201)
        assert headers["grpc-message"] == "etcdserver: too many requests"
        await client.send(client.head(203, RANGE), rst_stream(99, ErrorCode.CANCEL))  # one of those that wait
        await client.send(frames.settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: 1 << 24}), window_update(0, 1 << 30))
        answered = set()
        while len(answered) < 49:
            got = await client.next_frame()
            assert got is not None
            if got.kind == frames.HEADERS and got.flags & frames.END_STREAM:
                answered.add(got.stream_id)
        assert 99 not in answered
        (connection,) = member.connections
        assert connection.unanswered == 0


async def test_messages_that_never_end_are_bounded(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h2, "MAX_PARTIAL_BYTES", 100_000)
    async with raw_client(member.client_urls[0]) as client:
        start = b"\0" + (200_000).to_bytes(4)
        for stream_id in range(1, 17, 2):
            await client.send(client.head(stream_id, PUT), frame(frames.DATA, 0, stream_id, start + bytes(16_000)))
        headers, _ = await client.answer(13)
        assert headers["grpc-message"] == "etcdserver: too many requests"
        (connection,) = member.connections
        assert isinstance(connection._speaker, h2.Http2Speaker)
        assert connection._speaker.partial_bytes <= 100_000
    await _assert_healthy(member)
