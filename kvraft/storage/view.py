"""A commit that is read while the state goes on: by other threads, in pieces."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from kvraft.storage.errors import SnapshotClosed
from kvraft.storage.tables import Databases, StateMeta, Tables

if TYPE_CHECKING:
    from collections.abc import Callable

    import lmdb

T = TypeVar("T")


class StateView:
    """The last commit when it was opened: ``tables`` and the ``meta`` that belongs to them.

    Use ``tables`` only within :meth:`run`. It holds the pages of that commit back from reuse: close it soon.
    """

    def __init__(self, txn: lmdb.Transaction[bytes], databases: Databases, meta: StateMeta) -> None:
        self._txn = txn
        self._lock = threading.Lock()
        self.closed = False
        self.meta = meta
        self.tables = Tables(txn, databases, meta)

    def run(self, piece: Callable[[], T]) -> T:
        """Do a short piece of reading, in any one thread at a time. Raises :class:`SnapshotClosed` once closed."""
        with self._lock:
            if self.closed:
                raise SnapshotClosed("the state that was being read has been replaced")
            return piece()

    def close(self) -> None:
        """Let go of the commit, from any thread; waits for a piece that is being read."""
        with self._lock:
            if not self.closed:
                self.closed = True
                self._txn.abort()
