"""Clients that do not read: the member's memory stays bounded, nobody else waits, and nothing is lost for them."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import pytest
import trio

from kvraft.channel import Channel, dial
from kvraft.client import open_client
from kvraft.embed import open_member
from kvraft.errors import KvraftError, ProtocolError
from kvraft.server import clients
from kvraft.types import (
    Compare,
    HashKVRequest,
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
    PutRequest,
    RangeRequest,
    RangeResponse,
    StatusRequest,
    WatchBatch,
    WatchRequest,
    prefix_end,
)
from kvraft.wire import native
from kvraft.wire.frames import FrameDecoder, frame
from tests.kvraft.certificates import Authority
from tests.kvraft.members import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kvraft.client import Client
    from kvraft.server.member import Member

LIMIT = 1 << 20
VALUE = bytes(100_000)
BUSY = (b"busy/", prefix_end(b"busy/"))


@pytest.fixture
async def member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Member]:
    monkeypatch.setattr(clients, "MAX_UNREAD_BYTES", LIMIT)
    async with open_member(tmp_path / "data") as member:
        yield member


async def _silent(member: Member) -> Channel:
    """A connection whose socket holds little."""
    channel = await dial(member.client_urls[0], None)
    channel._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    channel.queue(native.PREFACE)
    return channel


def _buffered(served: list[clients.ClientConnection]) -> int:
    return max(connection._channel.buffered_bytes for connection in served)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[clients.ClientConnection]:
    """The member's connections, as they come."""
    connections: list[clients.ClientConnection] = []
    run = clients.ClientConnection.run

    async def keep_and_run(self: clients.ClientConnection) -> None:
        connections.append(self)
        await run(self)

    monkeypatch.setattr(clients.ClientConnection, "run", keep_and_run)
    return connections


async def _answers(channel: Channel, count: int) -> dict[bytes, list[object]]:
    """The next ``count`` answers by request id."""
    frames = FrameDecoder(1 << 28)
    found: dict[bytes, list[object]] = {}
    while count > 0:
        data = await channel.receive()
        assert data, "the member has closed the connection"
        for payload in frames.feed(data):
            found.setdefault(payload[: native.ID_BYTES], []).append(native.decode_answer(payload[native.ID_BYTES :]))
            count -= 1
    return found


async def _write(client: Client, count: int) -> list[int]:
    return [(await client.put(b"busy/%d" % number, VALUE)).revision for number in range(count)]


async def test_a_watch_that_is_not_read_lags_within_bounds_and_misses_nothing(
    served: list[clients.ClientConnection], member: Member
) -> None:
    slow = await _silent(member)
    await slow.send(native.encode_request(b"\0\0\0\1", WatchRequest(*BUSY, start_revision=1)))
    highest = 0
    async with open_client(member.client_urls) as client, client.watch(*BUSY, start_revision=1) as other:
        revisions = []
        while not any(connection._speaker._blocked for connection in served):
            revisions += await _write(client, 10)
            highest = max(highest, _buffered(served))
        revisions += await _write(client, 10)
        seen: list[int] = []
        while len(seen) < len(revisions):
            seen += [event.kv.mod_revision for event in (await anext(other)).events]
        assert seen == revisions
    assert LIMIT < highest < LIMIT + 2 * len(VALUE) + 10_000
    late: list[int] = []
    frames = FrameDecoder(1 << 28)
    while len(late) < len(revisions):
        for payload in frames.feed(await slow.receive()):
            batch = native.decode_answer(payload[native.ID_BYTES :])
            assert isinstance(batch, WatchBatch)
            late += [event.kv.mod_revision for event in batch.events]
    assert late == revisions
    slow.close()


async def test_who_reads_nothing_is_not_read_from(served: list[clients.ClientConnection], member: Member) -> None:
    slow = await _silent(member)
    async with open_client(member.client_urls) as client:
        await _write(client, 100)  # more than sockets hold
        await slow.send(native.encode_request(b"\0\0\0\1", RangeRequest(*BUSY)))
        connection = served[0]
        await until(lambda: connection._channel.buffered_bytes > LIMIT)
        taken: list[bytes] = []
        speaker = connection._speaker
        assert speaker is not None
        receive = speaker.receive

        def look(data: bytes) -> None:
            taken.append(data)
            receive(data)

        speaker.receive = look  # type: ignore[method-assign]
        for number in range(2, 5):
            await slow.send(native.encode_request(number.to_bytes(4), StatusRequest()))
            await _write(client, 5)  # which are read meanwhile
        assert len(taken) <= 1, "what comes first shows that there is too much by now"
        assert len(await _answers(slow, 4)) == 4
        assert len(taken) > 1
    slow.close()


@pytest.mark.parametrize("serializable", [True, False])
async def test_small_questions_with_large_answers_are_held_back(
    served: list[clients.ClientConnection], member: Member, serializable: bool
) -> None:
    async with open_client(member.client_urls) as client:
        await _write(client, 5)
    asked = 100  # half a megabyte each
    slow = await _silent(member)
    request = RangeRequest(*BUSY, serializable=serializable)
    for number in range(1, asked + 1):
        slow.queue(native.encode_request(number.to_bytes(4), request))
    slow.send_now()
    await until(lambda: bool(served[-1]._held))
    assert served[-1]._channel.buffered_bytes < LIMIT + 2 * 5 * len(VALUE)
    answers = await _answers(slow, asked)
    assert len(answers) == asked
    assert all(isinstance(answer, RangeResponse) and answer.count == 5 for (answer,) in answers.values())
    slow.close()


