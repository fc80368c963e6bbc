"""Writes that the kernel does: of the log's writer, and by themselves. The real kernel, where it lets us."""

from __future__ import annotations

import os
import threading
from contextlib import closing
from random import Random

import pytest

from kvraft.raft.messages import Entry
from kvraft.storage import failpoint, segment
from kvraft.storage.background import BackgroundWrite
from kvraft.storage.direct import BLOCK_BYTES
from kvraft.storage.errors import OutOfSpace, StorageError
from kvraft.storage.log import LogBatch, LogStore, LogWriter
from kvraft.storage.writer import AT_ONCE_BYTES, BACKGROUND_BYTES, REST_SECONDS, SLOW_SECONDS
from tests.kvraft.storage.test_writer import Reports

PATIENCE_SECONDS = 30.0


@pytest.fixture
def background(store):
    background = store.background_write()
    if background is None:
        pytest.skip("this system, or this file system, has no direct asynchronous I/O for us")
    yield background
    if background.busy:
        assert background.wait(PATIENCE_SECONDS)
        assert background.finish()
    background.close()


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
def writer(store, reports, background, monkeypatch):
    monkeypatch.setattr("kvraft.storage.writer.SLOW_SECONDS", 600.0)  # however busy the machine is
    writer = LogWriter(store, reports.on_durable, reports.on_failed, reports.seconds.append, background)
    writer.start()
    yield writer
    writer.close()


def much(seq: int, index: int, **more) -> LogBatch:
    return LogBatch(seq, entries=[Entry(index, 1, 0, b"x" * (AT_ONCE_BYTES + 1))], **more)


def little(seq: int, index: int) -> LogBatch:
    return LogBatch(seq, entries=[Entry(index, 1, 0, b"x")])


def ended(writer: LogWriter, background: BackgroundWrite) -> int:
    assert background.wait(PATIENCE_SECONDS)
    return writer.finish()


def test_a_write_tells_by_its_descriptor_that_it_has_ended(store, background, tmp_path):
    (tmp_path / "file").touch()
    for _ in range(3):
        place = store._direct.fill(str(tmp_path / "file"), b"x" * BLOCK_BYTES, BLOCK_BYTES + len(store._direct._tail))
        assert background.start(*place)
        assert background.busy
        assert background.wait(PATIENCE_SECONDS)
        assert background.finish()
        assert not background.busy
        assert not background.finish()
        assert not background.wait(0)
    assert b"x" * BLOCK_BYTES in (tmp_path / "file").read_bytes()


def test_what_the_kernel_does_not_take_is_not_started(background, tmp_path):
    (tmp_path / "file").touch()
    with open(tmp_path / "file", "rb") as file:
        assert not background.start(file.fileno(), 0, BLOCK_BYTES)
    assert not background.busy


def test_what_is_not_written_whole_is_an_error(store, background, tmp_path):
    (tmp_path / "file").touch()
    background.start(store._direct.fill(str(tmp_path / "file"), b"", 0)[0], 0, BLOCK_BYTES)
    assert background.wait(PATIENCE_SECONDS)
    background._block.size = 2 * BLOCK_BYTES
    with pytest.raises(OSError, match="4096 of 8192 bytes were written"):
        background.finish()
    assert not background.busy


def test_where_there_is_none_there_is_none(store, background, monkeypatch, caplog):
    def failing(self):
        background_finish(self)
        raise OSError(5, "Input/output error")

    background_finish = BackgroundWrite.finish
    caplog.set_level("INFO")
    with open(os.path.join(store.path, "owner"), "rb") as unwritable, pytest.raises(OSError, match="Bad file"):
        BackgroundWrite.open(store._direct.buffer, unwritable.fileno(), 0, BLOCK_BYTES)
    with monkeypatch.context() as patched:
        patched.setattr(BackgroundWrite, "finish", failing)
        assert store.background_write() is None
    monkeypatch.setattr("kvraft.storage.background.platform.machine", lambda: "abacus")
    assert store.background_write() is None
    assert [record.getMessage() for record in caplog.records] == ["a thread writes the larger records of the log"] * 2


def test_a_log_that_is_not_synced_needs_none(tmp_path):
    store = LogStore.open(tmp_path, sync=False)
    assert store.background_write() is None
    store.close()


