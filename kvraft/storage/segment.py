"""One file of the log: a header, then records, each with its own checksum, up to the first zeros.

The header names the format, and a random number that the checksums start from, so that no client can write a value
that would be taken for a record. A record is what one synced write has added: it says from which index on its entries
count, replacing what stood there, and carries the log's :class:`~kvraft.storage.log.LogMeta` where that has changed;
the first record of a file always does. Its number is one more than that of the record before it. All numbers are
little-endian.

========  =====================================================================
bytes     record
========  =====================================================================
4         size of what follows the checksum
4         CRC-32 of it
8         number of the record
8         index of its first entry; without entries of the one that comes next
4         how many entries
4         size of the meta data
4 each    size of each entry
...       meta data, then the entries
========  =====================================================================
"""

from __future__ import annotations

import os
import struct
from array import array
from itertools import accumulate
from typing import TYPE_CHECKING
from zlib import crc32

import attrs

from kvraft.storage.errors import FormatTooNew, StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT = 2
"""1 was an LMDB file."""
SEGMENT_BYTES = 8 << 20
"""A file takes no further record past this; the space is reserved when it is made, so that a write of it need not
change the file system's own records."""
SUFFIX = ".log"

_MAGIC = b"kvraft log\0\0"
_HEADER = struct.Struct("<12sII")
_GUARD = struct.Struct("<II")
_HEAD = struct.Struct("<QQII")
FIRST_RECORD = _HEADER.size


@attrs.frozen
class Record:
    """A record in a file: where its entries are, not what they are."""

    number: int
    first: int
    offsets: list[int]
    sizes: tuple[int, ...]
    meta: bytes
    end: int


def encode_record(
    number: int, first: int, entries: Sequence[bytes], meta: bytes, offset: int, seed: int
) -> tuple[bytes, Record]:
    """The record's bytes, and what it is once they are at ``offset`` in the file with this ``seed``."""
    sizes = tuple(map(len, entries))
    head = _HEAD.pack(number, first, len(entries), len(meta))
    body = b"".join((head, struct.pack(f"<{len(entries)}I", *sizes), meta, *entries))
    place = offset + _GUARD.size + _HEAD.size + 4 * len(entries) + len(meta)
    data = _GUARD.pack(len(body), crc32(body, seed)) + body
    return data, Record(number, first, _offsets(place, sizes), sizes, meta, offset + len(data))


def header(seed: int) -> bytes:
    """How a file begins."""
    return _HEADER.pack(_MAGIC, FORMAT, seed)


def check_header(path: str, data: bytes) -> int:
    """The seed of the file that begins with ``data``. Raises unless this version can read it."""
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        raise StorageError(f"{path}: this is no file of a log")
    _, found, seed = _HEADER.unpack_from(data)
    if found > FORMAT:
        raise FormatTooNew(f"{path}: format {found} was written by a later version; this one reads up to {FORMAT}")
    return int(seed)


def read_record(data: bytes, offset: int, seed: int) -> Record | None:
    """The record at ``offset``; None where there is none, or not all of it."""
    start = offset + _GUARD.size
    if len(data) < start + _HEAD.size:
        return None
    size, checksum = _GUARD.unpack_from(data, offset)
    end = start + size
    if size < _HEAD.size or end > len(data) or crc32(memoryview(data)[start:end], seed) != checksum:
        return None
    number, first, count, meta_size = _HEAD.unpack_from(data, start)
    place = start + _HEAD.size + 4 * count
    sizes = struct.unpack_from(f"<{count}I", data, start + _HEAD.size)
    meta = data[place : place + meta_size]
    return Record(number, first, _offsets(place + meta_size, sizes), sizes, meta, end)


def _offsets(place: int, sizes: Sequence[int]) -> list[int]:
    """Where each of the entries is that follow each other from ``place`` on."""
    return list(accumulate(sizes, initial=place))[:-1]


