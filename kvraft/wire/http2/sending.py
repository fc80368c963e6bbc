"""What a connection sends: frames at once while the peer's windows have room, held back in order while not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.wire.http2.flood import PingPolicy
from kvraft.wire.http2.frames import (
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEADER,
    HEADERS,
    MAX_FRAME_BYTES,
    ErrorCode,
    frame,
    rst_stream,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvraft.wire.http2.stream import Stream

NOTHING = b""


class Sender:
    """The open streams and what may be sent on them. ``queue`` takes whole frames."""

    def __init__(self, queue: Callable[[bytes], None], clock: Callable[[], float]) -> None:
        self.streams: dict[int, Stream] = {}
        self.held_bytes = 0
        """What flow control holds back, of all streams."""
        self._queue = queue
        self._send_window = DEFAULT_WINDOW
        self._initial_send_window = DEFAULT_WINDOW
        self._waiting: dict[int, Stream] = {}  # those that hold data and whose own window has room, next first
        self._pings = PingPolicy(clock)

    # ------------------------------------------------------------------ what the owner sends

    def send(self, stream: Stream, block: bytes, data: bytes = NOTHING, trailers: bytes = NOTHING) -> None:
        """Headers, then perhaps data, then perhaps trailers, which end the stream. Does nothing once it has ended."""
        if stream.local_closed:
            return
        self._pings.answered()
        stream_id = stream.stream_id
        out = HEADER.pack(len(block) << 8 | HEADERS, END_HEADERS, stream_id) + block
        size = len(data)
        if size <= MAX_FRAME_BYTES and size <= stream.send_window and size <= self._send_window and trailers:
            stream.send_window -= size
            self._send_window -= size
            out += HEADER.pack(size << 8 | DATA, 0, stream_id) + data
            self._queue(out + HEADER.pack(len(trailers) << 8 | HEADERS, END_HEADERS | END_STREAM, stream_id) + trailers)
            stream.local_closed = True
            self._ended(stream)
            return
        self._queue(out)
        if data:
            self.send_data(stream, data)
        if trailers:
            self.send_trailers(stream, trailers)

    def send_data(self, stream: Stream, data: bytes) -> None:
        """More data, as flow control lets it."""
        if stream.local_closed:
            return
        self._pings.answered()
        stream.held.append((data, False))
        stream.held_bytes += len(data)
        self.held_bytes += len(data)
        if len(stream.held) == 1:
            self._pump(stream)  # the caller needs no word that what it sends has gone

    def send_trailers(self, stream: Stream, block: bytes) -> None:
        """The end of the stream, after everything that is held back. ``block`` b"": data has ended it."""
        if stream.local_closed:
            return
        self._pings.answered()
        stream.local_closed = True
        stream.held.append((block, True))
        if len(stream.held) == 1 and self._pump(stream):
            self._ended(stream)

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """End the stream at once; what is held back is dropped, and its receiver hears nothing more."""
        if stream.stream_id in self.streams:
            self._queue(rst_stream(stream.stream_id, code))
            self._forget(stream)

    # ------------------------------------------------------------------ frames out, as windows let them

    def _pump(self, stream: Stream) -> bool:
        """Send what ``stream`` holds, as far as its window and the connection's go; True when that was all."""
        while stream.held:
            if not self._send_one(stream):
                return False
        self._waiting.pop(stream.stream_id, None)
        return True

    def _pump_waiting(self) -> None:
        """The connection's window has room: every waiting stream sends a frame in turn."""
        waiting = self._waiting
        while waiting and self._send_window > 0:
            stream_id = next(iter(waiting))
            stream = waiting.pop(stream_id)
            if not self._send_one(stream):
                continue
            if stream.held:
                waiting[stream_id] = stream
            else:
                self._all_sent(stream)

    def _send_one(self, stream: Stream) -> bool:
        """One frame of what ``stream`` holds; False when a window is shut, or when it waits for its turn."""
        data, is_trailers = stream.held[0]
        if is_trailers:
            stream.held.popleft()
            if data:
                self._queue(frame(HEADERS, END_HEADERS | END_STREAM, stream.stream_id, bytes(data)))
            else:
                self._queue(frame(DATA, END_STREAM, stream.stream_id))
            return True
        room = min(stream.send_window, self._send_window, MAX_FRAME_BYTES)
        if room <= 0:
            if stream.send_window > 0:
                self._waiting[stream.stream_id] = stream
            return False
        size = min(room, len(data))
        self._queue(HEADER.pack(size << 8 | DATA, 0, stream.stream_id) + data[:size])
        stream.send_window -= size
        self._send_window -= size
        stream.held_bytes -= size
        self.held_bytes -= size
        if size == len(data):
            stream.held.popleft()
        else:
            stream.held[0] = (memoryview(data)[size:], False)
        return True

    def _all_sent(self, stream: Stream) -> None:
        """Windows have let go what was held back."""
        if stream.local_closed:
            self._ended(stream)
        else:
            stream.receiver.drained()

    def _ended(self, stream: Stream) -> None:
        """Our side is closed, so the stream is over: what the peer might still send is of no use any more."""
        if not stream.remote_closed:
            self._queue(rst_stream(stream.stream_id, ErrorCode.NO_ERROR))
        self._forget(stream)

    # ------------------------------------------------------------------ ends

    def _break(self, stream: Stream, code: ErrorCode) -> None:
        """The peer broke a rule on this stream."""
        self._queue(rst_stream(stream.stream_id, code))
        self._lose(stream)

    def _lose(self, stream: Stream) -> None:
        over = stream.local_closed
        self._forget(stream)
        if not over:
            stream.receiver.lost()

    def _forget(self, stream: Stream) -> None:
        del self.streams[stream.stream_id]
        self._waiting.pop(stream.stream_id, None)
        self.held_bytes -= stream.held_bytes
        stream.held.clear()
        stream.held_bytes = 0
        stream.local_closed = True
