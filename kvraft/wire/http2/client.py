"""The client's side of one connection: streams that it opens, and what a peer that leaves makes of them.

A request leaves at once, or is held back until the peer's windows have room for it, or waits until the peer takes
another stream. What a peer has certainly not looked at is told apart from what it may have done: ``refused``, not
``lost``.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar, cast

from kvraft.wire.http2.common import STREAM_WINDOW, Connection, ConnectionEnds, unpadded
from kvraft.wire.http2.flood import Bucket
from kvraft.wire.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADER,
    HEADERS,
    MAX_FRAME_BYTES,
    MAX_STREAM_ID,
    PADDED,
    PREFACE,
    SETTINGS_ENABLE_PUSH,
    ErrorCode,
    rst_stream,
)
from kvraft.wire.http2.stream import Receiver, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvraft.wire.http2.headers import Header

MAX_WAITING = 10_000
"""Requests that wait until the peer takes another stream; more are refused."""
COURTESY_BURST = 1000
COURTESIES_PER_SECOND = 100.0
"""Pings and settings that are answered; past it the connection ends."""

Head = TypeVar("Head")


class TooManyWaiting(Exception):
    """The peer takes no more streams at once, and too many requests wait for one already."""


class Caller(Receiver, Protocol):
    """Who has asked. None of these may raise."""

    def headers(self, head: object) -> None:
        """Headers have come: the answer's, or what follows its data."""
        ...

    def refused(self) -> None:
        """The peer has not looked at the request and will not: it may be sent elsewhere. Nothing follows."""
        ...


class _Waiting(NamedTuple):
    stream: Stream
    block: bytes
    data: bytes
    ends: bool


