"""A member's state file made small again while it goes on: copied, caught up, swapped.

The last commit is copied, in any thread, into a file without holes; then the copy is given the entries that have been
applied since, as a member that restarts is; and once it has all of them it takes the state's place by a rename. Until
then the state is what it was, so a crash anywhere leaves either the old file or a new one with everything in it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

import lmdb

from kvraft.errors import Unavailable
from kvraft.storage import failpoint
from kvraft.storage.errors import storage_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvraft.apply.machine import StateMachine
    from kvraft.raft.messages import Entry
    from kvraft.storage.snapshot import SnapshotReader, SnapshotWriter
    from kvraft.storage.state import StateEnvironment

MAX_UNCOMMITTED = 10_000
"""Operations after which the copy is committed on the way."""


class Defragmentation:
    """One run. ``copy_step`` until it is done, then ``open``, ``catch_up`` until little is left, ``flush``, ``finish``.

    ``abort`` ends it at any point. The log must keep the entries behind ``index`` meanwhile.
    """

    def __init__(
        self, reader: SnapshotReader, writer: SnapshotWriter, reopen: Callable[[str], StateMachine], directory: str
    ) -> None:
        self.index = reader.meta.index
        """What the copy covers."""
        self.over = False
        self._reader = reader
        self._writer = writer
        self._reopen = reopen
        self.directory = directory
        self._copied = False
        self._copy: StateMachine | None = None
        self._lock = threading.Lock()

    @classmethod
    def begin(cls, environment: StateEnvironment, reopen: Callable[[str], StateMachine]) -> Self:
        """Start a copy of the last commit. Raises StorageError."""
        reader = environment.snapshot()
        try:
            directory, writer = environment.copy_writer()
        except BaseException:
            reader.close()
            raise
        return cls(reader, writer, reopen, directory)

    def copy_step(self) -> bool:
        """Copy one chunk, in any thread; True when all is copied, durably. Raises StorageError, or Unavailable."""
        with self._lock:
            self._usable()
            chunk = next(self._reader, None)
            if chunk is not None:
                self._writer.write(chunk)
                return False
            self._writer.finish()
            self._reader.close()
            self._copied = True
            if failpoint.active:
                failpoint.hit("defragment.after_copy")
            return True

    def open(self) -> None:
        """The copy is complete: make it something that entries can be applied to."""
        self._usable()
        assert self._copied
        self._copy = self._reopen(self.directory)

    @property
    def applied_index(self) -> int:
        """How far the copy is."""
        return self.index if self._copy is None else self._copy.applied_index

    def catch_up(self, entries: Sequence[Entry]) -> None:
        """Give the copy the next entries that the state has applied. Raises StorageError."""
        self._usable()
        assert self._copy is not None
        self._copy.apply(entries, answered=False)
        if self._copy.uncommitted >= MAX_UNCOMMITTED:
            self._copy.commit()

    def flush(self) -> None:
        """Commit what the copy has; what is done after this is little."""
        self._usable()
        assert self._copy is not None
        self._copy.commit()
        if failpoint.active:
            failpoint.hit("defragment.after_catch_up")

    def sync(self) -> None:
        """Make what has been committed durable, in any thread."""
        with self._lock:
            self._usable()
            assert self._copy is not None
            self._copy.sync()

    def finish(self) -> None:
        """Close the copy, which has everything, durably; the owner moves it into place."""
        self.flush()
        self.sync()
        assert self._copy is not None
        self._copy.close()
        self.over = True

    def abort(self) -> None:
        """Drop the copy; waits for a step that is being made."""
        with self._lock:
            if self.over:
                return
            self.over = True
            self._reader.close()
            try:
                if self._copy is not None:
                    self._copy.close()
                self._writer.abort()
            except (lmdb.Error, OSError) as error:
                raise storage_error(self.directory, error) from error

    def _usable(self) -> None:
        if self.over:
            raise Unavailable("etcdserver: the state was replaced while it was defragmented")
