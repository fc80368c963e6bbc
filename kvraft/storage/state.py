"""The state environment: one write transaction that stays open on the loop, committed as a whole from time to time.

It is opened without metasync: a commit is one device flush, a power loss may cost the last commit but never
consistency, and the log replays what was lost. What changes the state changes ``meta`` in the same transaction.
"""

from __future__ import annotations

import os
import shutil
import weakref
from typing import TYPE_CHECKING, Self

import lmdb

from kvraft.storage import failpoint
from kvraft.storage.errors import StorageError, storage_error
from kvraft.storage.files import FORMAT_KEY, check_format, lock_file, make_directory, open_environment, sync_directory
from kvraft.storage.keytable import THRESHOLD
from kvraft.storage.snapshot import SnapshotReader, SnapshotWriter
from kvraft.storage.tables import FORMAT, MAX_TABLES, META_KEY, Databases, StateMeta, Tables, encode, read_meta
from kvraft.storage.view import StateView

if TYPE_CHECKING:
    from kvraft.raft.messages import SnapshotMeta

MAP_BYTES = 64 << 30
"""The default limit of the file: room above the quota, because the quota is kept before a write is replicated."""
FILE = "state.mdb"
INCOMING = "state.incoming.mdb"
COPY = "copy"
"""The directory of a copy that is to take the state's place."""