class ClientConnection(Connection[Head]):
    """See the module. ``clock`` gives seconds; ``interpret`` is what ``HeaderDecoder`` asks."""

    def __init__(
        self,
        queue: Callable[[bytes], None],
        interpret: Callable[[Sequence[Header]], Head],
        clock: Callable[[], float],
    ) -> None:
        queue(PREFACE)
        super().__init__(queue, interpret, clock, {SETTINGS_ENABLE_PUSH: 0})
        self.leaving = False
        """The peer, or the number of streams that a connection can have, allows no further request."""
        self._max_streams = MAX_STREAM_ID
        self._waiting_requests: deque[_Waiting] = deque()
        self._courtesies = Bucket(COURTESY_BURST, COURTESIES_PER_SECOND, clock)

    # ------------------------------------------------------------------ requests

    def request(self, block: bytes, data: bytes, caller: Caller, *, ends: bool) -> Stream:
        """Open a stream with headers and data; without ``ends`` more data may follow. Not once it is ``leaving``.

        Raises ``TooManyWaiting``.
        """
        assert not self.leaving
        stream = Stream(0, self._initial_send_window, STREAM_WINDOW)
        stream.receiver = caller
        if len(self.streams) >= self._max_streams or self._waiting_requests:
            if len(self._waiting_requests) >= MAX_WAITING:
                raise TooManyWaiting
            self._waiting_requests.append(_Waiting(stream, block, data, ends))
        else:
            self._begin(stream, block, data, ends=ends)
        return stream

    def say(self, stream: Stream, data: bytes) -> None:
        """More data on a stream that has not been ended."""
        if stream.stream_id:
            self.send_data(stream, data)
            return
        for place, waiting in enumerate(self._waiting_requests):
            if waiting.stream is stream:
                self._waiting_requests[place] = waiting._replace(data=waiting.data + data)

    def cancel(self, stream: Stream) -> None:
        """Nobody waits for the answer any more; the caller hears nothing further."""
        if stream.stream_id:
            self.reset(stream, ErrorCode.CANCEL)
        else:
            self._waiting_requests = deque(each for each in self._waiting_requests if each.stream is not stream)

    def _begin(self, stream: Stream, block: bytes, data: bytes, *, ends: bool) -> None:
        self._last_stream_id = stream_id = self._last_stream_id + 2 if self._last_stream_id else 1
        self.leaving = self.leaving or stream_id + 2 > MAX_STREAM_ID
        stream.stream_id = stream_id
        stream.send_window = self._initial_send_window
        self.streams[stream_id] = stream
        out = HEADER.pack(len(block) << 8 | HEADERS, END_HEADERS, stream_id) + block
        size = len(data)
        if size <= MAX_FRAME_BYTES and size <= stream.send_window and size <= self._send_window:
            stream.send_window -= size
            self._send_window -= size
            stream.local_closed = ends
            self._queue(out + HEADER.pack(size << 8 | DATA, END_STREAM if ends else 0, stream_id) + data)
            return
        self._queue(out)
        self.send_data(stream, data)
        if ends:
            self.send_trailers(stream, b"")

    def _begin_waiting(self) -> None:
        while self._waiting_requests and not self.leaving and len(self.streams) < self._max_streams:
            stream, block, data, ends = self._waiting_requests.popleft()
            self._begin(stream, block, data, ends=ends)
        if self.leaving:
            waiting, self._waiting_requests = self._waiting_requests, deque()
            for each in waiting:
                cast("Caller", each.stream.receiver).refused()

    # ------------------------------------------------------------------ ends

    def lost(self) -> None:
        """The connection is gone: every caller hears of it."""
        self.leaving = True
        super().lost()
        self._begin_waiting()

    def _ended(self, stream: Stream) -> None:
        """Our side is closed; the answer is still to come."""

    def _lose(self, stream: Stream) -> None:
        self._forget(stream)
        stream.receiver.lost()

    def _forget(self, stream: Stream) -> None:
        super()._forget(stream)
        if self._waiting_requests:
            self._begin_waiting()

    def _half_closed(self, stream: Stream) -> None:
        """The whole answer is there, so the stream is over: what we have not sent is of no use any more."""
        stream.remote_closed = True
        if stream.stream_id in self.streams:
            if not stream.local_closed or stream.held:
                self._queue(rst_stream(stream.stream_id, ErrorCode.NO_ERROR))
            self._forget(stream)
            stream.receiver.half_closed()

    # ------------------------------------------------------------------ frames in

    def _complete_block(self, stream_id: int, block: bytes, *, ends: bool) -> None:
        head = self._headers.decode(block)  # also of streams that we have ended: the table must follow
        if self._is_idle(stream_id):
            raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, f"headers on stream {stream_id}, which is not open")
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        cast("Caller", stream.receiver).headers(head)
        if ends:
            self._half_closed(stream)

    def _data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        stream = self._stream_of_data(stream_id, size)
        if stream is None:
            return
        if flags & PADDED:
            payload = unpadded(flags, payload)
        if payload:
            stream.receiver.data(payload)
        if flags & END_STREAM:
            self._half_closed(stream)
        elif stream_id in self.streams:
            self._more_data(stream, size)

    def _rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        stream = self._stream_of_reset(stream_id, payload)
        if stream is None:
            return
        if int.from_bytes(payload) == ErrorCode.REFUSED_STREAM:
            self._forget(stream)
            cast("Caller", stream.receiver).refused()
        else:
            self._lose(stream)

    def _goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id or len(payload) < 8:
            raise ConnectionEnds(ErrorCode.FRAME_SIZE_ERROR, "a malformed goaway")
        self.leaving = True
        last = int.from_bytes(payload[:4]) & MAX_STREAM_ID
        for stream in [stream for number, stream in self.streams.items() if number > last]:
            self._forget(stream)
            cast("Caller", stream.receiver).refused()
        self._begin_waiting()

    def _push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, "a push, which we have not allowed")

    def _streams_allowed(self, count: int) -> None:
        self._max_streams = count
        self._begin_waiting()

    def _pinged(self) -> None:
        self._polite()

    def _settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        super()._settings(flags, stream_id, payload)
        self._polite()

    def _polite(self) -> None:
        if not self._courtesies.take():
            raise ConnectionEnds(ErrorCode.ENHANCE_YOUR_CALM, "too many pings and settings")


__all__ = ["Caller", "ClientConnection", "ConnectionEnds", "TooManyWaiting"]
