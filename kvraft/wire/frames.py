"""Length-prefixed frames: 4 bytes, big-endian, the length of what follows; then that many bytes."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Generic, TypeVar

from kvraft.errors import ProtocolError

HEADER_BYTES = 4
TAG_BYTES = 4
_head_of = struct.Struct(f">I{TAG_BYTES}s").unpack_from

T = TypeVar("T")


def frame(payload: bytes) -> bytes:
    """The bytes on the wire of one frame."""
    return len(payload).to_bytes(HEADER_BYTES) + payload


class StreamDecoder(ABC, Generic[T]):
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

    def feed(self, data: bytes) -> T:
        """The frames that ``data`` completes, in order. Raises ``ProtocolError`` on a length out of bounds."""
        if self._rest:
            self._rest += data
            if len(data) < self._missing:
                self._missing -= len(data)
                return self._cut(b"")[0]
            data = bytes(self._rest)
        self._missing = 0
        frames, position = self._cut(data)
        self._rest = bytearray(data[position:])
        return frames

    @abstractmethod
    def _cut(self, data: bytes) -> tuple[T, int]:
        """The whole frames at the front of ``data``, and where they end."""

    def _check(self, length: int) -> None:
        if not self._min <= length <= self._max:
            raise ProtocolError(f"frame of {length} bytes; {self._min} to {self._max} are allowed")


class FrameDecoder(StreamDecoder[list[bytes]]):
    """Frames as they are."""

    __slots__ = ()

    def _cut(self, data: bytes) -> tuple[list[bytes], int]:
        frames: list[bytes] = []
        position, size = 0, len(data)
        while size - position >= HEADER_BYTES:
            start = position + HEADER_BYTES
            length = int.from_bytes(data[position:start])
            self._check(length)
            end = start + length
            if end > size:
                self._missing = end - size
                break
            frames.append(data[start:end])
            position = end
        return frames, position


class TaggedDecoder(StreamDecoder[tuple[list[bytes], list[bytes]]]):
    """The first ``TAG_BYTES`` bytes of each frame, and the rest of each: one cut where two would cost a third more.

    ``min_frame_bytes`` is at least ``TAG_BYTES``.
    """

    __slots__ = ()

    def is_one(self, data: bytes) -> bool:
        """Whether this is one whole frame and nothing else, so that it need not be fed."""
        length = len(data) - HEADER_BYTES
        return not self._rest and self._min <= length <= self._max and int.from_bytes(data[:HEADER_BYTES]) == length

    def _cut(self, data: bytes) -> tuple[tuple[list[bytes], list[bytes]], int]:
        tags: list[bytes] = []
        rests: list[bytes] = []
        least, most = self._min, self._max
        position, size = 0, len(data)
        last = size - HEADER_BYTES - TAG_BYTES
        before = 0
        while position <= last:
            length, tag = _head_of(data, position)
            if not least <= length <= most:
                self._check(length)
            end = position + HEADER_BYTES + length
            if end > size:
                self._missing = end - size
                break
            if length == before:
                position = _cut_alike(data, position, length, tags, rests)
                before = 0
                continue
            tags.append(tag)
            rests.append(data[position + HEADER_BYTES + TAG_BYTES : end])
            position, before = end, length
        if HEADER_BYTES <= size - position < HEADER_BYTES + TAG_BYTES:
            self._check(int.from_bytes(data[position : position + HEADER_BYTES]))  # who sends no more is told as well
        return (tags, rests), position


def _cut_alike(data: bytes, position: int, length: int, tags: list[bytes], rests: list[bytes]) -> int:
    """Cut the frames from ``position`` on that have this ``length``, as answers to puts have; returns where they end.

    There is at least one. With a step of Python's for each frame instead of ten that takes half as long.
    """
    size = HEADER_BYTES + length
    alike = memoryview(data)[position : len(data) - (len(data) - position) % size]
    for found, tag, rest in _whole(length).iter_unpack(alike):
        if found != length:
            break
        tags.append(tag)
        rests.append(rest)
        position += size
    return position


@lru_cache(maxsize=256)
def _whole(length: int) -> struct.Struct:
    """A frame of this length."""
    return struct.Struct(f">I{TAG_BYTES}s{length - TAG_BYTES}s")
