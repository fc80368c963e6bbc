"""Lengths of HTTP/2 frames, looked at as soon as they are announced: sans-IO.

The library checks a frame's length once all of the frame is there, and would gather 16 MB until then.
"""

from __future__ import annotations

MAX_FRAME_BYTES = 2**14
"""What we have not allowed to be more (RFC 9113, SETTINGS_MAX_FRAME_SIZE)."""
_PREFACE_BYTES = 24
_HEAD_BYTES = 9


class FrameLengths:
    """Follows the bytes of one direction of a connection, from the preface on."""

    def __init__(self) -> None:
        self._head = b""
        self._skip = _PREFACE_BYTES
        """Bytes until the next frame begins."""

    def allows(self, data: bytes) -> bool:
        """Takes in what came; False once a frame is announced that is too long."""
        position = 0
        while True:
            step = min(self._skip, len(data) - position)
            self._skip -= step
            position += step
            if self._skip or position == len(data):
                return True
            missing = _HEAD_BYTES - len(self._head)
            self._head += data[position : position + missing]
            position = min(position + missing, len(data))
            if len(self._head) < _HEAD_BYTES:
                return True
            length = int.from_bytes(self._head[:3], "big")
            if length > MAX_FRAME_BYTES:
                return False
            self._head, self._skip = b"", length
