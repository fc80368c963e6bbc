"""Files of the log that are written to again."""

from __future__ import annotations

import os

import pytest

from kvraft.raft.messages import Entry
from kvraft.storage import log as log_module
from kvraft.storage import segment, spares
from kvraft.storage.direct import BLOCK_BYTES
from kvraft.storage.log import LogBatch, LogStore, LogWriter

SIZE = BLOCK_BYTES


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(segment, "SEGMENT_BYTES", SIZE)
    store = LogStore.open(tmp_path)
    yield store
    store.close()


def entry(index: int) -> Entry:
    return Entry(index, 1, 0, b"%d" % index + b"." * 720)


def fill(store: LogStore, first: int, end: int, discard: bool = False) -> None:
    """Entries from ``first`` to before ``end``, one in each record, five to a file."""
    for index in range(first, end):
        store.write([LogBatch(index, entries=[entry(index)], discard_to=index - 1 if discard else 0)])


def names(store: LogStore, suffix: str) -> list[str]:
    return sorted(name for name in os.listdir(store.path) if name.endswith(suffix))


def inodes(store: LogStore, suffix: str) -> set[int]:
    return {os.stat(os.path.join(store.path, name)).st_ino for name in names(store, suffix)}


def test_a_file_that_is_forgotten_becomes_a_later_one(store):
    fill(store, 1, 40)
    before = inodes(store, ".log")
    store.write([LogBatch(40, discard_to=39)])
    kept = inodes(store, spares.SUFFIX)
    assert len(kept) == spares.LIMIT < len(before) - 1
    assert kept < before
    assert len(names(store, ".log")) == 1
    fill(store, 40, 60)
    assert kept < inodes(store, ".log")
    assert not names(store, spares.SUFFIX)


def test_what_a_file_held_before_is_not_taken_for_what_it_holds(tmp_path, monkeypatch):
    """Every file has been another one before; the end of what is in it is found all the same."""
    monkeypatch.setattr(segment, "SEGMENT_BYTES", SIZE)
    store = LogStore.open(tmp_path)
    fill(store, 1, 200, discard=True)
    assert len(names(store, spares.SUFFIX)) == 1, "written over and over"
    for index in range(200, 212):
        store.close()
        store = LogStore.open(tmp_path)
        assert (store.compacted_index, store.last_index) == (index - 2, index - 1)
        assert store.entries(index - 1, index, 1000) == [entry(index - 1)]
        fill(store, index, index + 1, discard=True)
    store.close()


def test_its_old_name_is_gone_for_good_before_it_is_written_to(store, monkeypatch):
    """Else a loss of power could leave what it holds under the name of what it held."""
    fill(store, 1, 20)
    store.write([LogBatch(20, discard_to=19)])
    done = []

    def noted(module, name):
        real = getattr(module, name)

        def wrapper(*arguments):
            done.append(name)
            return real(*arguments)

        monkeypatch.setattr(module, name, wrapper)

    noted(spares, "sync_directory")
    noted(log_module, "sync_directory")
    noted(segment, "write_all")
    noted(log_module, "_sync_data")
    monkeypatch.setattr(log_module.os, "fsync", lambda descriptor: done.append("fsync"))
    first = names(store, ".log")
    for index in range(20, 30):
        done.clear()
        fill(store, index, index + 1)
        if names(store, ".log") != first:
            break
    assert done == ["sync_directory", "fsync", "write_all", "fsync", "sync_directory", "fsync"]


def test_the_next_file_is_made_ready_when_this_one_is_half_full(store):
    made_at = []
    for index in range(1, 15):
        fill(store, index, index + 1)
        if store.wants_spare:
            store.make_spare()
            made_at.append(index)
            (name,) = names(store, spares.SUFFIX)
            path = os.path.join(store.path, name)
            assert os.stat(path).st_size == SIZE
            with open(path, "rb") as file:
                assert not file.read().strip(b"\0")
            assert not store.wants_spare
    assert len(made_at) >= 2
    assert made_at[0] > 1


@pytest.mark.parametrize("leads", [True, False], ids=["leader", "follower"])
def test_it_is_made_however_the_log_is_written(store, monkeypatch, leads):
    """On the spot too."""
    monkeypatch.setattr("kvraft.storage.writer.SLOW_SECONDS", 600.0)  # however busy the machine is
    writer = LogWriter(store, lambda _: None, lambda _: None)
    for index in range(1, 5):
        assert writer.submit(LogBatch(index, entries=[entry(index)]), leads=leads)
    assert writer.close()
    assert len(names(store, spares.SUFFIX)) == 1


def test_what_is_there_is_taken_over(store, tmp_path):
    for name, size in (("a", SIZE), ("b", SIZE - 1), ("c", SIZE), ("d", SIZE)):
        (tmp_path / (name + spares.SUFFIX)).write_bytes(b"x" * size)
    (tmp_path / ("e" + spares.SUFFIX + ".new")).write_bytes(b"")
    known = spares.Spares(str(tmp_path), SIZE)
    assert len(known) == spares.LIMIT
    assert len(names(store, spares.SUFFIX)) == spares.LIMIT
    assert not names(store, ".new")
    assert {known.take() for _ in range(3)} == {None} | {str(tmp_path / name) for name in names(store, spares.SUFFIX)}


def test_a_full_disk_has_room_for_none(store, monkeypatch):
    """That is no failure of the log: it may have all the room that it needs."""

    def full(*_):
        raise OSError(28, "No space left on device")

    fill(store, 1, 5)
    assert store.wants_spare
    monkeypatch.setattr(spares.os, "fsync", full)
    store.make_spare()
    assert not store.wants_spare
    assert not names(store, spares.SUFFIX)
    assert not names(store, ".new")


def test_a_log_that_is_not_synced_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr(segment, "SEGMENT_BYTES", SIZE)
    store = LogStore.open(tmp_path, sync=False)
    fill(store, 1, 40, discard=True)
    assert not store.wants_spare
    assert not names(store, spares.SUFFIX)
    store.close()
