"""A state as a stream of bytes, and back.

The stream is frames: a 4-byte big-endian length, then msgpack. The first frame is ``[0, format, StateMeta]``, then
``[table, [key, record, key, record, ...]]`` with tables numbered from 1 in the order of :data:`TABLES` and keys in
order, at last ``[255, digest]`` with the SHA-256 of everything before it. Chunks are cuts of the stream at any byte.
"""

from __future__ import annotations

import hashlib
import os
import threading
from typing import TYPE_CHECKING, Self

import lmdb
import msgspec

from kvraft.raft.messages import SnapshotMeta
from kvraft.storage import failpoint
from kvraft.storage.errors import SnapshotClosed, SnapshotError, StorageError, storage_error
from kvraft.storage.files import FORMAT_KEY, open_environment, sync_directory
from kvraft.storage.tables import (
    FORMAT,
    MAX_TABLES,
    META_KEY,
    STREAM_FORMAT,
    TABLES,
    Databases,
    StateMeta,
    encode,
    read_meta,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

CHUNK_BYTES = 256 << 10
"""The largest chunk that a reader yields."""
FRAME_BYTES = 128 << 10
"""A frame takes no further record once it is this large."""
MAX_FRAME_BYTES = 64 << 20
"""A longer frame is refused."""

HEADER = 0
END = 255
LENGTH_BYTES = 4


def _frame(body: object) -> bytes:
    encoded = encode(body)
    return len(encoded).to_bytes(LENGTH_BYTES) + encoded


def _covers(path: str, meta: StateMeta) -> SnapshotMeta:
    if meta.configuration is None:
        raise SnapshotError(f"{path}: a state without a configuration makes no snapshot")
    return SnapshotMeta(meta.applied_index, meta.applied_term, meta.configuration)


class SnapshotReader:
    """One commit as chunks of at most :data:`CHUNK_BYTES`. Iterate in any one thread; ``close`` from any."""

    def __init__(self, path: str, txn: lmdb.Transaction[bytes], databases: Databases) -> None:
        self._txn = txn
        self._lock = threading.Lock()
        self._closed = False
        try:
            self._state = read_meta(path, txn, databases) or StateMeta()
            self.meta = _covers(path, self._state)
        except BaseException:
            txn.abort()
            raise
        self._databases = databases
        self._chunks = self._cut(self.frames())

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        """The next chunk. Raises :class:`SnapshotClosed` once the reader is closed."""
        with self._lock:
            if self._closed:
                raise SnapshotClosed("the snapshot has been closed")
            return next(self._chunks)

    def go_to(self, chunk: int) -> None:
        """Make ``chunk`` (0: the first) the next one: the same commit gives the same chunks each time it is read."""
        with self._lock:
            if self._closed:
                raise SnapshotClosed("the snapshot has been closed")
            self._chunks.close()
            self._chunks = self._cut(self.frames())
            for _ in range(chunk):
                next(self._chunks, None)

    @property
    def closed(self) -> bool:
        """Whether nothing more can be read."""
        return self._closed

    def close(self) -> None:
        """Let go of the commit; waits for a chunk that is being read."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._chunks.close()
                self._txn.abort()

    def frames(self) -> Iterator[bytes]:
        """The same by whole frames, however long."""
        digest = hashlib.sha256()
        for frame in self._data_frames():
            digest.update(frame)
            yield frame
        yield _frame((END, digest.digest()))

    def _data_frames(self) -> Iterator[bytes]:
        yield _frame((HEADER, STREAM_FORMAT, self._state))
        for number, name in enumerate(TABLES, 1):
            records: list[bytes] = []
            size = 0
            with self._txn.cursor(self._databases.by_name[name]) as cursor:
                for key, record in cursor.iternext(keys=True, values=True):
                    records += (key, record)
                    size += len(key) + len(record)
                    if size >= FRAME_BYTES:
                        yield _frame((number, records))
                        records, size = [], 0
            if records:
                yield _frame((number, records))

    @staticmethod
    def _cut(frames: Iterator[bytes]) -> Generator[bytes, None, None]:
        for frame in frames:
            for start in range(0, len(frame), CHUNK_BYTES):
                yield frame[start : start + CHUNK_BYTES]


class SnapshotWriter:
    """Receives a stream into a file of its own. Calls may come from different threads, one at a time.

    ``meta`` is what the snapshot covers, None until :meth:`finish`. ``closed`` says that it was aborted.
    """

    def __init__(
        self, path: str, *, cluster_id: int | None, member_id: int, map_bytes: int, sync: bool, verify: bool = True
    ) -> None:
        """``cluster_id`` is the cluster that the state must be of, None: any. ``verify=False`` takes it with another
        checksum, too."""
        self.path = path
        self.meta: SnapshotMeta | None = None
        self.closed = False
        self._released = False
        self._cluster_id = cluster_id
        self._member_id = member_id
        self._sync = sync
        self._verify = verify
        self._buffer = bytearray()
        self._digest = hashlib.sha256()
        self._state: StateMeta | None = None
        self._table = 0
        self._ended = False
        self._environment = open_environment(path, map_bytes=map_bytes, sync=False, metasync=False, max_dbs=MAX_TABLES)
        self._databases = Databases(self._environment)
        if failpoint.active:
            failpoint.hit("snapshot.after_open")

    def write(self, chunk: bytes) -> None:
        """Take the next chunk. Raises :class:`SnapshotError` for a damaged stream, :class:`StorageError` for a disk
        that fails; after either only :meth:`abort` is left."""
        if self.closed or self.meta is not None:
            raise StorageError(f"{self.path}: the snapshot is no longer being received")
        self._buffer += chunk
        try:
            with self._environment.begin(write=True) as txn:
                for frame in self._complete_frames():
                    self._take(txn, frame)
            if failpoint.active:
                failpoint.hit("snapshot.after_chunk")
        except lmdb.KeyExistsError as error:
            raise SnapshotError("damaged snapshot: keys out of order") from error
        except (lmdb.Error, OSError) as error:
            raise storage_error(self.path, error) from error

    def finish(self, adopt: Callable[[StateMeta], None] | None = None) -> SnapshotMeta:
        """Check that the stream was whole, make the file durable. Raises as :meth:`write` does.

        ``adopt`` may change what the state says of itself before it is written.
        """
        if not self._ended or self._buffer or self._state is None:
            raise SnapshotError("damaged snapshot: the stream was cut off")
        self._state.member_id = self._member_id
        if adopt is not None:
            adopt(self._state)
        meta = _covers("damaged snapshot", self._state)
        try:
            with self._environment.begin(write=True) as txn:
                txn.put(FORMAT_KEY, encode(FORMAT), db=self._databases.meta)
                txn.put(META_KEY, encode(self._state), db=self._databases.meta)
            if failpoint.active:
                failpoint.hit("snapshot.before_sync")
            if self._sync:
                self._environment.sync(True)
                sync_directory(os.path.dirname(self.path))
            if failpoint.active:
                failpoint.hit("snapshot.after_sync")
        except (lmdb.Error, OSError) as error:
            raise storage_error(self.path, error) from error
        self._release()
        self.meta = meta
        return meta

    def abort(self) -> None:
        """Drop what was received; also after :meth:`finish`, as long as it is not installed."""
        self._release()
        self.closed = True
        self.meta = None
        for path in (self.path, self.path + "-lock"):
            if os.path.exists(path):
                os.unlink(path)

    def _release(self) -> None:
        if not self._released:
            self._released = True
            self._environment.close()

    def _complete_frames(self) -> Iterator[bytes]:
        """Cut the frames that are complete off the buffer."""
        start = 0
        while len(self._buffer) - start >= LENGTH_BYTES:
            length = int.from_bytes(self._buffer[start : start + LENGTH_BYTES])
            if length > MAX_FRAME_BYTES:
                raise SnapshotError(f"damaged snapshot: a frame of {length} bytes")
            end = start + LENGTH_BYTES + length
            if len(self._buffer) < end:
                break
            yield bytes(self._buffer[start:end])
            start = end
        del self._buffer[:start]

    def _take(self, txn: lmdb.Transaction[bytes], frame: bytes) -> None:
        if self._ended:
            raise SnapshotError("damaged snapshot: bytes behind its end")
        try:
            number, *rest = msgspec.msgpack.decode(frame[LENGTH_BYTES:], type=list)
            if number == END:
                if self._verify and rest != [self._digest.digest()]:
                    raise SnapshotError("damaged snapshot: the checksum does not match")
                self._ended = True
                return
            self._digest.update(frame)
            if number == HEADER:
                self._take_header(*rest)
            else:
                self._take_records(txn, number, *rest)
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            raise SnapshotError("damaged snapshot: a frame is not what it should be") from error

    def _take_header(self, version: int, raw: list[object]) -> None:
        if self._state is not None:
            raise SnapshotError("damaged snapshot: two headers")
        if version > STREAM_FORMAT:
            raise SnapshotError(f"the snapshot has format {version}; this version reads up to {STREAM_FORMAT}")
        self._state = msgspec.convert(raw, StateMeta)
        if self._cluster_id is not None and self._state.cluster_id != self._cluster_id:
            raise SnapshotError(f"the snapshot is of cluster {self._state.cluster_id:x}, not of {self._cluster_id:x}")

    def _take_records(self, txn: lmdb.Transaction[bytes], number: int, records: list[bytes]) -> None:
        if self._state is None or not max(1, self._table) <= number <= len(TABLES):
            raise SnapshotError("damaged snapshot: tables out of order")
        self._table = number
        cursor = txn.cursor(self._databases.by_name[TABLES[number - 1]])
        for key, record in zip(records[::2], records[1::2], strict=True):
            cursor.put(key, record, append=True)
