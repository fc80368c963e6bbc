"""What both sides of a connection have in common: cutting bytes into frames, header blocks, windows, settings.

``receive`` takes bytes and calls the side's own methods for what only it knows. After ``ConnectionEnds`` the
connection says no more: its GOAWAY is queued.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

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
    ErrorCode,
    frame,
    goaway,
    settings,
    window_update,
)
from kvraft.wire.http2.headers import MAX_BLOCK_BYTES, HeaderDecoder, HeaderError
from kvraft.wire.http2.sending import Sender

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvraft.wire.http2.headers import Header
    from kvraft.wire.http2.stream import Stream

STREAM_WINDOW = 1 << 20
CONNECTION_WINDOW = 16 << 20
MAX_CONTINUATIONS = 64

Head = TypeVar("Head")


class ConnectionEnds(Exception):
    """The peer broke the rules; ``code`` went out with the GOAWAY, the text says what it did."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class Connection(Sender, Generic[Head]):
    """One side. ``clock`` gives seconds; ``interpret`` is what ``HeaderDecoder`` asks; ``said`` are our settings."""

    def __init__(
        self,
        queue: Callable[[bytes], None],
        interpret: Callable[[Sequence[Header]], Head],
        clock: Callable[[], float],
        said: dict[int, int],
    ) -> None:
        super().__init__(queue, clock)
        self._headers = HeaderDecoder(interpret)
        self._rest = b""
        self._only: int | None = SETTINGS
        """The kind of frame that alone may come next."""
        self._block = bytearray()
        self._block_of = 0
        self._block_ends_stream = False
        self._continuations = 0
        self._last_stream_id = 0
        """The newest stream that the client has opened."""
        self._receive_window = CONNECTION_WINDOW
        self._unacknowledged = 0
        self._handlers = (
            self._data, self._headers_frame, self._priority, self._rst_stream, self._settings,
            self._push_promise, self._ping, self._goaway, self._window_update, self._continuation,
        )  # fmt: skip
        queue(
            settings({**said, SETTINGS_INITIAL_WINDOW_SIZE: STREAM_WINDOW})
            + window_update(0, CONNECTION_WINDOW - DEFAULT_WINDOW)
        )

    # ------------------------------------------------------------------ what each side does its own way

    @abstractmethod
    def _complete_block(self, stream_id: int, block: bytes, *, ends: bool) -> None:
        """A whole block of headers has come."""

    @abstractmethod
    def _data(self, flags: int, stream_id: int, payload: bytes) -> None: ...

    @abstractmethod
    def _rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None: ...

    @abstractmethod
    def _push_promise(self, flags: int, stream_id: int, payload: bytes) -> None: ...

    @abstractmethod
    def _goaway(self, flags: int, stream_id: int, payload: bytes) -> None: ...

    @abstractmethod
    def _pinged(self) -> None:
        """A ping has been answered. Raises ``ConnectionEnds`` when it was one too many."""

    def _streams_allowed(self, count: int) -> None:
        """The peer takes so many streams at once."""

    def lost(self) -> None:
        """The connection is gone: every receiver hears of it."""
        for stream in list(self.streams.values()):
            self._lose(stream)

    def _is_idle(self, stream_id: int) -> bool:
        """Whether this is no stream that ever was."""
        return stream_id > self._last_stream_id or not stream_id & 1

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
            payload = unpadded(flags, payload)
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

    def _count_received(self, size: int) -> None:
        """So much data has come, on whatever stream; the peer may send more."""
        self._receive_window -= size
        if self._receive_window < 0:
            raise ConnectionEnds(ErrorCode.FLOW_CONTROL_ERROR, "more data than the connection's window")
        self._unacknowledged += size
        if self._unacknowledged > CONNECTION_WINDOW // 2:
            self._queue(window_update(0, self._unacknowledged))
            self._receive_window += self._unacknowledged
            self._unacknowledged = 0

    def _stream_of_data(self, stream_id: int, size: int) -> Stream | None:
        """The open stream that ``size`` bytes of data have come for; None when there is nobody to take them."""
        self._count_received(size)
        stream = self.streams.get(stream_id)
        if stream is None:
            if self._is_idle(stream_id):
                raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, f"data on stream {stream_id}, which is not open")
            return None  # we have ended it, which the peer may not know yet
        if stream.remote_closed:
            self._break(stream, ErrorCode.STREAM_CLOSED)
            return None
        stream.receive_window -= size
        if stream.receive_window < 0:
            self._break(stream, ErrorCode.FLOW_CONTROL_ERROR)
            return None
        return stream

    def _more_data(self, stream: Stream, size: int) -> None:
        """So much of a stream's data has been taken: the peer may send more."""
        stream.unacknowledged += size
        if stream.unacknowledged > STREAM_WINDOW // 2:
            self._queue(window_update(stream.stream_id, stream.unacknowledged))
            stream.receive_window += stream.unacknowledged
            stream.unacknowledged = 0

    def _priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id or len(payload) != 5:
            raise ConnectionEnds(ErrorCode.FRAME_SIZE_ERROR, "a malformed priority")

    def _stream_of_reset(self, stream_id: int, payload: bytes) -> Stream | None:
        """The open stream that the peer has reset, if there still is one."""
        if len(payload) != 4:
            raise ConnectionEnds(ErrorCode.FRAME_SIZE_ERROR, f"a reset of {len(payload)} bytes")
        if self._is_idle(stream_id):
            raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, f"a reset of stream {stream_id}, which is not open")
        return self.streams.get(stream_id)

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
            elif name == SETTINGS_MAX_CONCURRENT_STREAMS:
                self._streams_allowed(value)
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

    def _ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id or len(payload) != 8:
            raise ConnectionEnds(ErrorCode.FRAME_SIZE_ERROR, "a malformed ping")
        if flags & ACK:
            return
        self._queue(frame(PING, ACK, 0, payload))
        self._pinged()

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
            if self._is_idle(stream_id):
                raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, f"a window update of stream {stream_id}, not open")
            return
        stream.send_window += increment
        if not increment or stream.send_window > MAX_WINDOW:
            self._break(stream, ErrorCode.FLOW_CONTROL_ERROR if increment else ErrorCode.PROTOCOL_ERROR)
        elif stream.held and self._pump(stream):
            self._all_sent(stream)


def unpadded(flags: int, payload: bytes) -> bytes:
    """A payload without its padding."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, "more padding than the frame has bytes")
    return payload[1 : len(payload) - payload[0]]
