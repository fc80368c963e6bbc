"""The server's side of one connection: frames, streams, flow control both ways, and bounds on what a peer may cost.

``receive`` takes bytes and calls the owner; what the owner sends leaves through ``queue`` at once, or is held back
until the peer's windows have room for it. After ``ConnectionEnds`` the connection says no more: its GOAWAY is queued.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from kvraft.wire.http2.flood import Bucket
from kvraft.wire.http2.frames import (
    ACK,
    CONTINUATION,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HAS_PRIORITY,
    HEADER,
    HEADER_BYTES,
    MAX_FRAME_BYTES,
    MAX_STREAM_ID,
    MAX_WINDOW,
    PADDED,
    PING,
    SETTINGS,
    SETTINGS_ENABLE_PUSH,
    SETTINGS_INITIAL_WINDOW_SIZE,
    SETTINGS_MAX_CONCURRENT_STREAMS,
    SETTINGS_MAX_FRAME_SIZE,
    SETTINGS_MAX_HEADER_LIST_SIZE,
    ErrorCode,
    frame,
    goaway,
    rst_stream,
    settings,
    window_update,
)
from kvraft.wire.http2.headers import MAX_BLOCK_BYTES, MAX_LIST_BYTES, HeaderDecoder, HeaderError
from kvraft.wire.http2.sending import Sender
from kvraft.wire.http2.stream import Receiver, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvraft.wire.http2.headers import Header

MAX_STREAMS = 10_000
"""Open at once; a client that wants more waits, or is refused."""
STREAM_WINDOW = 1 << 20
CONNECTION_WINDOW = 16 << 20
MAX_CONTINUATIONS = 64
RESET_BURST = 10_000
RESETS_PER_SECOND = 1000.0
"""Streams that a peer may open and reset before they are answered; past it the connection ends."""

Head = TypeVar("Head")
Head_contra = TypeVar("Head_contra", contravariant=True)


class ConnectionEnds(Exception):
    """The peer broke the rules; ``code`` went out with the GOAWAY, the text says what it did."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class Owner(Protocol[Head_contra]):
    """Who serves the streams."""

    def opened(self, stream: Stream, head: Head_contra) -> Receiver:
        """A request has begun. Must not raise; may already answer."""
        ...


