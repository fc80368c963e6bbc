"""A gRPC client that does exactly what it is told, frame by frame: also what no library would do."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import hpack
import trio

from kvraft.channel import Channel, dial
from kvraft.wire.grpc.messages import MessageDecoder, framed
from kvraft.wire.http2 import frames
from kvraft.wire.http2.frames import frame
from tests.kvraft.members import PATIENCE_SECONDS
from tests.kvraft.wire.http2_peer import Frame, split

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterable


class RawClient:
    """Frames to and from a member; ``dial`` has sent the preface."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._rest = b""
        self._frames: list[Frame] = []
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()

    async def send(self, *data: bytes) -> None:
        for each in data:
            self.channel.queue(each)
        await self.channel.drain()

    def head(self, stream_id: int, path: str, extra: Iterable[tuple[str, str]] = (), *, ends: bool = False) -> bytes:
        """The head of a call."""
        block = self._encoder.encode(
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", path),
                (":authority", "raw"),
                ("content-type", "application/grpc"),
                ("te", "trailers"),
                *extra,
            ]
        )
        return frame(frames.HEADERS, frames.END_HEADERS | (frames.END_STREAM if ends else 0), stream_id, block)

    def request(self, stream_id: int, path: str, message: bytes, extra: Iterable[tuple[str, str]] = ()) -> bytes:
        """A whole call of one message."""
        return self.head(stream_id, path, extra) + frame(frames.DATA, frames.END_STREAM, stream_id, framed(message))

    async def next_frame(self) -> Frame | None:
        """The next frame; None at the end of the connection. Raises ``trio.TooSlowError``."""
        while not self._frames:
            with trio.fail_after(PATIENCE_SECONDS):
                data = await self.channel.receive()
            if not data:
                return None
            self._rest += data
            end = 0
            while len(self._rest) - end >= 9:
                size = 9 + int.from_bytes(self._rest[end : end + 3])
                if end + size > len(self._rest):
                    break
                end += size
            self._frames = split(self._rest[:end])
            self._rest = self._rest[end:]
        return self._frames.pop(0)

    async def answer(self, stream_id: int) -> tuple[dict[str, str], list[bytes]]:
        """The headers and trailers of the answer on a stream, and its messages."""
        decoder = MessageDecoder(1 << 30)
        headers: dict[str, str] = {}
        messages: list[bytes] = []
        while (got := await self.next_frame()) is not None:
            if got.kind == frames.HEADERS:
                fields = self._decoder.decode(got.payload)  # of every stream: the table must follow
            if got.stream_id != stream_id:
                continue
            if got.kind == frames.HEADERS:
                headers.update(fields)
            elif got.kind == frames.DATA:
                messages += decoder.feed(got.payload)
            elif got.kind == frames.RST_STREAM:
                headers["reset"] = str(int.from_bytes(got.payload))
                return headers, messages
            if got.flags & frames.END_STREAM and got.kind in (frames.HEADERS, frames.DATA):
                return headers, messages
        raise AssertionError("the connection ended")


@asynccontextmanager
async def raw_client(
    url: str, settings: dict[int, int] | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawClient]:
    """A connection that has said its preface and settings."""
    channel = await dial(url, tls)
    try:
        client = RawClient(channel)
        await client.send(frames.PREFACE, frames.settings(settings or {}))
        yield client
    finally:
        channel.close()
