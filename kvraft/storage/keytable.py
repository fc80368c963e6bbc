"""An ordered map from keys of any length to small records, over LMDB tables whose keys end at 511 bytes.

A key of at most ``threshold`` bytes is its own LMDB key in the top table. The longer keys that share their first
``threshold`` bytes ``p`` live in one bucket, which stands at ``p + b"\\0"``: behind ``p`` itself and, since no other
key in the top table is both longer than ``p`` and starts with it, exactly where those keys belong. The bucket's
record is an 8-byte id, and its keys are in the long table under ``id + rest``, where a rest that is too long again
makes a bucket in the same way. So order is kept, and a key costs one step for each ``threshold`` bytes.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import lmdb

MAX_LMDB_KEY = 511
ID_BYTES = 8
THRESHOLD = 500
"""``ID_BYTES + THRESHOLD + 1`` must fit ``MAX_LMDB_KEY``."""
FIRST_COUNTED = 16
"""So many keys are read first to count them, and then four times as many each time: the range may end soon."""


class KeyTable:
    """One ordered map, valid as long as the transaction ``txn`` is. Keys are never empty.

    ``top`` is this map's own table; ``long`` may be shared, because ``allocate`` never gives an id twice.
    A walk may not be continued once the map has changed.
    """

    __slots__ = ("_allocate", "_long", "_long_db", "_threshold", "_top", "_top_db", "_txn")

    def __init__(
        self,
        txn: lmdb.Transaction[bytes],
        top: lmdb._Database,
        long: lmdb._Database,
        threshold: int,
        allocate: Callable[[], int],
    ) -> None:
        self._txn = txn
        self._top_db = top
        self._long_db = long
        self._top = txn.cursor(top)
        self._long = txn.cursor(long)
        self._threshold = threshold
        self._allocate = allocate

    def get(self, key: bytes) -> bytes | None:
        """The record of ``key``."""
        if len(key) <= self._threshold:
            return self._top.get(key)
        bucket, path = self._descend(key)
        return None if bucket is None else self._long.get(bucket + key[len(path) * self._threshold :])

    def put_short(self, records: Mapping[bytes, bytes]) -> None:
        """Set many records; no key may be longer than the threshold."""
        self._top.putmulti(records.items())

    def put(self, key: bytes, record: bytes) -> None:
        """Set the record of ``key``."""
        threshold = self._threshold
        if len(key) <= threshold:
            self._top.put(key, record)
            return
        cursor, bucket, offset = self._top, b"", 0
        while len(key) - offset > threshold:
            place = bucket + key[offset : offset + threshold] + b"\0"
            known = cursor.get(place)
            if known is None:
                known = self._allocate().to_bytes(ID_BYTES)
                cursor.put(place, known)
            cursor, bucket, offset = self._long, known, offset + threshold
        cursor.put(bucket + key[offset:], record)

    def pop(self, key: bytes) -> bytes | None:
        """Remove ``key``; returns its record, None when it was not there."""
        if len(key) <= self._threshold:
            return self._top.pop(key)
        bucket, path = self._descend(key)
        if bucket is None:
            return None
        record = self._long.pop(bucket + key[len(path) * self._threshold :])
        while path and not (self._long.set_range(bucket) and self._long.key().startswith(bucket)):
            place = path.pop()
            (self._long if path else self._top).pop(place)
            bucket = place[:ID_BYTES]
        return record

    def _descend(self, key: bytes) -> tuple[bytes | None, list[bytes]]:
        """The innermost bucket of the long ``key``, None when there is none, and where each on the way stands."""
        threshold = self._threshold
        cursor, offset = self._top, 0
        bucket: bytes | None = b""
        path: list[bytes] = []
        while bucket is not None and len(key) - offset > threshold:
            path.append(bucket + key[offset : offset + threshold] + b"\0")
            bucket = cursor.get(path[-1])
            cursor, offset = self._long, offset + threshold
        return bucket, path

    def walk(self, key: bytes, end: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """Keys and records of ``[key, end)`` in order; ``end`` None: to the last key."""
        threshold = self._threshold
        with self._txn.cursor(self._top_db) as cursor:
            if not cursor.set_range(self._start(key)):
                return
            for raw, record in cursor.iternext(keys=True, values=True):
                if end is not None and raw >= end:
                    return
                if len(raw) <= threshold:
                    yield raw, record
                else:
                    yield from self._walk_bucket(record, raw[:threshold], key, end)

    def counts(self, key: bytes, end: bytes | None, batch: int) -> Iterator[int]:
        """How many keys ``[key, end)`` holds, as numbers of about ``batch`` that add up to it."""
        size = min(FIRST_COUNTED, batch)
        with self._txn.cursor(self._top_db) as cursor:
            if not cursor.set_range(self._start(key)):
                return
            raws = cursor.iternext(keys=True, values=False)
            while read := list(islice(raws, size)):  # a loop over each of them would take a third longer
                is_last = False
                if end is not None and read[-1] >= end:
                    is_last = True
                    del read[bisect_left(read, end) :]
                if max(map(len, read), default=0) <= self._threshold:
                    yield len(read)
                else:
                    yield from self._counts_with_buckets(read, key, end, batch)
                if is_last:
                    return
                size = min(4 * size, batch)

    def _counts_with_buckets(self, raws: list[bytes], key: bytes, end: bytes | None, batch: int) -> Iterator[int]:
        threshold, found = self._threshold, 0
        for raw in raws:
            if len(raw) <= threshold:
                found += 1
                continue
            bucket = self._txn.get(raw, db=self._top_db)
            assert bucket is not None
            for _ in self._walk_bucket(bucket, raw[:threshold], key, end):
                found += 1
                if found >= batch:
                    yield found
                    found = 0
        yield found

    def _start(self, low: bytes) -> bytes:
        """Where the keys from ``low`` on start within one table or bucket."""
        return low if len(low) <= self._threshold else low[: self._threshold] + b"\0"

    def _walk_bucket(self, bucket: bytes, head: bytes, key: bytes, end: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """The part of ``[key, end)`` in ``bucket``, whose keys start with ``head``: a stack, because keys can be deep.

        A bucket whose own prefix is ``key``'s starts in the middle, any other one lies behind ``key`` as a whole.
        """
        threshold = self._threshold
        heads = [head]
        aligned = key.startswith(head)
        stack = [(self._scan(bucket, key[threshold : 2 * threshold + 1] if aligned else b""), aligned)]
        while stack:
            entries, aligned = stack[-1]
            for raw, record in entries:
                rest = raw[ID_BYTES:]
                if len(rest) > threshold:
                    offset = len(stack) * threshold
                    inside = aligned and key[offset : offset + threshold] == rest[:threshold]
                    low = key[offset + threshold : offset + 2 * threshold + 1] if inside else b""
                    heads.append(rest[:threshold])
                    stack.append((self._scan(record, low), inside))
                    break
                full = b"".join(heads) + rest
                if end is not None and full >= end:
                    return
                yield full, record
            else:
                stack.pop()
                heads.pop()

    def _scan(self, bucket: bytes, low: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The entries of ``bucket`` from ``low`` on."""
        with self._txn.cursor(self._long_db) as cursor:
            if not cursor.set_range(bucket + self._start(low)):
                return
            for raw, record in cursor.iternext(keys=True, values=True):
                if not raw.startswith(bucket):
                    return
                yield raw, record
