"""Syncs that the kernel does: of the log's writer, and by themselves. The real kernel, where it lets us."""

from __future__ import annotations

import os
import threading

import pytest

from kvraft.raft.messages import Entry
from kvraft.storage import failpoint, segment
from kvraft.storage.background import BackgroundSync
from kvraft.storage.errors import OutOfSpace, StorageError
from kvraft.storage.log import LogBatch, LogStore, LogWriter
from kvraft.storage.writer import AT_ONCE_BYTES, BACKGROUND_BYTES, REST_SECONDS, SLOW_SECONDS
from tests.kvraft.storage.test_writer import Reports

PATIENCE_SECONDS = 30.0


@pytest.fixture
def sync(store):
    sync = store.background_sync()
    if sync is None:
        pytest.skip("this system has no asynchronous I/O for us")
    yield sync
    assert not sync.busy
    sync.close()


@pytest.fixture
def reports():
    yield Reports()
    failpoint.configure("")


@pytest.fixture
def store(tmp_path):
    store = LogStore.open(tmp_path / "log")
    yield store
    store.close()


@pytest.fixture
def writer(store, reports, sync, monkeypatch):
    monkeypatch.setattr("kvraft.storage.writer.SLOW_SECONDS", 600.0)  # however busy the machine is
    writer = LogWriter(store, reports.on_durable, reports.on_failed, reports.seconds.append, sync)
    writer.start()
    yield writer
    writer.close()


def much(seq: int, index: int, **more) -> LogBatch:
    return LogBatch(seq, entries=[Entry(index, 1, 0, b"x" * (AT_ONCE_BYTES + 1))], **more)


def little(seq: int, index: int) -> LogBatch:
    return LogBatch(seq, entries=[Entry(index, 1, 0, b"x")])


def ended(writer: LogWriter, sync: BackgroundSync) -> int:
    assert sync.wait(PATIENCE_SECONDS)
    return writer.finish()


def test_a_sync_tells_by_its_descriptor_that_it_has_ended(sync, tmp_path):
    with open(tmp_path / "file", "wb") as file:
        for _ in range(3):
            file.write(b"x" * 10_000)
            file.flush()
            sync.start(file.fileno())
            assert sync.busy
            assert sync.wait(PATIENCE_SECONDS)
            assert sync.finish()
            assert not sync.busy
            assert not sync.finish()
            assert not sync.wait(0)


def test_what_cannot_be_synced_is_an_error(sync):
    reading, writing = os.pipe()
    with pytest.raises(OSError, match="Invalid argument"):
        sync.start(writing)
    os.close(reading)
    os.close(writing)
    with pytest.raises(OSError, match="Bad file descriptor"):
        sync.start(writing)
    assert not sync.busy


def test_where_there_is_none_there_is_none(store, monkeypatch):
    reading, writing = os.pipe()
    assert BackgroundSync.open(writing) is None
    os.close(reading)
    os.close(writing)
    with monkeypatch.context() as patched:
        patched.setattr(BackgroundSync, "wait", lambda *_: False)  # the disk hangs
        assert store.background_sync() is None
    monkeypatch.setattr("kvraft.storage.background.platform.machine", lambda: "abacus")
    assert store.background_sync() is None


def test_a_log_that_is_not_synced_needs_none(tmp_path):
    store = LogStore.open(tmp_path, sync=False)
    assert store.background_sync() is None
    store.close()


def test_much_is_synced_by_the_kernel_and_what_comes_meanwhile_together(store, writer, sync, reports):
    assert not writer.submit(much(1, 1))
    assert sync.busy
    assert store.last_index == 1, "it has been written"
    for seq in range(2, 6):
        assert not writer.submit(little(seq, seq))
    assert store.last_index == 1
    assert writer.oldest_pending_seconds() > 0
    assert ended(writer, sync) == 1
    assert store.last_index == 5, "one record of all that had queued up"
    assert ended(writer, sync) == 5
    assert writer.finish() == 0, "nothing is under way"
    assert writer.oldest_pending_seconds() == 0
    assert writer.submit(little(6, 6)), "on the spot again"
    assert len(reports.seconds) == 3
    assert not reports.durable, "the thread has had nothing to do"


def test_a_new_file_is_the_threads_and_what_comes_behind_it_goes_behind_it(store, writer, sync, reports, monkeypatch):
    monkeypatch.setattr(segment, "SEGMENT_BYTES", 2 * AT_ONCE_BYTES)
    go_on, write = threading.Event(), store.write
    monkeypatch.setattr(store, "write", lambda group: go_on.wait(PATIENCE_SECONDS) and write(group))
    for seq in range(1, 5):
        writer.submit(much(seq, seq))
    assert ended(writer, sync) == 1
    assert not sync.busy
    assert not writer.submit(little(5, 5))
    go_on.set()
    reports.wait(lambda: reports.durable[-1:] == [5])
    assert store.last_index == 5
    writer.submit(much(6, 6))


