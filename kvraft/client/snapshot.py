"""A member's whole state as a stream, over a connection of its own: who reads slowly slows only that down."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from kvraft.channel import Channel, Closed, dial
from kvraft.errors import DeadlineExceeded, KvraftError, ProtocolError, Unavailable
from kvraft.types import SnapshotChunk, SnapshotRequest
from kvraft.wire import native
from kvraft.wire.frames import FrameDecoder

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

REQUEST_ID = (1).to_bytes(native.ID_BYTES)
STALL_SECONDS = 30.0


@asynccontextmanager
async def open_snapshot(
    url: str, *, ssl_context: ssl.SSLContext | None = None, stall_seconds: float = STALL_SECONDS, token: str = ""
) -> AsyncIterator[AsyncIterator[SnapshotChunk]]:
    """The state of the member at ``url``; iterate for its chunks. They end with the checksum of what went before.

    ``token`` says who asks; ``Client.snapshot`` gets itself one.

    Raises ``Unavailable`` when the member cannot be reached, ``DeadlineExceeded`` when it is silent for
    ``stall_seconds``, and the error that it answers.
    """
    try:
        channel = await dial(url, ssl_context, stall_seconds)
    except (OSError, Closed) as error:
        raise Unavailable(f"{url}: {error}") from error
    try:
        bearer = native.encode_request(native.CONNECTION_ID, native.Bearer(token)) if token else b""
        await channel.send(native.PREFACE + bearer + native.encode_request(REQUEST_ID, SnapshotRequest()))
        yield _chunks(channel, stall_seconds)
    finally:
        channel.close()


async def _chunks(channel: Channel, stall_seconds: float) -> AsyncIterator[SnapshotChunk]:
    frames = FrameDecoder(native.MAX_RESPONSE_FRAME_BYTES, native.ID_BYTES + 1)
    while True:
        data = b""
        with trio.move_on_after(stall_seconds) as scope:
            data = await channel.receive()
        if scope.cancelled_caught:
            raise DeadlineExceeded
        if not data:
            raise Unavailable("the connection ended before the snapshot did")
        for payload in frames.feed(data):
            answer = native.decode_answer(payload[native.ID_BYTES :])
            if isinstance(answer, KvraftError):
                raise answer
            if not isinstance(answer, SnapshotChunk):
                raise ProtocolError(f"a {type(answer).__name__} came where a piece of a snapshot was due")
            if not answer.data:
                return
            yield answer


async def put_before(first: SnapshotChunk, others: AsyncIterator[SnapshotChunk]) -> AsyncIterator[SnapshotChunk]:
    """``first``, then the others."""
    yield first
    async for chunk in others:
        yield chunk
