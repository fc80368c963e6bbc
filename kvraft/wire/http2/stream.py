"""One stream: what it may still send, what it may still receive, and what waits to be sent."""

from __future__ import annotations

from collections import deque
from typing import Protocol


class Receiver(Protocol):
    """The owner of a stream. None of these may raise; each may send on the stream, also its end."""

    def data(self, data: bytes) -> None:
        """The peer sent ``data``."""
        ...

    def half_closed(self) -> None:
        """The peer has sent everything."""
        ...

    def lost(self) -> None:
        """The stream is over before we ended it: the peer reset it, or the connection is gone. Nothing follows."""
        ...

    def drained(self) -> None:
        """Everything that flow control held back has been sent."""
        ...


class Stream:
    """See the module. Only ``ServerConnection`` changes one."""

    __slots__ = ("held", "held_bytes", "local_closed", "receive_window", "receiver", "remote_closed", "send_window",
                 "stream_id", "unacknowledged")  # fmt: skip

    def __init__(self, stream_id: int, send_window: int, receive_window: int) -> None:
        self.stream_id = stream_id
        self.send_window = send_window
        self.receive_window = receive_window
        """What the peer may still send; negative is a breach."""
        self.unacknowledged = 0
        """Bytes received since the last WINDOW_UPDATE."""
        self.receiver: Receiver
        self.remote_closed = False
        self.local_closed = False
        """Its end has been given to us, though flow control may hold it back still."""
        self.held: deque[tuple[bytes | memoryview, bool]] = deque()
        """Data that no window has room for, in order, and behind it the trailers (True)."""
        self.held_bytes = 0