def test_very_much_is_the_threads(store, writer, sync, reports):
    assert not writer.submit(LogBatch(1, entries=[Entry(1, 1, 0, b"x" * (BACKGROUND_BYTES + 1))]))
    assert not sync.busy
    reports.wait(lambda: reports.durable == [1])
    assert not writer.submit(much(2, 2))
    assert sync.busy
    assert ended(writer, sync) == 2


def test_nothing_is_forgotten_before_that_is_durable(store, writer, sync, monkeypatch):
    monkeypatch.setattr(segment, "SEGMENT_BYTES", 3 * AT_ONCE_BYTES)
    store.write([much(0, 1)])
    store.write([much(0, 2)])
    store.write([much(0, 3)])
    before = sorted(name for name in os.listdir(store.path) if name.endswith(segment.SUFFIX))
    assert len(before) > 1
    assert not writer.submit(much(1, 4, discard_to=3))
    assert sync.wait(PATIENCE_SECONDS)
    assert sorted(name for name in os.listdir(store.path) if name.endswith(segment.SUFFIX)) == before
    assert writer.finish() == 1
    assert store.compacted_index == 3
    assert len([name for name in os.listdir(store.path) if name.endswith(segment.SUFFIX)]) < len(before)


def test_closing_waits_for_the_kernel_and_writes_the_rest(store, writer, sync, reports):
    writer.submit(much(1, 1))
    writer.submit(little(2, 2))
    assert writer.running
    assert writer.close(PATIENCE_SECONDS)
    assert reports.durable == [1, 2]
    assert store.last_index == 2
    with pytest.raises(StorageError, match="the log is closed"):
        writer.submit(little(3, 3))


def test_a_disk_that_hangs_keeps_the_store_from_being_closed(store, writer, sync, monkeypatch):
    writer.submit(much(1, 1))
    with monkeypatch.context() as patched:
        patched.setattr(sync, "wait", lambda _: False)
        assert not writer.close(0.0)
    assert writer.running
    assert sync.wait(PATIENCE_SECONDS)
    assert writer.finish() == 1


def test_after_a_slow_write_the_thread_writes_for_a_while(store, writer, sync, reports, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("kvraft.storage.writer.SLOW_SECONDS", SLOW_SECONDS)
    monkeypatch.setattr("kvraft.storage.writer.time.monotonic", lambda: now[0])
    write = store.write_unsynced

    def slowly(group):
        now[0] += SLOW_SECONDS * 2
        return write(group)

    with monkeypatch.context() as patched:
        patched.setattr(store, "write_unsynced", slowly)
        assert not writer.submit(much(1, 1))
    writer.submit(little(2, 2))
    assert ended(writer, sync) == 1
    assert not sync.busy
    reports.wait(lambda: reports.durable == [2])
    now[0] += REST_SECONDS
    writer.submit(much(3, 3))
    assert sync.busy
    assert ended(writer, sync) == 3


@pytest.mark.parametrize("point", ["log.before_write", "log.after_write"])
def test_a_disk_that_is_full_ends_the_log(writer, reports, point):
    failpoint.configure(f"{point}=error@1")
    with pytest.raises(OutOfSpace, match="no space left on the device"):
        writer.submit(much(1, 1))
    with pytest.raises(StorageError, match="no longer accepts writes"):
        writer.submit(little(2, 2))


@pytest.mark.parametrize("point", ["log.after_sync", "log.before_report", ""])
def test_a_sync_that_fails_ends_the_log(writer, sync, monkeypatch, point):
    writer.submit(much(1, 1))
    writer.submit(little(2, 2))
    if point:
        failpoint.configure(f"{point}=error@1")
    else:
        finish = sync.finish

        def failing():
            finish()
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(sync, "finish", failing)
    with pytest.raises(StorageError):
        ended(writer, sync)
    with pytest.raises(StorageError, match="no longer accepts writes"):
        writer.submit(little(3, 3))
    with pytest.raises(StorageError):
        writer.finish()


def test_the_next_file_is_got_ready_by_a_thread_of_its_own(store, writer, sync, monkeypatch):
    monkeypatch.setattr(segment, "SEGMENT_BYTES", 3 * AT_ONCE_BYTES)
    store._spares._size = 3 * AT_ONCE_BYTES
    writer.submit(much(1, 1))
    assert ended(writer, sync) == 1
    writer.submit(much(2, 2))
    writer._maker.join(PATIENCE_SECONDS)
    assert len(store._spares) == 1
    assert ended(writer, sync) == 2


def test_without_another_thread_there_is_no_file_ready(store, writer, sync, monkeypatch):
    """And nothing else is lost by that."""

    def refused(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(segment, "SEGMENT_BYTES", 3 * AT_ONCE_BYTES)
    monkeypatch.setattr(threading.Thread, "start", refused)
    for seq in (1, 2):
        writer.submit(much(seq, seq))
        assert ended(writer, sync) == seq
    assert store.wants_spare
    assert store.last_index == 2