async def test_a_breach_by_a_client_that_does_not_read_harms_nobody(
    served: list[clients.ClientConnection], member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "GOODBYE_SECONDS", 0.05)
    async with open_client(member.client_urls) as client:
        await _write(client, 10)
        slow = await _silent(member)
        for number in range(1, 11):
            slow.queue(native.encode_request(number.to_bytes(4), RangeRequest(*BUSY)))
        slow.send_now()
        await until(lambda: served[-1]._channel.buffered_bytes > 0 and served[-1]._queued_bytes > LIMIT)
        monkeypatch.setattr(clients, "MAX_UNREAD_BYTES", 1 << 30)  # it goes on reading ...
        slow.queue(native.encode_request(b"\0\0\1\0", RangeRequest(b"k")))
        slow.queue(frame(b"\0\0\1\1\xc1"))  # ... until this
        slow.send_now()
        await until(lambda: served[-1]._channel.closed)
        await client.put(b"health", b"y")
    slow.close()


async def test_an_impossible_watch_counts_once_against_the_bound(
    served: list[clients.ClientConnection], member: Member
) -> None:
    channel = await dial(member.client_urls[0], None)
    channel.queue(native.PREFACE)
    for number in range(1, 11):
        channel.queue(native.encode_request(number.to_bytes(4), WatchRequest(b"b", b"a")))
    channel.send_now()
    answers = await _answers(channel, 10)
    assert all(isinstance(answer, KvraftError) for (answer,) in answers.values())
    assert served[-1].unanswered == 0
    channel.close()


async def test_a_client_that_reads_nothing_for_too_long_is_closed(
    served: list[clients.ClientConnection], member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "MAX_UNREAD_SECONDS", 0.05)
    async with open_client(member.client_urls) as client:
        await _write(client, 10)
        slow = await _silent(member)
        for number in range(1, 101):
            slow.queue(native.encode_request(number.to_bytes(4), RangeRequest(*BUSY)))
        slow.send_now()
        await until(lambda: served[-1]._channel.closed)
        await client.put(b"health", b"y")
    slow.close()


async def test_what_cannot_be_sent_in_a_frame_is_refused_before_it_is_sent(member: Member) -> None:
    async with open_client(member.client_urls) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.put, b"k", b"beside it")
            with pytest.raises(KvraftError, match="request is too large") as caught:
                await client.put(b"huge", bytes(4 << 20))
        assert caught.value.definite
        assert (await client.range(b"k")).count == 1


async def test_a_larger_bound_is_kept_on_both_sides(tmp_path: Path) -> None:
    async with (
        open_member(tmp_path / "data", max_request_bytes=6 << 20) as member,
        open_client(member.client_urls, max_request_bytes=8 << 20) as client,
    ):
        await client.put(b"large", bytes(5 << 20))
        with pytest.raises(KvraftError, match="request is too large"):
            await client.put(b"larger", bytes(7 << 20))


@pytest.mark.parametrize("opening", [b"", b"\x16\x03\x01", b"plain text"])
async def test_connections_that_are_reset_at_once_harm_nobody(tmp_path: Path, opening: bytes) -> None:
    tls = Authority(tmp_path / "pki").tls("member")
    async with open_member(tmp_path / "data", client_url="https://127.0.0.1:0", client_tls=tls) as member:
        url = member.client_urls[0]
        address = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
        for _ in range(20):  # all of them before the member has a turn
            sock = socket.create_connection(address)
            sock.sendall(opening)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        async with open_client([url], ssl_context=tls.client_context()) as client:
            await client.put(b"health", b"y")


async def test_no_number_in_a_request_stops_a_member(member: Member) -> None:
    numbers = (-1, 1, -(2**63), 2**63 - 1, 2**63, 2**64 - 1)
    requests: list[object] = []
    for number in numbers:
        requests += [
            RangeRequest(b"k", b"", number, number),
            RangeRequest(b"k", b"\0", number, 0),
            PutRequest(b"k", b"v", number),
            native.CompactRequest(number),
            LeaseGrantRequest(100, number),
            LeaseGrantRequest(number, 1),
            LeaseRevokeRequest(number),
            LeaseKeepAliveRequest(number),
            LeaseTimeToLiveRequest(number, True),
            HashKVRequest(number),
            WatchRequest(b"k", b"", number),
            *(
                native.TxnRequest((Compare(b"k", target, 0, number),), (RangeRequest(b"k", b"", number, number),))
                for target in range(-1, 6)
            ),
        ]
    channel = await dial(member.client_urls[0], None)
    channel.queue(native.PREFACE)
    for place, request in enumerate(requests, 1):
        channel.queue(native.encode_request(place.to_bytes(4), request))  # type: ignore[arg-type]
    channel.queue(native.encode_request(b"\1\0\0\0", StatusRequest()))
    await channel.drain()
    frames = FrameDecoder(1 << 20)
    waiting = {place.to_bytes(4) for place, request in enumerate(requests, 1) if not isinstance(request, WatchRequest)}
    while waiting:
        data = await channel.receive()
        assert data
        for payload in frames.feed(data):
            assert not isinstance(native.decode_answer(payload[4:]), ProtocolError)
            waiting.discard(payload[:4])
    channel.close()
    async with open_client(member.client_urls) as client:
        await client.put(b"health", b"y")
