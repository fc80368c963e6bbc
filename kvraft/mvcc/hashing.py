"""Hashes by which members compare what they hold, in bounded steps over a read transaction.

``KvHash`` is over the changes that any member must still have: all above the compacted revision, and below it the
newest of each key unless that is a deletion. How far a member has come with removing the rest makes no difference,
nor do ids and links, which a compaction can make differ. The hashes of the changes are added up, so that what a later
change supersedes can be taken out again.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING

from kvraft.mvcc.records import POSITION, decode_trace
from kvraft.storage.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import lmdb

    from kvraft.storage.tables import Databases, Tables

_ID_BYTES = 2 + 8
_LINK_BYTES = 2
_BITS_64 = (1 << 64) - 1
_BITS_32 = (1 << 32) - 1


class KvHash:
    """Over the changes up to ``revision``; ``compacted`` is the revision below which nothing can be read."""

    def __init__(self, tables: Tables, compacted: int, revision: int) -> None:
        self._get = tables.rev.get
        self._cursor = tables.txn.cursor(tables.databases.rev)
        self._compacted = compacted
        self._end = POSITION.pack(revision + 1, 0)
        self._more = self._cursor.first()
        self._sum = 0

    def step(self, max_changes: int) -> bool:
        """Go on for so many changes; True when done."""
        cursor, end, compacted, total = self._cursor, self._end, self._compacted, self._sum
        for _ in range(max_changes):
            if not self._more:
                break
            position, raw = cursor.item()
            if position >= end:
                self._more = False
                break
            change = decode_trace(raw)
            if int.from_bytes(position[:8]) > compacted:
                total += _change(position, raw, change.previous)
            else:
                if change.version:
                    total += _change(position, raw, change.previous)
                if change.previous:
                    total -= self._superseded(change.previous)
            self._more = cursor.next()
        self._sum = total & _BITS_64
        return not self._more

    def _superseded(self, position: bytes) -> int:
        """What the change at ``position`` has added: nothing when it has been removed already, or is a deletion."""
        raw = self._get(position)
        if raw is None:
            return 0
        change = decode_trace(raw)
        return _change(position, raw, change.previous) if change.version else 0

    @property
    def value(self) -> int:
        """32 bits, as etcd's have; once done."""
        return (self._sum ^ self._sum >> 32) & _BITS_32


def _change(position: bytes, raw: bytes, previous: bytes) -> int:
    """The hash of one change: where it is and what it is, without id and link."""
    end = len(raw) - _ID_BYTES - _LINK_BYTES - len(previous)
    return int.from_bytes(hashlib.blake2b(position + raw[:end], digest_size=8).digest())


class StateHash:
    """Over everything in the state's data tables: of one member, to compare with itself."""

    def __init__(self, txn: lmdb.Transaction[bytes], databases: Databases) -> None:
        self._records = _records(txn, databases)
        self.value = 0

    def step(self, max_records: int) -> bool:
        """Go on for so many records; True when done. Then ``value`` has the hash, 32 bits."""
        value = self.value
        for _ in range(max_records):
            record = next(self._records, None)
            if record is None:
                self.value = value
                return True
            value = zlib.crc32(record[1], zlib.crc32(record[0], value))
        self.value = value
        return False


def _records(txn: lmdb.Transaction[bytes], databases: Databases) -> Iterator[tuple[bytes, bytes]]:
    for name in TABLES:
        yield name, b""
        with txn.cursor(databases.by_name[name]) as cursor:
            yield from cursor.iternext(keys=True, values=True)