@pytest.mark.parametrize("lacking", ["kvraft.storage.direct._DIRECT", "kvraft.storage.direct._DURABLE", "os.pwritev"])
def test_where_nothing_goes_past_the_page_cache_all_goes_through_it(tmp_path, monkeypatch, caplog, lacking):
    def refused(*_):
        raise OSError(22, "Invalid argument")

    fails = lacking.startswith("os")
    monkeypatch.setattr(lacking, refused if fails else 0)
    caplog.set_level("INFO")
    entries = [Entry(index, 1, 0, b"x" * 5000) for index in range(1, 5)]
    with closing(LogStore.open(tmp_path)) as store:
        assert store.background_write() is None
        for entry in entries:
            store.write([LogBatch(0, entries=[entry])])
    assert ("the log goes through the page cache" in caplog.text) == fails
    monkeypatch.undo()
    with closing(LogStore.open(tmp_path)) as store:
        assert store.entries(1, 5, 1 << 20) == entries


def test_without_a_descriptor_it_goes_through_the_page_cache_for_once(store, background, monkeypatch):
    def refused(*_):
        raise OSError(24, "Too many open files")

    entries = [Entry(index, 1, 0, b"x" * 5000) for index in range(1, 4)]
    store.write([LogBatch(0, entries=entries[:1])])
    store._direct.close()
    with monkeypatch.context() as patched:
        patched.setattr("kvraft.storage.direct.os.open", refused)
        assert not store.begin([LogBatch(0, entries=entries[1:2])], background)
        store.write([LogBatch(0, entries=entries[1:2])])
    assert store.begin([LogBatch(0, entries=entries[2:])], background)
    assert background.wait(PATIENCE_SECONDS)
    assert background.finish()
    store.end()
    assert store.entries(1, 4, 1 << 20) == entries


def test_much_is_written_by_the_kernel_and_what_comes_meanwhile_together(store, writer, background, reports):
    assert not writer.submit(much(1, 1))
    assert background.busy
    for seq in range(2, 6):
        assert not writer.submit(little(seq, seq))
    assert store.last_index == 0, "it is known once it is durable"
    assert writer.oldest_pending_seconds() > 0
    assert ended(writer, background) == 1
    assert store.last_index == 1
    assert ended(writer, background) == 5
    assert store.last_index == 5, "one record of all that had queued up"
    assert writer.finish() == 0, "nothing is under way"
    assert writer.oldest_pending_seconds() == 0
    assert writer.submit(little(6, 6)), "on the spot again"
    assert len(reports.seconds) == 3
    assert not reports.durable, "the thread has had nothing to do"


@pytest.mark.usefixtures("background")  # or there is none
@pytest.mark.parametrize("seed", range(20))
def test_records_of_any_size_are_found_again_whoever_wrote_them(tmp_path, seed):
    """Each begins in the middle of a block that is written again, by either way."""
    random, sizes = Random(seed), (1, 100, 4000, 5000, 9000)
    print(f"seed {seed}")
    written = [Entry(index, 1, 0, random.randbytes(random.choice(sizes))) for index in range(1, 60)]
    with closing(LogStore.open(tmp_path / "sizes")) as store, closing(store.background_write()) as background:
        for entry in written:
            group = [LogBatch(0, entries=[entry])]
            if random.random() < 0.5:
                store.write(group)
                continue
            assert store.begin(group, background)
            assert background.wait(PATIENCE_SECONDS)
            assert background.finish()
            store.end()
        assert store.entries(1, 60, 1 << 30) == written
    with closing(LogStore.open(tmp_path / "sizes")) as store:
        assert store.entries(1, 60, 1 << 30) == written


def test_a_new_file_is_the_threads_and_what_follows_goes_behind_it(store, writer, background, reports, monkeypatch):
    monkeypatch.setattr(segment, "SEGMENT_BYTES", 2 * AT_ONCE_BYTES)
    go_on, write = threading.Event(), store.write
    monkeypatch.setattr(store, "write", lambda group: go_on.wait(PATIENCE_SECONDS) and write(group))
    for seq in range(1, 5):
        writer.submit(much(seq, seq))
    assert ended(writer, background) == 1
    assert not background.busy
    assert not writer.submit(little(5, 5))
    go_on.set()
    reports.wait(lambda: reports.durable[-1:] == [5])
    assert store.last_index == 5
    writer.submit(much(6, 6))


def test_very_much_is_the_threads(store, writer, background, reports):
    assert not writer.submit(LogBatch(1, entries=[Entry(1, 1, 0, b"x" * (BACKGROUND_BYTES + 1))]))
    assert not background.busy
    reports.wait(lambda: reports.durable == [1])
    assert not writer.submit(much(2, 2))
    assert background.busy
    assert ended(writer, background) == 2


