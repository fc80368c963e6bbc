"""Length-prefixed frames: 4 bytes, big-endian, the length of what follows; then that many bytes."""

from __future__ import annotations

from kvraft.errors import ProtocolError

HEADER_BYTES = 4


def frame(payload: bytes) -> bytes:
    """The bytes on the wire of one frame."""
    return len(payload).to_bytes(HEADER_BYTES) + payload


class FrameDecoder:
    """Cuts a byte stream into frames. After a ``ProtocolError`` the stream is beyond repair: close it.

    ``max_frame_bytes`` bounds the memory that one peer can claim; ``min_frame_bytes`` is what every frame of the
    protocol holds at least.
    """

    __slots__ = ("_max", "_min", "_missing", "_rest")

    def __init__(self, max_frame_bytes: int, min_frame_bytes: int = 1) -> None:
        self._max = max_frame_bytes
        self._min = min_frame_bytes
        self._rest = bytearray()
        self._missing = 0  # bytes that the frame under way still lacks: no point in looking before

    @property
    def buffered_bytes(self) -> int:
        """What has been received of a frame that is not complete."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that ``data`` completes, in order. Raises ``ProtocolError`` on a length out of bounds."""
        if self._rest:
            self._rest += data
            if len(data) < self._missing:
                self._missing -= len(data)
                return []
            data = bytes(self._rest)
        frames: list[bytes] = []
        position, size = 0, len(data)
        self._missing = 0
        while size - position >= HEADER_BYTES:
            start = position + HEADER_BYTES
            length = int.from_bytes(data[position:start])
            if not self._min <= length <= self._max:
                raise ProtocolError(f"frame of {length} bytes; {self._min} to {self._max} are allowed")
            end = start + length
            if end > size:
                self._missing = end - size
                break
            frames.append(data[start:end])
            position = end
        self._rest = bytearray(data[position:])
        return frames
