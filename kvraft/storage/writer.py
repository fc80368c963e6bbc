"""Who writes the log: the caller itself while little is written and the disk is quick, else one thread.

What has queued up for the thread becomes one synced record; what is durable, or that the disk has failed, is reported
from the thread. With little to write the two ways to it and back cost more than the disk does.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from kvraft.storage import failpoint
from kvraft.storage.errors import StorageError, storage_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvraft.storage.log import LogBatch, LogStore

GROUP_BATCHES = 4096
"""The most batches in one record."""
GROUP_BYTES = 16 << 20
"""A record takes no further batch once it holds this many bytes of entry data."""
AT_ONCE_BYTES = 16 << 10
"""A batch of more entry data goes to the thread: there is enough to do meanwhile."""
SLOW_SECONDS = 0.02
REST_SECONDS = 10.0
"""After a write on the spot that was slow the thread writes everything for so long: a disk that stalls once is likely
to stall again, and a caller that waits for it answers nobody."""


class LogWriter:
    """Does every write of ``store`` from :meth:`start` to :meth:`close`.

    ``on_durable(last_seq)``: every batch up to ``last_seq`` is on disk. ``on_failed(error)``: nothing since the last
    report is known to be durable, nothing more is accepted, ever: after a failed sync the only truth is what a fresh
    start reads. Both are called from the writer's thread. ``on_written(seconds)``: a write took so long; called by who
    has done it.
    """

    def __init__(
        self,
        store: LogStore,
        on_durable: Callable[[int], None],
        on_failed: Callable[[StorageError], None],
        on_written: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._on_durable = on_durable
        self._on_failed = on_failed
        self._on_written = on_written
        self._queue: SimpleQueue[LogBatch | None] = SimpleQueue()
        self._at_once_from = 0.0
        self._submitted: deque[tuple[int, float]] = deque()
        self._failed: StorageError | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="kvraft-log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, batch: LogBatch) -> bool:
        """Write ``batch`` now, if that is likely quick, or queue it for the thread. Whether it is durable already.

        Raises :class:`StorageError` when the write fails, and after a failure or :meth:`close`.
        """
        if self._failed is not None:
            raise StorageError(f"the log no longer accepts writes: {self._failed}") from self._failed
        if self._closed:
            raise StorageError("the log is closed")
        now = time.monotonic()
        if not self._submitted and now >= self._at_once_from and _is_small(batch):
            self._write_now(batch, now)
            return True
        self._submitted.append((batch.seq, now))
        self._queue.put(batch)
        return False

    def _write_now(self, batch: LogBatch, started: float) -> None:
        try:
            if not batch.empty():
                self._store.write([batch])
        except Exception as error:
            self._failed = storage_error(self._store.path, error)
            raise self._failed from error
        seconds = time.monotonic() - started
        if seconds > SLOW_SECONDS:
            self._at_once_from = started + seconds + REST_SECONDS
        self._on_written(seconds)

    def oldest_pending_seconds(self) -> float:
        """How long the oldest batch that is not yet durable has waited; 0 when there is none."""
        try:
            since = self._submitted[0][1]
        except IndexError:
            return 0.0
        return time.monotonic() - since

    @property
    def running(self) -> bool:
        """Whether the thread is there, and may be using the store."""
        return self._thread.is_alive()

    def close(self, timeout_seconds: float | None = None) -> bool:
        """Write what is queued, report it, end the thread; False when that has not come about in time.

        The store must not be closed then: the thread is still in the middle of a write that the disk does not end.
        """
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
        return not self.running

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except Exception as error:
            failure = storage_error(self._store.path, error)
            if failure is not error:
                failure.__cause__ = error
            self._failed = failure
            self._on_failed(failure)

    def _step(self) -> bool:
        """Write one group; False when closed and empty."""
        group, going_on = self._take()
        work = [batch for batch in group if not batch.empty()]
        started = time.perf_counter()
        if work:
            self._store.write(work)
            self._on_written(time.perf_counter() - started)
        if group:
            if failpoint.active:
                failpoint.hit("log.before_report")
            last = group[-1].seq
            for _ in group:
                self._submitted.popleft()
            self._on_durable(last)
        return going_on

    def _take(self) -> tuple[list[LogBatch], bool]:
        """What is queued, up to the bounds; waits for the first batch."""
        group: list[LogBatch] = []
        room = GROUP_BYTES
        try:
            batch = self._queue.get()
            while batch is not None:
                group.append(batch)
                room -= sum(len(entry.data) for entry in batch.entries)
                if room <= 0 or len(group) >= GROUP_BATCHES:
                    return group, True
                batch = self._queue.get_nowait()
        except Empty:
            return group, True
        return group, False


def _is_small(batch: LogBatch) -> bool:
    return sum([len(entry.data) for entry in batch.entries]) <= AT_ONCE_BYTES
