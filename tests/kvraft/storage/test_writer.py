"""The log's thread: order, grouping, reports, failures. The real store, the real thread."""

from __future__ import annotations

import threading

import pytest

from kvraft.raft.messages import Entry, HardState
from kvraft.storage import failpoint
from kvraft.storage.errors import OutOfSpace, StorageError
from kvraft.storage.log import LogBatch, LogStore, LogWriter
from kvraft.storage.writer import AT_ONCE_BYTES, FOLLOWER_AT_ONCE_BYTES, QUICK_SECONDS, REST_SECONDS, SLOW_SECONDS

PATIENCE_SECONDS = 30


class Reports:
    """What the thread said, in order. ``hold`` keeps it from going on after a report."""

    def __init__(self) -> None:
        self.durable: list[int] = []
        self.failures: list[StorageError] = []
        self.seconds: list[float] = []
        self.changed = threading.Condition()
        self.go_on = threading.Event()
        self.go_on.set()

    def on_durable(self, seq: int) -> None:
        with self.changed:
            self.durable.append(seq)
            self.changed.notify_all()
        assert self.go_on.wait(PATIENCE_SECONDS)

    def on_failed(self, error: StorageError) -> None:
        with self.changed:
            self.failures.append(error)
            self.changed.notify_all()

    def wait(self, condition) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE_SECONDS)


@pytest.fixture
def reports():
    yield Reports()
    failpoint.configure("")


@pytest.fixture
def store(tmp_path):
    store = LogStore.open(tmp_path)
    yield store
    store.close()


@pytest.fixture
def writer(store, reports, monkeypatch):
    """One that leaves every write to its thread."""
    monkeypatch.setattr("kvraft.storage.writer.AT_ONCE_BYTES", -1)
    writer = LogWriter(store, reports.on_durable, reports.on_failed, reports.seconds.append)
    yield writer
    writer.close()


@pytest.fixture
def quick(monkeypatch):
    """No write counts as slow, however busy the machine is."""
    monkeypatch.setattr("kvraft.storage.writer.SLOW_SECONDS", 600.0)


def batch(seq: int, index: int, size: int = 10) -> LogBatch:
    return LogBatch(seq, HardState(1, 1, index - 1), [Entry(index, 1, 0, b"x" * size)])


def test_what_queues_up_becomes_one_group(store, writer, reports):
    reports.go_on.clear()
    writer.start()
    writer.submit(batch(1, 1))
    reports.wait(lambda: reports.durable == [1])
    for seq in range(2, 50):
        writer.submit(batch(seq, seq))
    assert writer.oldest_pending_seconds() > 0
    reports.go_on.set()
    reports.wait(lambda: reports.durable[-1] == 49)
    assert reports.durable == [1, 49]
    assert writer.oldest_pending_seconds() == 0
    assert (store.last_index, store.hard_state) == (49, HardState(1, 1, 48))


def test_a_group_is_bounded_by_bytes(writer, reports, monkeypatch):
    monkeypatch.setattr("kvraft.storage.writer.GROUP_BYTES", 100)
    for seq in range(1, 5):
        writer.submit(batch(seq, seq, size=50))
    writer.start()
    reports.wait(lambda: reports.durable[-1:] == [4])
    assert reports.durable == [2, 4]


def test_an_empty_batch_is_reported_without_a_transaction(writer, reports):
    failpoint.configure("log.before_write=error@1")
    writer.submit(LogBatch(7))
    writer.start()
    reports.wait(lambda: reports.durable == [7])
    assert not reports.failures


def test_close_writes_what_is_queued(store, writer, reports):
    writer.start()
    for seq in range(1, 20):
        writer.submit(batch(seq, seq))
    writer.close()
    assert reports.durable[-1] == store.last_index == 19
    with pytest.raises(StorageError, match="the log is closed"):
        writer.submit(batch(20, 20))