def first_index(path: str) -> int:
    """From which index on the file counts; only its beginning is read. Raises :class:`StorageError`."""
    with open(path, "rb") as file:
        data = file.read(FIRST_RECORD + _GUARD.size + _HEAD.size)
    check_header(path, data)
    if len(data) < FIRST_RECORD + _GUARD.size + _HEAD.size:
        raise StorageError(f"{path}: its first record is damaged")
    return int(_HEAD.unpack_from(data, FIRST_RECORD + _GUARD.size)[1])


class Segment:
    """One file, and where in it each of its entries is. ``end`` is where the next record goes.

    ``first`` is the index from which on it counts; whatever a later file begins with takes the place of its rest.
    """

    __slots__ = ("_indexed", "end", "first", "meta", "number", "offsets", "path", "record_number", "seed", "sizes")

    def __init__(self, path: str, number: int, first: int, seed: int = 0) -> None:
        self.path = path
        self.number = number
        self.first = first
        self.seed = seed
        self.end = 0
        self.record_number = 0
        """Of the last record."""
        self.meta = b""
        """As of the last record."""
        self.offsets = array("Q")
        self.sizes = array("I")
        self._indexed = False

    @property
    def last(self) -> int:
        """The last entry; ``first - 1`` when there is none."""
        return self.first + len(self.offsets) - 1

    def add(self, record: Record) -> None:
        """``record`` is what comes next in the file."""
        del self.offsets[record.first - self.first :]
        del self.sizes[record.first - self.first :]
        self.offsets.extend(record.offsets)
        self.sizes.extend(record.sizes)
        self.meta = record.meta or self.meta
        self.record_number = record.number
        self.end = record.end
        self._indexed = True

    def places(self, low: int, high: int, max_bytes: int) -> list[tuple[int, int]]:
        """Offset and size of the entries of ``[low, high)`` in this file: one, then as many as fit."""
        found: list[tuple[int, int]] = []
        for at in range(low - self.first, min(high - self.first, len(self.offsets))):
            max_bytes -= self.sizes[at]
            if found and max_bytes < 0:
                break
            found.append((self.offsets[at], self.sizes[at]))
        return found

    def cut(self, index: int) -> None:
        """Entries from ``index`` on are in a later file."""
        del self.offsets[max(index - self.first, 0) :]
        del self.sizes[max(index - self.first, 0) :]

    def index(self) -> bool:
        """Read where everything is, unless that is known. Whether anything follows the last whole record.

        Raises :class:`StorageError` when a record is damaged that others follow, or the first one is. A last one that
        is not whole has never been reported durable: its write was cut off.
        """
        if self._indexed:
            return False
        with open(self.path, "rb") as file:
            data = file.read()
        self.seed = check_header(self.path, data)
        record = read_record(data, FIRST_RECORD, self.seed)
        if record is None or record.first != self.first or not record.meta:
            raise StorageError(f"{self.path}: its first record is damaged")
        self.add(record)
        while (record := read_record(data, self.end, self.seed)) is not None:
            if record.number != self.record_number + 1 or not self.first <= record.first <= self.last + 1:
                raise StorageError(f"{self.path}: record {record.number} follows record {self.record_number}")
            self.add(record)
        rest = data[self.end :].rstrip(b"\0")
        if rest and self._continues(data):
            raise StorageError(f"{self.path}: record {self.record_number + 1} is damaged")
        return bool(rest)

    def _continues(self, data: bytes) -> bool:
        """Whether the record after the one that is not whole is there: it was written only once that was durable."""
        wanted = (self.record_number + 2).to_bytes(8, "little")
        place = self.end
        while (place := data.find(wanted, place + 1)) >= 0:
            if read_record(data, place - _GUARD.size, self.seed) is not None:
                return True
        return False


def write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Write ``data`` at ``offset``, all of it. Raises ``OSError``."""
    written = os.pwrite(descriptor, data, offset)
    while written < len(data):
        written += os.pwrite(descriptor, memoryview(data)[written:], offset + written)


def reserve(descriptor: int, size: int) -> None:
    """Make the file at least ``size`` bytes long, with its blocks where the system can. Raises ``OSError``."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:  # macOS
        os.ftruncate(descriptor, size)
