"""Who writes the log: the caller itself while little is written and the disk is quick; the kernel, in the background,
while more is; and one thread where neither is good.

What has queued up meanwhile becomes one synced record. With little to write the ways to another worker and back cost
more than the disk does.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from kvraft.storage import failpoint
from kvraft.storage.errors import StorageError, storage_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvraft.storage.background import BackgroundWrite
    from kvraft.storage.change import LogBatch
    from kvraft.storage.log import LogStore

GROUP_BATCHES = 4096
"""The most batches in one record."""
GROUP_BYTES = 16 << 20
"""A record takes no further batch once it holds this many bytes of entry data."""
AT_ONCE_BYTES = 16 << 10
"""For a batch of more entry data a leader does not wait: it has enough to do meanwhile."""
FOLLOWER_AT_ONCE_BYTES = 128 << 10
"""A follower has only to say that it has written, and until then the leader waits; while its disk is quick, it waits
for more than that. Hearing of a write that has ended costs it as much as the write."""
QUICK_SECONDS = 0.005
BACKGROUND_BYTES = 1 << 20
"""What has more than this is the thread's: to checksum and copy it takes a while, too."""
SLOW_SECONDS = 0.02
REST_SECONDS = 10.0
"""After a write of the caller's that was slow the thread does everything for so long: a disk that stalls once is likely
to stall again, and a caller that waits for it answers nobody."""


