"""The server's side of one connection: streams that clients open, and bounds on what a client may cost.

``receive`` takes bytes and calls the owner; what the owner sends leaves through ``queue`` at once, or is held back
until the peer's windows have room for it. After ``ConnectionEnds`` the connection says no more: its GOAWAY is queued.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from kvraft.wire.http2.common import CONNECTION_WINDOW, STREAM_WINDOW, Connection, ConnectionEnds, unpadded
from kvraft.wire.http2.flood import MIN_PING_SECONDS, Bucket
from kvraft.wire.http2.frames import (
    END_STREAM,
    PADDED,
    PING,
    SETTINGS_MAX_CONCURRENT_STREAMS,
    SETTINGS_MAX_HEADER_LIST_SIZE,
    ErrorCode,
    frame,
    goaway,
    rst_stream,
)
from kvraft.wire.http2.headers import MAX_LIST_BYTES
from kvraft.wire.http2.stream import Receiver, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvraft.wire.http2.headers import Header

__all__ = ["CONNECTION_WINDOW", "STREAM_WINDOW", "ConnectionEnds", "Owner", "ServerConnection"]

MAX_STREAMS = 10_000
"""Open at once; a client that wants more waits, or is refused."""
RESET_BURST = 10_000
RESETS_PER_SECOND = 1000.0
"""Streams that a peer may open and reset before they are answered; past it the connection ends."""

Head = TypeVar("Head")
Head_contra = TypeVar("Head_contra", contravariant=True)


class Owner(Protocol[Head_contra]):
    """Who serves the streams."""

    def opened(self, stream: Stream, head: Head_contra) -> Receiver:
        """A request has begun. Must not raise; may already answer."""
        ...


class ServerConnection(Connection[Head]):
    """See the module. ``clock`` gives seconds; ``interpret`` is what ``HeaderDecoder`` asks."""

    def __init__(
        self,
        owner: Owner[Head],
        queue: Callable[[bytes], None],
        interpret: Callable[[Sequence[Header]], Head],
        clock: Callable[[], float],
        max_streams: int = MAX_STREAMS,
        min_ping_seconds: float = MIN_PING_SECONDS,
    ) -> None:
        said = {SETTINGS_MAX_CONCURRENT_STREAMS: max_streams, SETTINGS_MAX_HEADER_LIST_SIZE: MAX_LIST_BYTES}
        super().__init__(queue, interpret, clock, said)
        self._max_streams = max_streams
        self._pings.min_seconds = min_ping_seconds
        self._owner = owner
        self._leaving = False
        self._resets = Bucket(RESET_BURST, RESETS_PER_SECOND, clock)

    # ------------------------------------------------------------------ ends

    def ping(self) -> None:
        """Ask the peer whether it is there; whatever it sends is the answer."""
        self._queue(frame(PING, 0, 0, bytes(8)))

    def leave(self) -> None:
        """Tell the peer to go elsewhere with new requests; those under way are served."""
        if not self._leaving:
            self._leaving = True
            self._queue(goaway(self._last_stream_id, ErrorCode.NO_ERROR))

    # ------------------------------------------------------------------ frames in

    def _complete_block(self, stream_id: int, block: bytes, *, ends: bool) -> None:
        head = self._headers.decode(block)  # also of streams that we refuse: the table must follow
        if stream_id <= self._last_stream_id:
            self._trailers(stream_id, ends=ends)
            return
        self._last_stream_id = stream_id
        if self._leaving or len(self.streams) >= self._max_streams:
            self._queue(rst_stream(stream_id, ErrorCode.REFUSED_STREAM))
            return
        stream = self.streams[stream_id] = Stream(stream_id, self._initial_send_window, STREAM_WINDOW)
        stream.remote_closed = ends
        stream.receiver = receiver = self._owner.opened(stream, head)
        if ends and not stream.local_closed:
            receiver.half_closed()

    def _trailers(self, stream_id: int, *, ends: bool) -> None:
        """A second block of headers; what it says concerns nobody, but it must end the stream."""
        stream = self.streams.get(stream_id)
        if stream is None:
            return  # we have ended it, which the peer may not know yet
        if stream.remote_closed:
            self._break(stream, ErrorCode.STREAM_CLOSED)
        elif not ends:
            self._break(stream, ErrorCode.PROTOCOL_ERROR)
        else:
            stream.remote_closed = True
            if not stream.local_closed:
                stream.receiver.half_closed()

    def _data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        stream = self._stream_of_data(stream_id, size)
        if stream is None:
            return
        if flags & PADDED:
            payload = unpadded(flags, payload)
        stream.remote_closed = ends = bool(flags & END_STREAM)
        if stream.local_closed:
            return  # what we still hold back for it is all that is left
        receiver = stream.receiver
        if payload:
            receiver.data(payload)
        if _is_over(stream):
            return
        if ends:
            receiver.half_closed()
        else:
            self._more_data(stream, size)

    def _rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        stream = self._stream_of_reset(stream_id, payload)
        if stream is not None:
            if not self._resets.take():
                raise ConnectionEnds(ErrorCode.ENHANCE_YOUR_CALM, "too many streams are opened and reset")
            self._lose(stream)

    def _push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, "a client does not push")

    def _pinged(self) -> None:
        if not self._pings.allow(idle=not self.streams):
            raise ConnectionEnds(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")

    def _goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id or len(payload) < 8:
            raise ConnectionEnds(ErrorCode.FRAME_SIZE_ERROR, "a malformed goaway")


def _is_over(stream: Stream) -> bool:
    """Whether what the receiver has just heard made it end the stream."""
    return stream.local_closed
