"""What a client may not do: a clear reason, a closed connection at worst, and the server goes on."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING

import pytest

from kvraft.channel import Channel, Closed, dial
from kvraft.client import open_client
from kvraft.embed import open_member
from kvraft.errors import KvraftError
from kvraft.wire import native
from kvraft.wire.frames import FrameDecoder, frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kvraft.server.member import Member


@pytest.fixture
async def member(tmp_path: Path) -> AsyncIterator[Member]:
    async with open_member(tmp_path / "data") as member:
        yield member


async def _everything(channel: Channel) -> list[object]:
    """Answers until the server closes the connection."""
    frames = FrameDecoder(1 << 20)
    answers: list[object] = []
    # A server that closes before it has read all of our nonsense resets the connection: that is its end as well.
    with contextlib.suppress(Closed):
        while data := await channel.receive():
            answers += [native.decode_answer(payload[native.ID_BYTES :]) for payload in frames.feed(data)]
    channel.close()
    return answers


async def _assert_healthy(member: Member) -> None:
    async with open_client(member.client_urls) as client:
        await client.put(b"health", b"y")
        assert (await client.range(b"health")).kvs[0].value == b"y"


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"kvraft/2\n", "preface"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "preface"),
        (native.PREFACE + (1 << 31).to_bytes(4) + b"x", "frame of 2147483648 bytes"),
        (native.PREFACE + (3).to_bytes(4) + b"abc", "frame of 3 bytes; 5 to"),
        (native.PREFACE + frame(b"\0\0\0\1" + b"\xc1\xc1"), "malformed request"),
        (native.PREFACE + frame(b"\0\0\0\1" + b"\x91" * 5000), "malformed request"),
        (native.PREFACE + frame(b"\0\0\0\1" + b"\x92\x02\xc4\x01k"), "malformed request"),
        (native.PREFACE + frame(b"\0\0\0\1" + b"\x92\x63\x01"), "malformed request"),
    ],
)
async def test_breaches_are_named_and_close_the_connection(member: Member, sent: bytes, reason: str) -> None:
    channel = await dial(member.client_urls[0], None)
    await channel.send(sent)
    answers = await _everything(channel)
    assert isinstance(answers[-1], KvraftError)
    assert reason in str(answers[-1])
    await _assert_healthy(member)


async def test_a_request_id_can_watch_only_once(member: Member) -> None:
    channel = await dial(member.client_urls[0], None)
    request = native.encode_request(b"\0\0\0\1", native.WatchRequest(b"k"))
    await channel.send(native.PREFACE + request + request)
    assert "is a watch already" in str((await _everything(channel))[-1])
    await _assert_healthy(member)


async def test_a_client_that_only_half_speaks_is_no_harm(member: Member) -> None:
    half = await dial(member.client_urls[0], None)
    await half.send(native.PREFACE + (100).to_bytes(4) + b"abc")
    await _assert_healthy(member)
    half.close()
    await _assert_healthy(member)


async def test_whatever_bytes_come_the_server_goes_on(member: Member) -> None:
    rng = random.Random(7)
    for _ in range(60):
        channel = await dial(member.client_urls[0], None)
        channel.queue(native.PREFACE)
        for _ in range(rng.randrange(8)):
            piece = rng.randbytes(rng.randrange(60))
            channel.queue(frame(b"\0\0\0\1" + piece) if rng.random() < 0.7 else piece)
        await channel.drain()
        channel.close()
    await _assert_healthy(member)