class StateEnvironment:
    """An open state. ``tables`` and ``meta`` are the open transaction's and are replaced by commit and install.

    ``committed_index`` survives the end of the process. ``durable_index`` survives a power loss as well: without
    metasync that is the commit before the last one. ``is_whole`` is whether the last commit has every head where it
    belongs: only such a one may be read by others.
    """

    def __init__(self, directory: str, lock: int, *, map_bytes: int, sync: bool, threshold: int) -> None:
        self.path = os.path.join(directory, FILE)
        self._directory = directory
        self._lock = lock
        self._map_bytes = map_bytes
        self._sync = sync
        self._threshold = threshold
        self._readers: weakref.WeakSet[SnapshotReader | StateView] = weakref.WeakSet()
        self._incoming: SnapshotWriter | None = None
        self._broken: str | None = None
        self._open()

    @classmethod
    def open(
        cls,
        directory: str | os.PathLike[str],
        *,
        map_bytes: int = MAP_BYTES,
        sync: bool = True,
        threshold: int = THRESHOLD,
    ) -> Self:
        """Open or create the state in ``directory``. Raises :class:`StorageError`.

        ``sync=False`` gives up durability, for clusters that are thrown away. ``threshold`` is the longest key, in
        bytes, that a new file stores without a bucket.
        """
        directory = make_directory(directory)
        lock = lock_file(os.path.join(directory, FILE + ".owner"))
        try:
            _remove_incoming(directory)
            shutil.rmtree(os.path.join(directory, COPY), ignore_errors=True)
            return cls(directory, lock, map_bytes=map_bytes, sync=sync, threshold=threshold)
        except BaseException:
            os.close(lock)
            raise

    def _open(self) -> None:
        environment = open_environment(
            self.path, map_bytes=self._map_bytes, sync=self._sync, metasync=False, max_dbs=MAX_TABLES
        )
        try:
            self._databases = Databases(environment)
            txn = environment.begin(write=True)
            stored = txn.get(FORMAT_KEY, db=self._databases.meta)
            check_format(self.path, stored, FORMAT)
            if stored != encode(FORMAT):
                txn.put(FORMAT_KEY, encode(FORMAT), db=self._databases.meta)
            self.meta = read_meta(self.path, txn, self._databases) or StateMeta(threshold=self._threshold)
            if self._sync:
                # A commit that only the page cache has seen does not count as durable.
                environment.sync(True)
        except lmdb.Error as error:
            environment.close()
            raise storage_error(self.path, error) from error
        except BaseException:
            environment.close()
            raise
        self._environment = environment
        self._bind(txn)
        self.is_whole = not self.meta.late_from
        self.committed_index = self.meta.applied_index
        self.durable_index = self.meta.applied_index

    def _bind(self, txn: lmdb.Transaction[bytes]) -> None:
        self._txn = txn
        self.tables = Tables(txn, self._databases, self.meta)

    def show(self, view: StateView) -> tuple[Tables, StateMeta]:
        """Have ``tables`` and ``meta`` be those of ``view``, for who looks while a change of the state is half done.

        What they were is given back; :meth:`unshow` takes it, before anything is changed or committed.
        """
        hidden = self.tables, self.meta
        self.tables, self.meta = view.tables, view.meta
        return hidden

    def unshow(self, hidden: tuple[Tables, StateMeta]) -> None:
        """End what :meth:`show` began."""
        self.tables, self.meta = hidden

    def commit(self) -> None:
        """Commit the open transaction, with ``meta`` as it is now, and open the next. Raises :class:`StorageError`."""
        self._usable()
        try:
            self._txn.put(META_KEY, encode(self.meta), db=self._databases.meta)
            if failpoint.active:
                failpoint.hit("state.before_commit")
            self._txn.commit()
            if failpoint.active:
                failpoint.hit("state.after_commit")
            self.durable_index = self.committed_index
            self.committed_index = self.meta.applied_index
            self.is_whole = not self.meta.late_from
            self._bind(self._environment.begin(write=True))
        except (lmdb.Error, OSError) as error:
            self.poison(str(error))
            raise storage_error(self.path, error) from error

    def poison(self, reason: str) -> None:
        """Something went wrong halfway through a change: drop the transaction, refuse every later commit."""
        self._broken = reason
        self._txn.abort()

    def _usable(self) -> None:
        if self._broken is not None:
            raise StorageError(f"{self.path}: not written any more after a failure: {self._broken}")

    def sizes(self) -> tuple[int, int]:
        """Bytes of the file up to its high-water mark, and bytes that tables occupy, uncommitted changes included."""
        page = self._environment.stat()["psize"]
        pages = 2  # the two meta pages
        for database in (*self._databases.by_name.values(), self._databases.meta):
            stat = self._txn.stat(database)
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return (self._environment.info()["last_pgno"] + 1) * page, pages * page

    def key_count(self) -> int:
        """How many keys there are; those longer than ``meta.threshold`` that share so much count as one."""
        return int(self._txn.stat(self._databases.cur)["entries"])

    def snapshot(self) -> SnapshotReader:
        """Read the last commit as a stream. Raises :class:`StorageError` before the first one with entries."""
        assert self.is_whole
        try:
            txn = self._environment.begin()
        except lmdb.Error as error:
            raise storage_error(self.path, error) from error
        reader = SnapshotReader(self.path, txn, self._databases)
        self._readers.add(reader)
        return reader

    def view(self) -> StateView:
        """Read the last commit. Raises :class:`StorageError`."""
        assert self.is_whole
        try:
            txn = self._environment.begin()
        except lmdb.Error as error:
            raise storage_error(self.path, error) from error
        view = StateView(txn, self._databases, read_meta(self.path, txn, self._databases) or StateMeta())
        self._readers.add(view)
        return view

    def incoming(self) -> SnapshotWriter:
        """Receive a state beside this one. Raises :class:`StorageError` until the last one is installed or aborted."""
        if self._incoming is not None and not self._incoming.closed:
            raise StorageError(f"{self.path}: another snapshot is being received or waits to be installed")
        _remove_incoming(self._directory)
        self._incoming = SnapshotWriter(
            os.path.join(self._directory, INCOMING),
            cluster_id=self.meta.cluster_id,
            member_id=self.meta.member_id,
            map_bytes=self._map_bytes,
            sync=self._sync,
        )
        return self._incoming

    def copy_writer(self) -> tuple[str, SnapshotWriter]:
        """Where this state can be copied to, to be opened as a state of its own, and what writes it there.

        Raises :class:`StorageError`.
        """
        directory = os.path.join(self._directory, COPY)
        shutil.rmtree(directory, ignore_errors=True)
        make_directory(directory)
        writer = SnapshotWriter(
            os.path.join(directory, FILE),
            cluster_id=self.meta.cluster_id,
            member_id=self.meta.member_id,
            map_bytes=self._map_bytes,
            sync=self._sync,
        )
        return directory, writer

    @property
    def readers(self) -> int:
        """How many snapshots and views of this state are open."""
        return sum(not reader.closed for reader in self._readers)

    def sync(self) -> None:
        """Make every commit durable, its last page too; in any thread. Raises :class:`StorageError`."""
        try:
            self._environment.sync(True)
        except (lmdb.Error, OSError) as error:
            raise storage_error(self.path, error) from error

    def adopt(self, directory: str) -> None:
        """Put the closed, durable state in ``directory``, which has all that this one has, in this one's place.

        As with ``install``, the rename is the one step that counts.
        """
        self._usable()
        self._swap(os.path.join(directory, FILE))
        shutil.rmtree(directory, ignore_errors=True)

    def install(self, writer: SnapshotWriter) -> SnapshotMeta:
        """Put what ``writer`` finished in this state's place; readers of the old state raise from now on.

        The rename is the one step that counts: a crash before it leaves the old state, after it the new one.
        """
        self._usable()
        if writer is not self._incoming or writer.meta is None:
            raise StorageError(f"{self.path}: the snapshot to install has not been received as a whole")
        if writer.meta.index < self.meta.applied_index:
            raise StorageError(f"{self.path}: the snapshot at {writer.meta.index} is older than the state")
        self._incoming = None
        self._swap(writer.path)
        return writer.meta

    def _swap(self, path: str) -> None:
        """Become what the file at ``path`` holds."""
        if failpoint.active:
            failpoint.hit("install.before_close")
        self._close_files()
        try:
            if failpoint.active:
                failpoint.hit("install.before_rename")
            os.replace(path, self.path)
            if self._sync:
                sync_directory(self._directory)
            if failpoint.active:
                failpoint.hit("install.after_rename")
            self._open()
            _remove_incoming(self._directory)
            if failpoint.active:
                failpoint.hit("install.after_open")
        except (lmdb.Error, OSError) as error:
            self._broken = str(error)
            raise storage_error(self.path, error) from error

    def _close_files(self) -> None:
        for reader in list(self._readers):
            reader.close()
        self._readers.clear()
        self._txn.abort()
        self._environment.close()

    def close(self) -> None:
        """Release the files without committing; an unfinished incoming snapshot is dropped."""
        if self._incoming is not None:
            self._incoming.abort()
            self._incoming = None
        self._close_files()
        os.close(self._lock)


def _remove_incoming(directory: str) -> None:
    """Remove what an interrupted or finished install left behind."""
    for name in (INCOMING, INCOMING + "-lock"):
        try:
            os.unlink(os.path.join(directory, name))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise storage_error(os.path.join(directory, name), error) from error