class LogWriter:
    """Does every write of ``store`` from :meth:`start` to :meth:`close`.

    ``on_durable(last_seq)``: every batch up to ``last_seq`` is on disk. ``on_failed(error)``: nothing since the last
    report is known to be durable, nothing more is accepted, ever: after a failed sync the only truth is what a fresh
    start reads. Both are called from the thread. ``on_written(seconds)``: a write took so long; called by who has done
    it. With ``background`` somebody waits for its descriptor, and then calls :meth:`finish`.
    """

    def __init__(
        self,
        store: LogStore,
        on_durable: Callable[[int], None],
        on_failed: Callable[[StorageError], None],
        on_written: Callable[[float], None] = lambda _: None,
        background: BackgroundWrite | None = None,
    ) -> None:
        self._store = store
        self._on_durable = on_durable
        self._on_failed = on_failed
        self._on_written = on_written
        self._background = background
        self._writing: list[LogBatch] = []  # what the kernel is about to make durable, since ...
        self._writing_since = 0.0
        self._behind: deque[LogBatch] = deque()  # what comes after that
        self._queue: SimpleQueue[LogBatch | None] = SimpleQueue()
        self._at_once_from = 0.0
        self._last_took = 0.0
        self._submitted: deque[tuple[int, float]] = deque()
        self._failed: StorageError | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="kvraft-log", daemon=True)
        self._maker = threading.Thread()  # of the next file; this one never runs

    def start(self) -> None:
        self._thread.start()

    def submit(self, batch: LogBatch, *, leads: bool = True) -> bool:
        """Write ``batch`` now, if that is likely quick, or have it written. Whether it is durable already.

        ``leads``: the caller has more to do than to wait; see ``FOLLOWER_AT_ONCE_BYTES``.

        Raises :class:`StorageError` when the write fails, and after a failure or :meth:`close`.
        """
        if self._failed is not None:
            raise StorageError(f"the log no longer accepts writes: {self._failed}") from self._failed
        if self._closed:
            raise StorageError("the log is closed")
        if self._store.wants_spare and not self._maker.is_alive():
            self._make_spare()
        now = time.monotonic()
        idle = not self._submitted
        limit = AT_ONCE_BYTES if leads or self._last_took > QUICK_SECONDS else FOLLOWER_AT_ONCE_BYTES
        if idle and now >= self._at_once_from and _size(batch) <= limit:
            self._write_now(batch, now)
            return True
        self._submitted.append((batch.seq, now))
        if self._writing:
            self._behind.append(batch)
        elif not (idle and self._start_writing([batch], now)):
            self._queue.put(batch)
        return False

    def _make_spare(self) -> None:
        maker = threading.Thread(target=self._store.make_spare, name="kvraft-log-spare", daemon=True)
        with contextlib.suppress(RuntimeError):  # there can be no more threads: the next file is made when it is due
            maker.start()
            self._maker = maker

    def _write_now(self, batch: LogBatch, started: float) -> None:
        try:
            if not batch.empty():
                self._store.write([batch])
        except Exception as error:
            self._failed = storage_error(self._store.path, error)
            raise self._failed from error
        self._written(self._took(started))

    def _written(self, seconds: float) -> None:
        self._last_took = seconds
        self._on_written(seconds)

    def _took(self, started: float) -> float:
        """For how long the caller has been kept since ``started``."""
        seconds = time.monotonic() - started
        if seconds > SLOW_SECONDS:
            self._at_once_from = started + seconds + REST_SECONDS
        return seconds

    # ------------------------------------------------------------------ written by the kernel

    def _start_writing(self, group: list[LogBatch], now: float) -> bool:
        """Have ``group`` written. False: that is for the thread, and nothing has been done."""
        background = self._background
        if background is None or now < self._at_once_from or sum(map(_size, group)) > BACKGROUND_BYTES:
            return False
        try:
            work = [batch for batch in group if not batch.empty()]
            if not (work and self._store.begin(work, background)):
                return False
        except Exception as error:
            self._failed = storage_error(self._store.path, error)
            raise self._failed from error
        self._took(now)
        self._writing, self._writing_since = group, now
        return True

    def finish(self) -> int:
        """The kernel has written: up to which batch everything is durable now; 0 when nothing is new.

        What has queued up behind it is written. Raises :class:`StorageError`, as ``submit`` does.
        """
        assert self._background is not None
        try:
            ended = self._background.finish()  # nothing is under way then, whatever has failed before
            if ended and self._failed is None:
                self._store.end()
                if failpoint.active:
                    failpoint.hit("log.before_report")
        except Exception as error:
            self._failed = storage_error(self._store.path, error)
            raise self._failed from error
        if self._failed is not None:
            raise self._failed
        if not ended:
            return 0
        now = time.monotonic()
        self._written(now - self._writing_since)
        group, self._writing = self._writing, []
        for _ in group:
            self._submitted.popleft()
        if self._behind:
            self._go_on(now)
        return group[-1].seq

    def _go_on(self, now: float) -> None:
        following, _ = _group(self._behind.popleft(), self._behind.popleft, IndexError)
        if self._closed or not self._start_writing(following, now):
            for batch in (*following, *self._behind):
                self._queue.put(batch)
            self._behind.clear()

    # ------------------------------------------------------------------ the whole of it

    def first_of_last(self, size_bytes: int) -> int:
        """See :meth:`LogStore.first_of_last`."""
        return self._store.first_of_last(size_bytes)

    def oldest_pending_seconds(self) -> float:
        """How long the oldest batch that is not yet durable has waited; 0 when there is none."""
        try:
            since = self._submitted[0][1]
        except IndexError:
            return 0.0
        return time.monotonic() - since

    @property
    def running(self) -> bool:
        """Whether the thread is there, or the kernel writes: somebody may be using the store."""
        return self._thread.is_alive() or bool(self._background and self._background.busy)

    def close(self, timeout_seconds: float | None = None) -> bool:
        """Write what is queued, report it, end the thread; False when that has not come about in time.

        The store must not be closed then: the thread, or the kernel, is still in the middle of a write that the disk
        does not end.
        """
        ends = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        if not self._closed:
            self._closed = True
            if self._background is not None and self._background.busy and self._background.wait(timeout_seconds):
                try:
                    self._on_durable(self.finish())
                except StorageError as error:
                    self._on_failed(error)
            self._queue.put(None)
        for thread in (self._thread, self._maker):
            if thread.ident is not None:
                thread.join(None if ends is None else max(ends - time.monotonic(), 0.0))
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
            self._written(time.perf_counter() - started)
        if group:
            if failpoint.active:
                failpoint.hit("log.before_report")
            last = group[-1].seq
            for _ in group:
                self._submitted.popleft()
            self._on_durable(last)
        return going_on

    def _take(self) -> tuple[list[LogBatch], bool]:
        """What is queued, up to the bounds; waits for the first batch. And whether more may come."""
        first = self._queue.get()
        return ([], False) if first is None else _group(first, self._queue.get_nowait, Empty)


def _group(first: LogBatch, take: Callable[[], LogBatch | None], empty: type[Exception]) -> tuple[list[LogBatch], bool]:
    """``first`` and what ``take`` gives, up to the bounds, until that is None, the end (then False), or raises."""
    group, room = [first], GROUP_BYTES - _size(first)
    while room > 0 and len(group) < GROUP_BATCHES:
        try:
            batch = take()
        except empty:
            return group, True
        if batch is None:
            return group, False
        group.append(batch)
        room -= _size(batch)
    return group, True


def _size(batch: LogBatch) -> int:
    return sum([len(entry.data) for entry in batch.entries])