@pytest.mark.parametrize("point", ["log.before_write", "log.after_write", "log.after_sync", "log.before_report"])
def test_a_failing_disk_ends_the_log(writer, reports, point):
    failpoint.configure(f"{point}=error@2")
    writer.start()
    writer.submit(batch(1, 1))
    reports.wait(lambda: reports.durable == [1])
    writer.submit(batch(2, 2))
    reports.wait(lambda: reports.failures)
    assert reports.durable == [1]
    assert isinstance(reports.failures[0], OutOfSpace)
    assert "no space left on the device" in str(reports.failures[0])
    with pytest.raises(StorageError, match="no longer accepts writes"):
        writer.submit(batch(3, 3))
    assert writer.oldest_pending_seconds() > 0


@pytest.mark.usefixtures("quick")
def test_little_is_written_on_the_spot(store, reports):
    writer = LogWriter(store, reports.on_durable, reports.on_failed, reports.seconds.append)
    assert writer.submit(batch(1, 1))
    assert store.last_index == 1
    assert writer.submit(LogBatch(2))
    assert not writer.submit(batch(3, 2, size=AT_ONCE_BYTES + 1))
    assert store.last_index == 1, "much is the thread's"
    assert not writer.submit(batch(4, 3)), "and what comes behind it goes behind it"
    writer.start()
    reports.wait(lambda: reports.durable[-1:] == [4])
    assert store.last_index == 3
    assert writer.submit(batch(5, 4))
    writer.close()
    assert min(reports.seconds) >= 0
    assert len(reports.seconds) >= 3


def test_a_follower_writes_more_on_the_spot_while_its_disk_is_quick(store, reports, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("kvraft.storage.writer.time.monotonic", lambda: now[0])
    writer = LogWriter(store, reports.on_durable, reports.on_failed, reports.seconds.append)
    write, takes = store.write, [0.0]

    def taking(group):
        write(group)
        now[0] += takes[0]

    monkeypatch.setattr(store, "write", taking)
    writer.start()
    assert writer.submit(batch(1, 1, size=FOLLOWER_AT_ONCE_BYTES), leads=False)
    assert not writer.submit(batch(2, 2, size=FOLLOWER_AT_ONCE_BYTES + 1), leads=False)
    reports.wait(lambda: reports.durable == [2])
    assert not writer.submit(batch(3, 3, size=AT_ONCE_BYTES + 1), leads=True)
    reports.wait(lambda: reports.durable == [2, 3])
    takes[0] = 2 * QUICK_SECONDS
    assert writer.submit(batch(4, 4, size=AT_ONCE_BYTES), leads=False)
    assert not writer.submit(batch(5, 5, size=AT_ONCE_BYTES + 1), leads=False)
    takes[0] = 0.0
    reports.wait(lambda: reports.durable == [2, 3, 5])
    assert writer.submit(batch(6, 6, size=AT_ONCE_BYTES), leads=False)
    assert writer.submit(batch(7, 7, size=FOLLOWER_AT_ONCE_BYTES), leads=False)
    writer.close()


def test_after_a_slow_write_the_thread_writes_for_a_while(store, reports, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("kvraft.storage.writer.time.monotonic", lambda: now[0])
    writer = LogWriter(store, reports.on_durable, reports.on_failed, reports.seconds.append)
    write = store.write

    def slowly(group):
        write(group)
        now[0] += SLOW_SECONDS * 2

    monkeypatch.setattr(store, "write", slowly)
    assert writer.submit(batch(1, 1))
    assert reports.seconds == [pytest.approx(SLOW_SECONDS * 2)]
    writer.start()
    now[0] += REST_SECONDS / 2
    assert not writer.submit(batch(2, 2))
    reports.wait(lambda: reports.durable == [2])
    now[0] += REST_SECONDS
    assert writer.submit(batch(3, 3))
    writer.close()


@pytest.mark.parametrize("point", ["log.before_write", "log.after_write", "log.after_sync"])
@pytest.mark.usefixtures("quick")
def test_a_disk_that_fails_on_the_spot_ends_the_log(store, reports, point):
    writer = LogWriter(store, reports.on_durable, reports.on_failed, reports.seconds.append)
    failpoint.configure(f"{point}=error@2")
    assert writer.submit(batch(1, 1))
    with pytest.raises(OutOfSpace, match="no space left on the device"):
        writer.submit(batch(2, 2))
    with pytest.raises(StorageError, match="no longer accepts writes"):
        writer.submit(batch(3, 3))
