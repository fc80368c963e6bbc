"""The raft log on disk: one synced LMDB file with the entries, the hard state and what has been compacted.

``entries`` maps the 8-byte big-endian index to the encoded entry; ``meta`` holds the format version and one
:class:`LogMeta`. Reads are for the loop thread; writes belong to one :class:`~kvraft.storage.writer.LogWriter`.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Self

import lmdb
import msgspec

from kvraft.raft.messages import NO_NODE, Entry, HardState, SnapshotMeta
from kvraft.storage import failpoint
from kvraft.storage.errors import StorageError, storage_error
from kvraft.storage.files import FORMAT_KEY, check_format, lock_file, make_directory, open_environment
from kvraft.storage.writer import LogWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["LogBatch", "LogMeta", "LogStore", "LogWriter"]

FORMAT = 1
MAP_BYTES = 64 << 30
"""The default limit of the log file."""
DISCARD_PER_TRANSACTION = 10_000

_META_KEY = b"meta"
_index_key = struct.Struct(">Q").pack
_encode = msgspec.msgpack.Encoder().encode
_decode_entry = msgspec.msgpack.Decoder(Entry).decode


class LogMeta(msgspec.Struct, frozen=True, array_like=True):
    """What the log knows beside its entries; one record, rewritten with each change of it."""

    hard_state: HardState = HardState()
    compacted_index: int = 0
    compacted_term: int = 0
    cluster_id: int = 0
    member_id: int = 0


class _EntryTerm(msgspec.Struct, frozen=True, array_like=True):
    """The head of an encoded entry, so that a term can be read without its data."""

    index: int
    term: int


_decode_meta = msgspec.msgpack.Decoder(LogMeta).decode
_decode_term = msgspec.msgpack.Decoder(_EntryTerm).decode


class LogBatch(msgspec.Struct, frozen=True, gc=False):
    """One durable step, done in the order reset, entries, discard.

    ``entries`` are contiguous; a first index at or below the last replaces everything from it on. ``reset`` empties
    the log as a snapshot install does. ``discard_to`` (0: nothing) removes entries at or below it, a bounded number
    with each transaction. Batches become durable in the order of ``seq``.
    """

    seq: int
    hard_state: HardState | None = None
    entries: Sequence[Entry] = ()
    reset: SnapshotMeta | None = None
    discard_to: int = 0

    def empty(self) -> bool:
        return self.hard_state is None and not self.entries and self.reset is None and not self.discard_to


class LogStore:
    """An open log. ``hard_state``, ``compacted_*`` and ``last_index`` are those of the last commit."""

    def __init__(self, path: str, lock: int, environment: lmdb.Environment, map_bytes: int) -> None:
        self.path = path
        self._map_bytes = map_bytes
        self._lock = lock
        self._environment = environment
        self._entries_db = environment.open_db(b"entries")
        self._meta_db = environment.open_db(b"meta")
        self._discard_to = 0
        with environment.begin(write=True) as txn:
            stored = txn.get(FORMAT_KEY, db=self._meta_db)
            check_format(path, stored, FORMAT)
            if stored is None:
                txn.put(FORMAT_KEY, _encode(FORMAT), db=self._meta_db)
            raw = txn.get(_META_KEY, db=self._meta_db)
            self._meta = LogMeta() if raw is None else _decode_meta(raw)
            cursor = txn.cursor(self._entries_db)
            self.last_index = int.from_bytes(cursor.key()) if cursor.last() else self._meta.compacted_index

    @classmethod
    def open(cls, directory: str | os.PathLike[str], *, map_bytes: int = MAP_BYTES, sync: bool = True) -> Self:
        """Open or create the log in ``directory``. Raises :class:`StorageError`.

        ``map_bytes`` limits the file. ``sync=False`` gives up durability, for clusters that are thrown away.
        """
        path = os.path.join(make_directory(directory), "log.mdb")
        lock = lock_file(path + ".owner")
        try:
            environment = open_environment(path, map_bytes=map_bytes, sync=sync, metasync=True, max_dbs=2)
            try:
                return cls(path, lock, environment, map_bytes)
            except BaseException:
                environment.close()
                raise
        except (lmdb.Error, msgspec.MsgspecError) as error:
            os.close(lock)
            raise storage_error(path, error) from error
        except BaseException:
            os.close(lock)
            raise

    @property
    def hard_state(self) -> HardState:
        return self._meta.hard_state

    @property
    def compacted_index(self) -> int:
        """The entry before the first one; 0 when the log starts at 1."""
        return self._meta.compacted_index

    @property
    def compacted_term(self) -> int:
        return self._meta.compacted_term

    @property
    def cluster_id(self) -> int:
        """0 until :meth:`initialise`."""
        return self._meta.cluster_id

    @property
    def member_id(self) -> int:
        return self._meta.member_id

    @property
    def discarding(self) -> bool:
        """Whether a discard needs further transactions."""
        return self._discard_to > self._meta.compacted_index

    def size_bytes(self) -> int:
        """The file's high-water mark."""
        return (self._environment.info()["last_pgno"] + 1) * self._environment.stat()["psize"]

    def initialise(self, cluster_id: int, member_id: int) -> None:
        """Say whose log this is, before the writer starts; again with the same ids is fine, others raise."""
        known = (self._meta.cluster_id, self._meta.member_id)
        if known == (cluster_id, member_id):
            return
        if known != (0, 0):
            raise StorageError(
                f"{self.path}: belongs to member {known[1]:x} of cluster {known[0]:x}, "
                f"not to member {member_id:x} of cluster {cluster_id:x}"
            )
        self._commit_meta(msgspec.structs.replace(self._meta, cluster_id=cluster_id, member_id=member_id))

    def align(self, applied: SnapshotMeta) -> bool:
        """Before the writer starts: finish a snapshot install that a crash cut off between state and log.

        ``applied`` is the last entry that the state covers. A log that ends before it, or has another term there,
        is emptied and goes on from there (True). Raises when entries that the state lacks are gone.
        """
        if applied.index < self.compacted_index:
            raise StorageError(
                f"{self.path}: starts after entry {self.compacted_index}, but the state ends at {applied.index}"
            )
        if applied.index <= self.last_index and self.term(applied.index) == applied.term:
            return False
        hard_state = self.hard_state
        if hard_state.term < applied.term:  # the term that came with the snapshot was on its way to this disk, too
            hard_state = HardState(applied.term, NO_NODE, hard_state.commit)
        self.write([LogBatch(0, hard_state=hard_state, reset=applied)])
        return True

    def term(self, index: int) -> int:
        """The term of entry ``index`` or of the compacted one; raises ``KeyError`` where there is none."""
        with self._environment.begin() as txn:
            raw = txn.get(_index_key(index), db=self._entries_db)
            if raw is not None:
                return _decode_term(raw).term
            meta = txn.get(_META_KEY, db=self._meta_db)
        known = LogMeta() if meta is None else _decode_meta(meta)
        if index == known.compacted_index:
            return known.compacted_term
        raise KeyError(index)

    def entries(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        """Entries of ``[low, high)``: at least one, then as many as fit ``max_bytes`` of data.

        Raises ``KeyError`` when ``low`` is not in the log or an entry in between is missing.
        """
        found: list[Entry] = []
        room = max_bytes
        with self._environment.begin() as txn, txn.cursor(self._entries_db) as cursor:
            if low >= high:
                return found
            if not cursor.set_key(_index_key(low)):
                raise KeyError(low)
            for raw in cursor.iternext(keys=False, values=True):
                entry = _decode_entry(raw)
                room -= len(entry.data)
                if found and room < 0:
                    break
                if entry.index != low + len(found):
                    raise KeyError(low + len(found))
                found.append(entry)
                if entry.index + 1 >= high:
                    break
        return found

    def write(self, group: Iterable[LogBatch]) -> None:
        """Write ``group`` in one synced transaction, then go on with a discard. Raises :class:`StorageError`.

        Nothing of the group is durable when it raises. One thread at a time.
        """
        try:
            self._write(group)
        except (lmdb.Error, OSError) as error:
            raise storage_error(self.path, error) from error

    def _write(self, group: Iterable[LogBatch]) -> None:
        if failpoint.active:
            failpoint.hit("log.before_begin")
        meta, last, discard_to = self._meta, self.last_index, self._discard_to
        hard_state = meta.hard_state
        with self._environment.begin(write=True) as txn:
            for batch in group:
                if batch.hard_state is not None:
                    hard_state = batch.hard_state
                if batch.reset is not None:
                    last = self._reset(txn, batch.reset)
                    meta = msgspec.structs.replace(meta, compacted_index=last, compacted_term=batch.reset.term)
                if batch.entries:
                    last = self._append(txn, batch.entries, last, meta.compacted_index)
                discard_to = max(discard_to, batch.discard_to)
            if failpoint.active:
                failpoint.hit("log.after_puts")
            meta = msgspec.structs.replace(self._discard(txn, meta, min(discard_to, last)), hard_state=hard_state)
            if meta != self._meta:
                txn.put(_META_KEY, _encode(meta), db=self._meta_db)
            if failpoint.active:
                failpoint.hit("log.before_commit")
        if failpoint.active:
            failpoint.hit("log.after_commit")
        self._meta, self.last_index, self._discard_to = meta, last, min(discard_to, last)

    def _reset(self, txn: lmdb.Transaction, snapshot: SnapshotMeta) -> int:
        txn.drop(self._entries_db, delete=False)
        if failpoint.active:
            failpoint.hit("log.after_reset")
        return snapshot.index

    def _append(self, txn: lmdb.Transaction, entries: Sequence[Entry], last: int, compacted: int) -> int:
        """Put ``entries`` behind what goes before them; returns the new last index."""
        first = entries[0].index
        if not compacted < first <= last + 1:
            raise StorageError(f"{self.path}: entry {first} does not follow {compacted}..{last}")
        cursor = txn.cursor(self._entries_db)
        if first <= last and cursor.set_range(_index_key(first)):
            while cursor.delete():
                pass
        items = []
        for expected, entry in enumerate(entries, first):
            if entry.index != expected:
                raise StorageError(f"{self.path}: entry {entry.index} where {expected} was due")
            items.append((_index_key(expected), _encode(entry)))
        cursor.putmulti(items, append=True)
        return entries[-1].index

    def _discard(self, txn: lmdb.Transaction, meta: LogMeta, target: int) -> LogMeta:
        """Remove entries up to ``target``, at most one transaction's worth; returns what is compacted now."""
        target = min(target, meta.compacted_index + DISCARD_PER_TRANSACTION)
        if target <= meta.compacted_index:
            return meta
        raw = txn.get(_index_key(target), db=self._entries_db)
        if raw is None:
            raise StorageError(f"{self.path}: entry {target} is missing")
        cursor = txn.cursor(self._entries_db)
        cursor.first()
        for _ in range(target - meta.compacted_index):
            cursor.delete()
        if failpoint.active:
            failpoint.hit("log.after_discard")
        return msgspec.structs.replace(meta, compacted_index=target, compacted_term=_decode_term(raw).term)

    def _commit_meta(self, meta: LogMeta) -> None:
        try:
            with self._environment.begin(write=True) as txn:
                txn.put(_META_KEY, _encode(meta), db=self._meta_db)
        except lmdb.Error as error:
            raise storage_error(self.path, error) from error
        self._meta = meta

    def close(self) -> None:
        """Release the files; the writer has been closed before."""
        self._environment.close()
        os.close(self._lock)
