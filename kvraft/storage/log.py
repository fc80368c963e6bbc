"""The raft log on disk: files that only grow, with the entries, the hard state and what has been compacted.

Each write adds one record and syncs it once; an LMDB transaction would sync twice. Reads are for the loop thread;
writes belong to one :class:`~kvraft.storage.writer.LogWriter`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
from typing import TYPE_CHECKING, Self, TypeVar

import msgspec

from kvraft.logs import fields
from kvraft.raft.messages import NO_NODE, Entry, HardState, SnapshotMeta
from kvraft.storage import failpoint, old_log, segment
from kvraft.storage.background import BackgroundWrite
from kvraft.storage.change import Change, LogBatch, LogMeta
from kvraft.storage.direct import DirectFile
from kvraft.storage.errors import StorageError, storage_error
from kvraft.storage.files import lock_file, make_directory, sync_directory
from kvraft.storage.segment import FIRST_RECORD, SUFFIX, Record, Segment
from kvraft.storage.spares import Spares
from kvraft.storage.writer import LogWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["LogBatch", "LogMeta", "LogStore", "LogWriter"]

log = logging.getLogger(__name__)

Decoded = TypeVar("Decoded")

_encode = msgspec.msgpack.Encoder().encode
_decode_entry = msgspec.msgpack.Decoder(Entry).decode


class _EntryTerm(msgspec.Struct, frozen=True, array_like=True):
    """The head of an encoded entry, so that a term can be read without its data."""

    index: int
    term: int


_decode_meta = msgspec.msgpack.Decoder(LogMeta).decode
_decode_term = msgspec.msgpack.Decoder(_EntryTerm).decode


class LogStore:
    """An open log. ``hard_state``, ``compacted_*`` and ``last_index`` are those of the last write."""

    def __init__(self, directory: str, lock: int, *, sync: bool) -> None:
        self.path = directory
        self._lock = lock
        self._sync = sync
        self._guard = threading.Lock()  # the writer's thread adds and drops what the loop looks up
        self._segments: list[Segment] = []
        self._descriptor = -1
        self._direct = DirectFile()
        self._under_way: tuple[Change, Record, bytes] | None = None
        self._spares = Spares(directory, segment.SEGMENT_BYTES) if sync else None
        self._meta = LogMeta()
        self.last_index = 0
        numbers = _segment_numbers(directory)
        for number in numbers:
            path = self._path_of(number)
            self._segments.append(Segment(path, number, segment.first_index(path)))
        if numbers:
            self._open_last()
        else:
            self._begin_segment(1, 1, Change(1, [], LogMeta()))
        if sync:
            self._direct.attempt(self._segments[-1].path, self._segments[-1].end)

    @classmethod
    def open(cls, directory: str | os.PathLike[str], *, sync: bool = True) -> Self:
        """Open or create the log in ``directory``. Raises :class:`StorageError`.

        ``sync=False`` gives up durability, for clusters that are thrown away.
        """
        path = make_directory(directory)
        lock = lock_file(os.path.join(path, "owner"))
        try:
            if old_log.exists(path):
                cls._take_over(path, lock)
            return cls(path, lock, sync=sync)
        except (OSError, msgspec.MsgspecError) as error:
            os.close(lock)
            raise storage_error(path, error) from error
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def _take_over(cls, path: str, lock: int) -> None:
        """Make the log that is here in the first format one of today's; a crash has it begin anew."""
        for number in _segment_numbers(path):
            os.unlink(os.path.join(path, _name_of(number)))
        with old_log.opened(path) as (raw, parts):
            meta = LogMeta() if raw is None else _decode_meta(raw)
            store = cls(path, lock, sync=True)
            try:
                store._add(Change(meta.compacted_index + 1, [], meta, reset=True))
                for part in parts:
                    store._add(Change(part[0].index, list(part), meta))
            finally:
                store._direct.close()
                os.close(store._descriptor)
        old_log.remove(path)

    # ------------------------------------------------------------------ what is known

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

    def size_bytes(self) -> int:
        """What has been written to the files that are there; one not read since the start counts as a full one."""
        with self._guard:
            return sum(known.end or segment.SEGMENT_BYTES for known in self._segments)

    def first_of_last(self, size_bytes: int) -> int:
        """The first entry of the files that hold the last ``size_bytes`` of the log, or all of it."""
        with self._guard:
            for known in reversed(self._segments):
                size_bytes -= known.end or segment.SEGMENT_BYTES
                if size_bytes <= 0:
                    break
            return known.first

    def term(self, index: int) -> int:
        """The term of entry ``index`` or of the compacted one; raises ``KeyError`` where there is none."""
        with self._guard:
            if index == self._meta.compacted_index:
                return self._meta.compacted_term
            return self._read(index, index + 1, 0, _decode_term)[0].term

    def entries(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        """Entries of ``[low, high)``: at least one, then as many as fit ``max_bytes`` of data.

        Raises ``KeyError`` when ``low`` is not in the log.
        """
        with self._guard:
            found = [] if low >= high else self._read(low, high, max_bytes, _decode_entry)
        room = max_bytes
        for count, entry in enumerate(found):
            room -= len(entry.data)
            if count and room < 0:
                return found[:count]
        return found

    def _read(self, low: int, high: int, max_bytes: int, decode: Callable[[bytes], Decoded]) -> list[Decoded]:
        """The entries of ``[low, high)``: one, then as many as fit and are there. Raises :class:`StorageError`."""
        if not self._meta.compacted_index < low <= self.last_index:
            raise KeyError(low)
        found: list[Decoded] = []
        index, high = low, min(high, self.last_index + 1)
        while index < high and (not found or max_bytes > 0):
            place = next(at for at in range(len(self._segments) - 1, -1, -1) if self._segments[at].first <= index)
            self._index(place)
            known = self._segments[place]
            places = known.places(index, high, max_bytes)
            if not places:
                raise KeyError(index)
            with self._opened(place) as descriptor:
                found += [decode(os.pread(descriptor, size, offset)) for offset, size in places]
            index += len(places)
            max_bytes -= sum(size for _, size in places)
        return found

    @contextlib.contextmanager
    def _opened(self, place: int) -> Iterator[int]:
        """A descriptor to read a file with; what goes wrong with that raises :class:`StorageError`."""
        path, is_last = self._segments[place].path, place == len(self._segments) - 1
        try:
            descriptor = self._descriptor if is_last else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                yield descriptor
            finally:
                if not is_last:
                    os.close(descriptor)
        except (OSError, msgspec.MsgspecError) as error:
            raise storage_error(path, error) from error

    def _index(self, place: int) -> None:
        """Know where the entries of a file are that this process has not written. Raises :class:`StorageError`."""
        known = self._segments[place]
        if known.end:
            return
        known.index()
        ends = min(later.first for later in self._segments[place + 1 :])
        if known.last + 1 < ends:
            raise StorageError(f"{known.path}: entry {known.last + 1} is missing")
        known.cut(ends)

    # ------------------------------------------------------------------ before the writer starts

    def background_write(self) -> BackgroundWrite | None:
        """Who can write this log in the background; None where nobody can, or nothing is to be synced."""
        last = self._segments[-1]
        place = self._direct.fill(last.path, b"", last.end) if self._sync else None
        if place is None:
            return None
        try:
            return BackgroundWrite.open(self._direct.buffer, *place)
        except OSError as error:
            log.info("a thread writes the larger records of the log", extra=fields(path=self.path, error=str(error)))
            return None

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
        meta = msgspec.structs.replace(self._meta, cluster_id=cluster_id, member_id=member_id)
        try:
            self._add(Change(self.last_index + 1, [], meta))
        except OSError as error:
            raise storage_error(self.path, error) from error

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

    # ------------------------------------------------------------------ writing

    def write(self, group: Iterable[LogBatch]) -> None:
        """Write ``group`` as one synced record. Raises :class:`StorageError`.

        Nothing of the group is durable when it raises, unless the sync failed. One thread at a time.
        """
        if failpoint.active:
            failpoint.hit("log.before_write")
        try:
            self._add(self._plan(group))
        except OSError as error:
            raise storage_error(self.path, error) from error

    def _plan(self, group: Iterable[LogBatch]) -> Change:
        """What the group comes to."""
        change = Change(self.last_index + 1, [], self._meta)
        discard_to = 0
        for batch in group:
            if batch.hard_state is not None:
                change.meta = msgspec.structs.replace(change.meta, hard_state=batch.hard_state)
            if batch.reset is not None:
                index, term = batch.reset.index, batch.reset.term
                meta = msgspec.structs.replace(change.meta, compacted_index=index, compacted_term=term)
                change = Change(index + 1, [], meta, reset=True)
            if batch.entries:
                change.append(batch.entries, self.path)
            discard_to = max(discard_to, batch.discard_to)
        discard_to = min(discard_to, change.last)
        if discard_to > change.meta.compacted_index:
            known = discard_to >= change.first
            term = change.entries[discard_to - change.first].term if known else self.term(discard_to)
            change.meta = msgspec.structs.replace(change.meta, compacted_index=discard_to, compacted_term=term)
        return change

    def begin(self, group: Iterable[LogBatch], background: BackgroundWrite) -> bool:
        """Have ``background`` write ``group`` as a record of the file under way; then :meth:`end` is due.

        False: nothing has been done, for it takes more than that; :meth:`write` does it. Raises :class:`StorageError`.
        """
        if failpoint.active:
            failpoint.hit("log.before_write")
        try:
            change = self._plan(group)
            following = self._following(change)
            if following is None:
                return False
            data, record = following
            place = self._direct.fill(self._segments[-1].path, data, record.end)
            if place is None or not background.start(*place):
                return False
            if failpoint.active:
                failpoint.hit("log.after_write")
        except OSError as error:
            raise storage_error(self.path, error) from error
        self._under_way = change, record, data
        return True

    def end(self) -> None:
        """What has been begun is durable. Raises :class:`StorageError`."""
        assert self._under_way is not None
        if failpoint.active:
            failpoint.hit("log.after_sync")
        self._know(*self._under_way)
        self._under_way = None
        try:
            self._forget()
        except OSError as error:
            raise storage_error(self.path, error) from error

    def _add(self, change: Change) -> None:
        """Make ``change`` durable, then known, then forget what it has made superfluous. Raises ``OSError``."""
        following = self._following(change)
        if following is None:
            last = self._segments[-1]
            self._begin_segment(last.number + 1, last.record_number + 1, change)
        else:
            data, record = following
            self._append(data, record)
            if failpoint.active:
                failpoint.hit("log.after_sync")
            self._know(change, record, data)
        self._forget()

    def _following(self, change: Change) -> tuple[bytes, Record] | None:
        """``change`` as the next record of the file under way; None where it has no place there."""
        last = self._segments[-1]
        if change.reset or change.first < last.first:
            return None
        meta = b"" if change.meta == self._meta else _encode(change.meta)
        encoded = [_encode(entry) for entry in change.entries]
        made = segment.encode_record(last.record_number + 1, change.first, encoded, meta, last.end, last.seed)
        return made if made[1].end <= segment.SEGMENT_BYTES else None

    def _append(self, data: bytes, record: Record) -> None:
        is_durable = self._sync and self._direct.write(self._segments[-1].path, data, record.end)
        if not is_durable:
            segment.write_all(self._descriptor, data, record.end - len(data))
        if failpoint.active:
            failpoint.hit("log.after_write")
        if self._sync and not is_durable:
            _sync_data(self._descriptor)

    def _know(self, change: Change, record: Record, data: bytes) -> None:
        with self._guard:
            self._segments[-1].add(record)
            self._meta, self.last_index = change.meta, change.last
        self._direct.grew(data, record.end)

    def _begin_segment(self, number: int, record_number: int, change: Change) -> None:
        """Go on in a new file, which appears under its name with its first record in it."""
        seed, meta = secrets.randbits(32), _encode(change.meta)
        encoded = [_encode(entry) for entry in change.entries]
        data, record = segment.encode_record(record_number, change.first, encoded, meta, FIRST_RECORD, seed)
        path = self._path_of(number)
        spare = self._spares.take() if self._spares is not None else None
        new = spare or path + ".new"
        descriptor = os.open(new, os.O_RDWR | os.O_CLOEXEC | (0 if spare else os.O_CREAT | os.O_TRUNC), 0o600)
        try:
            if self._sync:
                segment.reserve(descriptor, max(segment.SEGMENT_BYTES, FIRST_RECORD + len(data)))
            data = segment.header(seed) + data
            segment.write_all(descriptor, data, 0)
            if self._sync:
                os.fsync(descriptor)
            if failpoint.active:
                failpoint.hit("log.before_rename")
            os.rename(new, path)
            if self._sync:
                sync_directory(self.path)
            if failpoint.active:
                failpoint.hit("log.after_rename")
        except BaseException:
            os.close(descriptor)
            raise
        begun = Segment(path, number, change.first, seed)
        begun.add(record)
        with self._guard:
            for known in self._segments:
                if known.end:
                    known.cut(change.first)
            self._segments.append(begun)
            before, self._descriptor = self._descriptor, descriptor
            self._meta, self.last_index = change.meta, change.last
        self._direct.grew(data, record.end)
        if before >= 0:
            os.close(before)

    def _forget(self) -> None:
        """Remove the files of which nothing counts any more."""
        segments, compacted = self._segments, self._meta.compacted_index
        superfluous = []
        ends = self.last_index + 1  # of what counts in the file that is looked at
        for known in reversed(segments):
            if ends <= max(known.first, compacted + 1) and known is not segments[-1]:
                superfluous.append(known)
            ends = min(ends, known.first)
        if not superfluous:
            return
        if failpoint.active:
            failpoint.hit("log.before_unlink")
        with self._guard:
            self._segments = [known for known in segments if known not in superfluous]
        for known in superfluous:
            with contextlib.suppress(FileNotFoundError):
                written = known.end > segment.SEGMENT_BYTES // 2
                if not (written and self._spares is not None and self._spares.keep(known.path)):
                    os.unlink(known.path)

    @property
    def wants_spare(self) -> bool:
        """Whether it is time for ``make_spare``, so that the next file need not be made when it is due."""
        return self._spares is not None and self._segments[-1].end > segment.SEGMENT_BYTES // 2 and self._spares.wanted

    def make_spare(self) -> None:
        """Get the next file ready; from any thread, also while others write. Never raises."""
        assert self._spares is not None
        self._spares.make()

    # ------------------------------------------------------------------ files

    def _open_last(self) -> None:
        """Go on where the last record ends; what a crash has left behind it is cut off."""
        last = self._segments[-1]
        torn = last.index()
        self._meta, self.last_index = _decode_meta(last.meta), last.last
        self._descriptor = os.open(last.path, os.O_RDWR | os.O_CLOEXEC)
        if torn:
            os.ftruncate(self._descriptor, last.end)
        if self._sync:
            if torn:
                segment.reserve(self._descriptor, segment.SEGMENT_BYTES)
            # A process that was killed between write and sync has left what can be read and may yet be lost.
            os.fsync(self._descriptor)
            sync_directory(self.path)
        self._direct.load(self._descriptor, last.end)
        self._forget()
        if self._segments[0].first > self.compacted_index + 1:
            raise StorageError(f"{self.path}: entry {self.compacted_index + 1} is missing")

    def _path_of(self, number: int) -> str:
        return os.path.join(self.path, _name_of(number))

    def close(self) -> None:
        """Release the files; the writer has been closed before."""
        self._direct.close()
        os.close(self._descriptor)
        os.close(self._lock)


_sync_data = getattr(os, "fdatasync", os.fsync)


def _name_of(number: int) -> str:
    return f"{number:016x}{SUFFIX}"


def _segment_numbers(directory: str) -> list[int]:
    """The files of the log, in order. Raises :class:`StorageError` for a name that is none of ours."""
    names = sorted(name for name in os.listdir(directory) if name.endswith(SUFFIX))
    try:
        return [int(name.removesuffix(SUFFIX), 16) for name in names]
    except ValueError as error:
        raise StorageError(f"{directory}: {error}") from error
