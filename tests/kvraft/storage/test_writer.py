"""The log's thread: order, grouping, reports, failures. The real store, the real thread."""

from __future__ import annotations

import threading

import pytest

from kvraft.raft.messages import Entry, HardState
from kvraft.storage import failpoint
from kvraft.storage import log as log_module
from kvraft.storage.errors import OutOfSpace, StorageError
from kvraft.storage.log import LogBatch, LogStore, LogWriter

PATIENCE_SECONDS = 30


class Reports:
    """What the thread said, in order. ``hold`` keeps it from going on after a report."""

    def __init__(self) -> None:
        self.durable: list[int] = []
        self.failures: list[StorageError] = []
        self.changed = threading.Condition()
        self.go_on = threading.Event()
        self.go_on.set()

    def on_durable(self, seq: int, seconds: float) -> None:
        assert seconds >= 0
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
def writer(store, reports):
    writer = LogWriter(store, reports.on_durable, reports.on_failed)
    yield writer
    writer.close()


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
    failpoint.configure("log.before_begin=error@1")
    writer.submit(LogBatch(7))
    writer.start()
    reports.wait(lambda: reports.durable == [7])
    assert not reports.failures


def test_a_long_discard_goes_on_by_itself(store, writer, reports, monkeypatch):
    monkeypatch.setattr(log_module, "DISCARD_PER_TRANSACTION", 10)
    writer.submit(LogBatch(1, entries=[Entry(i, 1, 0, b"") for i in range(1, 101)]))
    writer.submit(LogBatch(2, discard_to=95))
    writer.start()
    reports.wait(lambda: reports.durable[-1:] == [2])
    while store.discarding:
        writer.submit(LogBatch(3))
        reports.wait(lambda: reports.durable[-1] == 3)
    assert store.compacted_index == 95


def test_close_writes_what_is_queued(store, writer, reports):
    writer.start()
    for seq in range(1, 20):
        writer.submit(batch(seq, seq))
    writer.close()
    assert reports.durable[-1] == store.last_index == 19
    with pytest.raises(StorageError, match="the log is closed"):
        writer.submit(batch(20, 20))


@pytest.mark.parametrize(
    "point", ["log.before_begin", "log.after_puts", "log.before_commit", "log.after_commit", "log.before_report"]
)
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


def test_a_full_log_file_ends_the_log(tmp_path, reports):
    store = LogStore.open(tmp_path / "small", map_bytes=1 << 20)
    writer = LogWriter(store, reports.on_durable, reports.on_failed)
    writer.start()
    writer.submit(batch(1, 1, size=2 << 20))
    reports.wait(lambda: reports.failures)
    assert isinstance(reports.failures[0], OutOfSpace)
    writer.close()
    store.close()