class ServerConnection(Sender, Generic[Head]):
    """See the module. ``clock`` gives seconds; ``interpret`` is what ``HeaderDecoder`` asks."""

    def __init__(
        self,
        owner: Owner[Head],
        queue: Callable[[bytes], None],
        interpret: Callable[[Sequence[Header]], Head],
        clock: Callable[[], float],
    ) -> None:
        super().__init__(queue, clock)
        self._owner = owner
        self._headers = HeaderDecoder(interpret)
        self._rest = b""
        self._only: int | None = SETTINGS
        """The kind of frame that alone may come next."""
        self._block = bytearray()
        self._block_of = 0
        self._block_ends_stream = False
        self._continuations = 0
        self._last_stream_id = 0
        self._receive_window = CONNECTION_WINDOW
        self._unacknowledged = 0
        self._leaving = False
        self._resets = Bucket(RESET_BURST, RESETS_PER_SECOND, clock)
        self._handlers = (
            self._data, self._headers_frame, self._priority, self._rst_stream, self._settings,
            self._push_promise, self._ping, self._goaway, self._window_update, self._continuation,
        )  # fmt: skip
        queue(
            settings(
                {
                    SETTINGS_MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                    SETTINGS_INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                    SETTINGS_MAX_HEADER_LIST_SIZE: MAX_LIST_BYTES,
                }
            )
            + window_update(0, CONNECTION_WINDOW - DEFAULT_WINDOW)
        )

    # ------------------------------------------------------------------ ends

    def leave(self) -> None:
        """Tell the peer to go elsewhere with new requests; those under way are served."""
        if not self._leaving:
            self._leaving = True
            self._queue(goaway(self._last_stream_id, ErrorCode.NO_ERROR))

    def lost(self) -> None:
        """The connection is gone: every receiver hears of it."""
        for stream in list(self.streams.values()):
            self._lose(stream)

    # ------------------------------------------------------------------ frames in

    def receive(self, data: bytes) -> None:
        """Take bytes that follow the preface. Raises ``ConnectionEnds``."""
        try:
            self._take(data)
        except HeaderError as error:
            self._end(ErrorCode.COMPRESSION_ERROR, str(error))
        except ConnectionEnds as end:
            self._queue(goaway(self._last_stream_id, end.code, str(end).encode()))
            raise

    def _end(self, code: ErrorCode, text: str) -> None:
        self._queue(goaway(self._last_stream_id, code, text.encode()))
        raise ConnectionEnds(code, text)

    def _take(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        position, size = 0, len(data)
        unpack, handlers = HEADER.unpack_from, self._handlers
        while size - position >= HEADER_BYTES:
            length, flags, stream_id = unpack(data, position)
            kind = length & 0xFF
            length >>= 8
            if length > MAX_FRAME_BYTES:
                raise ConnectionEnds(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            start = position + HEADER_BYTES
            position = start + length
            if position > size:
                position = start - HEADER_BYTES
                break
            if self._only is not None and kind != self._only:
                raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, f"a frame of kind {kind} where {self._only} is due")
            if kind <= CONTINUATION:
                handlers[kind](flags, stream_id & MAX_STREAM_ID, data[start:position])
        self._rest = data[position:]

    def _headers_frame(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id & 1:
            raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, f"headers on stream {stream_id}")
        if flags & (PADDED | HAS_PRIORITY):
            payload = _unpadded(flags, payload)
            if flags & HAS_PRIORITY:
                if len(payload) < 5:
                    raise ConnectionEnds(ErrorCode.FRAME_SIZE_ERROR, "headers without their priority")
                payload = payload[5:]
        if flags & END_HEADERS:
            self._complete_block(stream_id, payload, ends=bool(flags & END_STREAM))
        else:
            self._only = CONTINUATION
            self._block = bytearray(payload)
            self._block_of = stream_id
            self._block_ends_stream = bool(flags & END_STREAM)
            self._continuations = 0

    def _continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._only is None or stream_id != self._block_of:
            raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, f"a continuation of nothing on stream {stream_id}")
        self._continuations += 1
        self._block += payload
        if len(self._block) > MAX_BLOCK_BYTES or self._continuations > MAX_CONTINUATIONS:
            raise ConnectionEnds(ErrorCode.ENHANCE_YOUR_CALM, f"more than {MAX_BLOCK_BYTES} bytes of headers")
        if flags & END_HEADERS:
            self._only = None
            block, self._block = bytes(self._block), bytearray()
            self._complete_block(stream_id, block, ends=self._block_ends_stream)

    def _complete_block(self, stream_id: int, block: bytes, *, ends: bool) -> None:
        head = self._headers.decode(block)  # also of streams that we refuse: the table must follow
        if stream_id <= self._last_stream_id:
            self._trailers(stream_id, ends=ends)
            return
        self._last_stream_id = stream_id
        if self._leaving or len(self.streams) >= MAX_STREAMS:
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
        self._receive_window -= size
        if self._receive_window < 0:
            raise ConnectionEnds(ErrorCode.FLOW_CONTROL_ERROR, "more data than the connection's window")
        self._unacknowledged += size
        if self._unacknowledged > CONNECTION_WINDOW // 2:
            self._queue(window_update(0, self._unacknowledged))
            self._receive_window += self._unacknowledged
            self._unacknowledged = 0
        stream = self.streams.get(stream_id)
        if stream is None:
            if stream_id > self._last_stream_id or not stream_id & 1:
                raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, f"data on stream {stream_id}, which is not open")
            return  # we have ended it, which the peer may not know yet
        if stream.remote_closed:
            self._break(stream, ErrorCode.STREAM_CLOSED)
            return
        stream.receive_window -= size
        if stream.receive_window < 0:
            self._break(stream, ErrorCode.FLOW_CONTROL_ERROR)
            return
        if flags & PADDED:
            payload = _unpadded(flags, payload)
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
            return
        stream.unacknowledged += size
        if stream.unacknowledged > STREAM_WINDOW // 2:
            self._queue(window_update(stream_id, stream.unacknowledged))
            stream.receive_window += stream.unacknowledged
            stream.unacknowledged = 0

    def _priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id or len(payload) != 5:
            raise ConnectionEnds(ErrorCode.FRAME_SIZE_ERROR, "a malformed priority")

    def _rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionEnds(ErrorCode.FRAME_SIZE_ERROR, f"a reset of {len(payload)} bytes")
        if stream_id > self._last_stream_id or not stream_id & 1:
            raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, f"a reset of stream {stream_id}, which is not open")
        stream = self.streams.get(stream_id)
        if stream is not None:
            if not self._resets.take():
                raise ConnectionEnds(ErrorCode.ENHANCE_YOUR_CALM, "too many streams are opened and reset")
            self._lose(stream)

    def _settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id or len(payload) % 6 or (flags & ACK and payload):
            raise ConnectionEnds(ErrorCode.FRAME_SIZE_ERROR, "malformed settings")
        self._only = None
        if flags & ACK:
            return
        for place in range(0, len(payload), 6):
            name, value = int.from_bytes(payload[place : place + 2]), int.from_bytes(payload[place + 2 : place + 6])
            if name == SETTINGS_INITIAL_WINDOW_SIZE:
                self._change_windows(value)
            elif name == SETTINGS_ENABLE_PUSH and value > 1:
                raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, f"ENABLE_PUSH {value}")
            elif name == SETTINGS_MAX_FRAME_SIZE and not MAX_FRAME_BYTES <= value < 1 << 24:
                raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, f"MAX_FRAME_SIZE {value}")
        self._queue(frame(SETTINGS, ACK, 0))

    def _change_windows(self, value: int) -> None:
        if value > MAX_WINDOW:
            raise ConnectionEnds(ErrorCode.FLOW_CONTROL_ERROR, f"INITIAL_WINDOW_SIZE {value}")
        change, self._initial_send_window = value - self._initial_send_window, value
        for stream in list(self.streams.values()):
            stream.send_window += change
            if stream.send_window > MAX_WINDOW:
                raise ConnectionEnds(ErrorCode.FLOW_CONTROL_ERROR, "a window of more than 2^31-1 bytes")
            if stream.held and self._pump(stream):
                self._all_sent(stream)

    def _push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, "a client does not push")

    def _ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id or len(payload) != 8:
            raise ConnectionEnds(ErrorCode.FRAME_SIZE_ERROR, "a malformed ping")
        if flags & ACK:
            return
        self._queue(frame(PING, ACK, 0, payload))
        if not self._pings.allow(idle=not self.streams):
            raise ConnectionEnds(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")

    def _goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id or len(payload) < 8:
            raise ConnectionEnds(ErrorCode.FRAME_SIZE_ERROR, "a malformed goaway")

    def _window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionEnds(ErrorCode.FRAME_SIZE_ERROR, f"a window update of {len(payload)} bytes")
        increment = int.from_bytes(payload) & MAX_WINDOW
        if not stream_id:
            self._send_window += increment
            if not increment or self._send_window > MAX_WINDOW:
                raise ConnectionEnds(ErrorCode.FLOW_CONTROL_ERROR, f"a window update by {increment}")
            self._pump_waiting()
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            if stream_id > self._last_stream_id or not stream_id & 1:
                raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, f"a window update of stream {stream_id}, not open")
            return
        stream.send_window += increment
        if not increment or stream.send_window > MAX_WINDOW:
            self._break(stream, ErrorCode.FLOW_CONTROL_ERROR if increment else ErrorCode.PROTOCOL_ERROR)
        elif stream.held and self._pump(stream):
            self._all_sent(stream)


def _is_over(stream: Stream) -> bool:
    """Whether what the receiver has just heard made it end the stream."""
    return stream.local_closed


def _unpadded(flags: int, payload: bytes) -> bytes:
    """A payload without its padding."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, "more padding than the frame has bytes")
    return payload[1 : len(payload) - payload[0]]