def test_what_the_kernel_does_not_take_is_the_threads(store, writer, background, reports, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(background, "start", lambda *_: False)
        assert not writer.submit(much(1, 1))
    reports.wait(lambda: reports.durable == [1])
    assert not writer.submit(much(2, 2))
    assert background.busy
    assert ended(writer, background) == 2
    assert len(store.entries(1, 3, 1 << 20)) == 2


def test_nothing_is_forgotten_before_that_is_durable(store, writer, background, monkeypatch):
    monkeypatch.setattr(segment, "SEGMENT_BYTES", 3 * AT_ONCE_BYTES)
    store.write([much(0, 1)])
    store.write([much(0, 2)])
    store.write([much(0, 3)])
    before = sorted(name for name in os.listdir(store.path) if name.endswith(segment.SUFFIX))
    assert len(before) > 1
    assert not writer.submit(much(1, 4, discard_to=3))
    assert background.wait(PATIENCE_SECONDS)
    assert sorted(name for name in os.listdir(store.path) if name.endswith(segment.SUFFIX)) == before
    assert writer.finish() == 1
    assert store.compacted_index == 3
    assert len([name for name in os.listdir(store.path) if name.endswith(segment.SUFFIX)]) < len(before)


def test_closing_waits_for_the_kernel_and_writes_the_rest(store, writer, background, reports):
    writer.submit(much(1, 1))
    writer.submit(little(2, 2))
    assert writer.running
    assert writer.close(PATIENCE_SECONDS)
    assert reports.durable == [1, 2]
    assert store.last_index == 2
    with pytest.raises(StorageError, match="the log is closed"):
        writer.submit(little(3, 3))


def test_a_disk_that_hangs_keeps_the_store_from_being_closed(store, writer, background, monkeypatch):
    writer.submit(much(1, 1))
    with monkeypatch.context() as patched:
        patched.setattr(background, "wait", lambda _: False)
        assert not writer.close(0.0)
    assert writer.running
    assert background.wait(PATIENCE_SECONDS)
    assert writer.finish() == 1


def test_after_a_slow_write_the_thread_writes_for_a_while(store, writer, background, reports, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("kvraft.storage.writer.SLOW_SECONDS", SLOW_SECONDS)
    monkeypatch.setattr("kvraft.storage.writer.time.monotonic", lambda: now[0])
    begin = store.begin

    def slowly(*work):
        now[0] += SLOW_SECONDS * 2
        return begin(*work)

    with monkeypatch.context() as patched:
        patched.setattr(store, "begin", slowly)
        assert not writer.submit(much(1, 1))
    writer.submit(little(2, 2))
    assert ended(writer, background) == 1
    assert not background.busy
    reports.wait(lambda: reports.durable == [2])
    now[0] += REST_SECONDS
    writer.submit(much(3, 3))
    assert background.busy
    assert ended(writer, background) == 3


@pytest.mark.parametrize("point", ["log.before_write", "log.after_write"])
def test_a_disk_that_is_full_ends_the_log(writer, reports, point):
    failpoint.configure(f"{point}=error@1")
    with pytest.raises(OutOfSpace, match="no space left on the device"):
        writer.submit(much(1, 1))
    with pytest.raises(StorageError, match="no longer accepts writes"):
        writer.submit(little(2, 2))
    assert writer.close(PATIENCE_SECONDS), "nothing is under way"


@pytest.mark.parametrize("point", ["log.after_sync", "log.before_report", ""])
def test_a_write_that_fails_ends_the_log(writer, background, monkeypatch, point):
    writer.submit(much(1, 1))
    writer.submit(little(2, 2))
    if point:
        failpoint.configure(f"{point}=error@1")
    else:
        finish = background.finish

        def failing():
            finish()
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(background, "finish", failing)
    with pytest.raises(StorageError):
        ended(writer, background)
    with pytest.raises(StorageError, match="no longer accepts writes"):
        writer.submit(little(3, 3))
    with pytest.raises(StorageError):
        writer.finish()


def test_the_next_file_is_got_ready_by_a_thread_of_its_own(store, writer, background, monkeypatch):
    monkeypatch.setattr(segment, "SEGMENT_BYTES", 4 * AT_ONCE_BYTES)
    store._spares._size = 4 * AT_ONCE_BYTES
    for seq in (1, 2):
        writer.submit(much(seq, seq))
        assert ended(writer, background) == seq
    writer.submit(much(3, 3))
    writer._maker.join(PATIENCE_SECONDS)
    assert len(store._spares) == 1
    assert ended(writer, background) == 3


def test_without_another_thread_there_is_no_file_ready(store, writer, background, monkeypatch):
    """And nothing else is lost by that."""

    def refused(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(segment, "SEGMENT_BYTES", 3 * AT_ONCE_BYTES)
    monkeypatch.setattr(threading.Thread, "start", refused)
    for seq in (1, 2):
        writer.submit(much(seq, seq))
        assert ended(writer, background) == seq
    assert store.wants_spare
    assert store.last_index == 2
