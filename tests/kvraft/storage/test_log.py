"""The log store against a list, across reopening; its refusals; what a crash between state and log leaves."""

from __future__ import annotations

import os
import shutil
import tempfile
from itertools import pairwise
from pathlib import Path

import lmdb
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kvraft.raft.messages import Configuration, Entry, HardState, SnapshotMeta
from kvraft.storage import failpoint, segment
from kvraft.storage import log as log_module
from kvraft.storage.errors import FormatTooNew, InUse, OutOfSpace, StorageError
from kvraft.storage.log import LogBatch, LogMeta, LogStore

ONE = Configuration((1,))
FIRST_FILE = "0000000000000001.log"


def entries(first: int, count: int, term: int = 1, size: int = 3) -> list[Entry]:
    return [Entry(index, term, 0, b"%d." % index * size) for index in range(first, first + count)]


@pytest.fixture
def store(tmp_path):
    store = LogStore.open(tmp_path / "log")
    yield store
    store.close()


def test_a_new_log_is_empty(store):
    assert (store.hard_state, store.last_index) == (HardState(), 0)
    assert (store.compacted_index, store.compacted_term) == (0, 0)
    assert store.term(0) == 0
    assert store.entries(1, 1, 100) == []
    with pytest.raises(KeyError):
        store.term(1)
    with pytest.raises(KeyError):
        store.entries(1, 2, 100)


def test_reads_are_bounded_by_bytes_but_never_empty(store):
    store.write([LogBatch(1, entries=[Entry(i, 1, 0, b"x" * 10) for i in range(1, 6)])])
    assert [e.index for e in store.entries(2, 6, 25)] == [2, 3]
    assert [e.index for e in store.entries(2, 6, 1)] == [2]
    assert [e.index for e in store.entries(2, 4, 1000)] == [2, 3]
    assert [e.index for e in store.entries(4, 9, 1000)] == [4, 5]
    with pytest.raises(KeyError):
        store.entries(6, 9, 1000)


def test_entries_must_follow(store):
    store.write([LogBatch(1, entries=entries(1, 2))])
    with pytest.raises(StorageError, match=r"entry 4 does not follow 0\.\.2"):
        store.write([LogBatch(2, entries=entries(4, 1))])
    with pytest.raises(StorageError, match="entry 9 where 4 was due"):
        store.write([LogBatch(2, entries=[*entries(3, 1), *entries(9, 1)])])
    store.write([LogBatch(2, discard_to=1)])
    with pytest.raises(StorageError, match=r"entry 1 does not follow 1\.\.2"):
        store.write([LogBatch(3, entries=entries(1, 1))])
    assert store.last_index == 2


def test_nothing_of_a_group_that_fails_is_written(store):
    with pytest.raises(StorageError):
        store.write([LogBatch(1, HardState(5, 1, 0), entries(1, 2)), LogBatch(2, entries=entries(9, 1))])
    assert (store.last_index, store.hard_state) == (0, HardState())


def files(store: LogStore) -> list[str]:
    return sorted(name for name in os.listdir(store.path) if name.endswith(segment.SUFFIX))


def test_what_is_discarded_goes_file_by_file(store, monkeypatch):
    monkeypatch.setattr(segment, "SEGMENT_BYTES", 400)
    for index in range(1, 26):
        store.write([LogBatch(index, entries=entries(index, 1, term=3))])
    assert len(files(store)) > 3
    before = store.size_bytes()
    store.write([LogBatch(26, discard_to=24)])
    assert (store.compacted_index, store.compacted_term) == (24, 3)
    assert len(files(store)) <= 2
    assert store.size_bytes() < before
    assert store.entries(25, 26, 100) == entries(25, 1, term=3)
    with pytest.raises(KeyError):
        store.entries(24, 26, 100)


def test_where_the_last_files_begin(store, monkeypatch):
    monkeypatch.setattr(segment, "SEGMENT_BYTES", 400)
    assert store.first_of_last(1) == 1
    for index in range(1, 26):
        store.write([LogBatch(index, entries=entries(index, 1, term=3))])
    begins = [known.first for known in store._segments]
    assert store.first_of_last(1) == begins[-1]
    assert store.first_of_last(store.size_bytes()) == 1
    assert store.first_of_last(1 << 40) == 1
    assert store.first_of_last(store.size_bytes() - 300) == begins[0]
    assert store.first_of_last(store.size_bytes() - 400) == begins[1]
    store.write([LogBatch(26, discard_to=store.first_of_last(500) - 1)])
    assert len(files(store)) == len([first for first in begins if first >= store.first_of_last(500)])


def test_a_discard_ends_with_the_log(store):
    store.write([LogBatch(1, entries=entries(1, 3), discard_to=99)])
    assert (store.compacted_index, store.last_index) == (3, 3)
    store.write([LogBatch(2, entries=entries(4, 1))])
    assert store.last_index == 4


def test_two_processes_cannot_share_a_log(tmp_path, store):
    with pytest.raises(InUse, match="in use by another process"):
        LogStore.open(tmp_path / "log")


def test_a_later_format_is_refused(tmp_path):
    LogStore.open(tmp_path).close()
    path = tmp_path / FIRST_FILE
    data = path.read_bytes()
    path.write_bytes(data[:12] + (99).to_bytes(4, "little") + data[16:])
    for _ in range(2):  # the first refusal releases the files
        with pytest.raises(FormatTooNew, match="format 99 was written by a later version; this one reads up to 2"):
            LogStore.open(tmp_path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [(FIRST_FILE, "this is no file of a log"), ("mine.log", "invalid literal"), ("log.mdb", r"log\.mdb: ")],
)
def test_a_file_that_is_no_log_is_refused(tmp_path, name, reason):
    (tmp_path / name).write_bytes(b"no log file" * 1000)
    with pytest.raises(StorageError, match=reason):
        LogStore.open(tmp_path)


def test_a_full_disk_is_named_and_changes_nothing(store):
    failpoint.configure("log.after_write=error@1")
    try:
        with pytest.raises(OutOfSpace, match=r"log: no space left on the device"):
            store.write([LogBatch(1, entries=entries(1, 20))])
    finally:
        failpoint.configure("")
    store.write([LogBatch(1, entries=entries(1, 1))])
    assert store.last_index == 1
    again = reopened(store)
    assert again.entries(1, 2, 100) == entries(1, 1)
    again.close()


def reopened(store: LogStore) -> LogStore:
    """What a fresh start reads, beside the open one."""
    copy = store.path + f".{len(os.listdir(os.path.dirname(store.path)))}"
    shutil.copytree(store.path, copy)
    return LogStore.open(copy, sync=False)


RECORDS = 4


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[bytes, list[int]]:
    """A log's file, and where each record begins and the last one ends."""
    store = LogStore.open(tmp_path_factory.mktemp("written"), sync=False)
    ends = [segment.FIRST_RECORD, store.size_bytes()]
    for index in range(1, RECORDS + 1):
        store.write([LogBatch(index, HardState(index, 1), entries(index, 1))])
        ends.append(store.size_bytes())
    store.close()
    return Path(store.path, FIRST_FILE).read_bytes(), ends


def from_bytes(data: bytes) -> tuple[int, HardState, list[Entry]]:
    """What a log with this file has; it can go on, and is then the same after another start."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, FIRST_FILE)
        path.write_bytes(data)
        store = LogStore.open(directory, sync=False)
        last = store.last_index
        found = store.hard_state, store.entries(1, last + 1, 1000)
        store.write([LogBatch(9, HardState(99, 2), entries(last + 1, 1, term=9))])
        store.close()
        store = LogStore.open(directory, sync=False)
        assert store.entries(1, last + 2, 1000) == found[1] + entries(last + 1, 1, term=9)
        assert store.hard_state == HardState(99, 2)
        store.close()
    return last, *found


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_write_that_was_cut_off_is_as_if_it_had_not_been(written, data):
    whole, ends = written
    place = data.draw(st.integers(ends[-2], ends[-1] - 1), "what a crash left of the last record ends here")
    length = data.draw(st.integers(0, ends[-1] - place), "and so much of its end is there again")
    torn = whole[:place] + bytes(ends[-1] - place - length) + whole[ends[-1] - length : ends[-1]] + bytes(50)
    if torn[: ends[-1]] == whole[: ends[-1]]:
        return
    assert from_bytes(torn) == (RECORDS - 1, HardState(RECORDS - 1, 1), [entries(i, 1)[0] for i in range(1, RECORDS)])


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_damage_before_the_end_is_refused(written, data):
    whole, ends = written
    place = data.draw(st.integers(ends[0] - 4, ends[-2] - 1))
    flipped = bytes([whole[place] ^ data.draw(st.integers(1, 255))])
    with pytest.raises(StorageError, match="is damaged"):
        from_bytes(whole[:place] + flipped + whole[place + 1 :])


def test_damage_in_an_older_file_is_found_when_it_is_read(store, monkeypatch):
    monkeypatch.setattr(segment, "SEGMENT_BYTES", 300)
    for index in range(1, 31):
        store.write([LogBatch(index, entries=entries(index, 1))])
    path = Path(store.path, files(store)[1])
    data = path.read_bytes()
    ends = segment.Segment(str(path), 2, segment.first_index(str(path)))
    ends.index()
    last = ends.end - 1
    path.write_bytes(data[:last] + bytes([data[last] ^ 1]) + data[last + 1 :])
    again = reopened(store)
    try:
        assert again.last_index == 30
        with pytest.raises(StorageError, match=r"entry \d+ is missing"):
            again.entries(1, 31, 1 << 20)
    finally:
        again.close()


def test_a_file_that_is_missing_is_noticed(store, monkeypatch):
    monkeypatch.setattr(segment, "SEGMENT_BYTES", 300)
    for index in range(1, 12):
        store.write([LogBatch(index, entries=entries(index, 1))])
    os.unlink(os.path.join(store.path, files(store)[0]))
    with pytest.raises(StorageError, match="entry 1 is missing"):
        reopened(store)


def test_the_log_of_the_first_format_is_taken_over(tmp_path):
    meta = LogMeta(HardState(5, 2, 8), 3, 4, 0xA, 7)
    old = [Entry(index, 5, 0, b"%d" % index) for index in range(4, 11)]
    with lmdb.open(str(tmp_path / "log.mdb"), subdir=False, max_dbs=2) as environment:
        names = [environment.open_db(name) for name in (b"entries", b"meta")]
        with environment.begin(write=True) as txn:
            for entry in old:
                txn.put(entry.index.to_bytes(8), msgspec.msgpack.encode(entry), db=names[0])
            txn.put(b"format", msgspec.msgpack.encode(1), db=names[1])
            txn.put(b"meta", msgspec.msgpack.encode(meta), db=names[1])
    (tmp_path / "0000000000000001.log").write_bytes(b"what a crash left of an attempt before")
    for _ in range(2):
        store = LogStore.open(tmp_path)
        assert (store.hard_state, store.compacted_index, store.compacted_term) == (HardState(5, 2, 8), 3, 4)
        assert (store.cluster_id, store.member_id, store.last_index) == (0xA, 7, 10)
        assert store.entries(4, 11, 1000) == old
        store.close()
        assert not (tmp_path / "log.mdb").exists()


def test_a_log_belongs_to_one_member(store):
    store.initialise(0xA, 1)
    store.initialise(0xA, 1)
    assert (store.cluster_id, store.member_id) == (0xA, 1)
    with pytest.raises(StorageError, match="belongs to member 1 of cluster a, not to member 2 of cluster a"):
        store.initialise(0xA, 2)


def test_align_finishes_an_interrupted_install(store):
    store.write([LogBatch(1, HardState(4, 2, 3), entries(1, 5, term=2))])
    assert not store.align(SnapshotMeta(3, 2, ONE))
    assert store.last_index == 5
    assert store.align(SnapshotMeta(9, 4, ONE))
    assert (store.compacted_index, store.compacted_term, store.last_index) == (9, 4, 9)
    assert store.hard_state == HardState(4, 2, 3)
    assert not store.align(SnapshotMeta(9, 4, ONE))
    with pytest.raises(StorageError, match="starts after entry 9, but the state ends at 8"):
        store.align(SnapshotMeta(8, 4, ONE))


def test_align_brings_the_term_of_the_snapshot_along(store):
    store.write([LogBatch(1, HardState(4, 2, 3), entries(1, 5, term=2))])
    assert store.align(SnapshotMeta(9, 7, ONE))
    assert store.hard_state == HardState(7, 0, 3)


def test_align_drops_entries_of_another_term(store):
    store.write([LogBatch(1, entries=entries(1, 5, term=2))])
    assert store.align(SnapshotMeta(4, 3, ONE))
    assert (store.compacted_index, store.last_index) == (4, 4)


class LogModel(RuleBasedStateMachine):
    """Groups of batches against a dict of entries; a reopened log is the same log."""

    def __init__(self) -> None:
        super().__init__()
        self.before, segment.SEGMENT_BYTES = segment.SEGMENT_BYTES, 250
        self.directory = tempfile.TemporaryDirectory()
        self.store = LogStore.open(self.directory.name)
        self.background = self.store.background_write()
        self.known: dict[int, Entry] = {}
        self.compacted = (0, 0)
        self.hard_state = HardState()
        self.term = 1

    def teardown(self) -> None:
        segment.SEGMENT_BYTES = self.before
        self._close()
        self.directory.cleanup()

    @property
    def last(self) -> int:
        return max(self.known, default=self.compacted[0])

    def write_group(self, group, by_kernel):
        """By us, or by the kernel."""
        background = self.background
        if not (by_kernel and background is not None and self.store.begin(group, background)):
            self.store.write(group)
            return
        assert background.wait(30.0)
        assert background.finish()
        self.store.end()

    @rule(data=st.data(), batches=st.integers(1, 3), by_kernel=st.booleans())
    def write(self, data, batches, by_kernel):
        group = []
        for seq in range(batches):
            self.term += data.draw(st.integers(0, 1))
            first = data.draw(st.integers(self.compacted[0] + 1, self.last + 1))
            new = entries(first, data.draw(st.integers(0, 4)), self.term)
            hard = data.draw(st.none() | st.builds(HardState, st.integers(0, 9), st.integers(0, 3)))
            group.append(LogBatch(seq, hard, new))
            if new:
                self.known = {i: e for i, e in self.known.items() if i < first} | {e.index: e for e in new}
            self.hard_state = hard or self.hard_state
        self.write_group(group, by_kernel)

    @precondition(lambda self: self.known)
    @rule(data=st.data(), by_kernel=st.booleans())
    def discard(self, data, by_kernel):
        target = data.draw(st.integers(self.compacted[0], self.last))
        self.write_group([LogBatch(0, discard_to=target)], by_kernel)
        if target > self.compacted[0]:
            self.compacted = (target, self.known[target].term)
            self.known = {i: e for i, e in self.known.items() if i > target}

    @rule(ahead=st.integers(1, 5), follow=st.booleans())
    def reset(self, ahead, follow):
        self.compacted = (self.last + ahead, self.term)
        new = entries(self.compacted[0] + 1, 2, self.term) if follow else []
        self.store.write([LogBatch(0, None, new, reset=SnapshotMeta(*self.compacted, ONE))])
        self.known = {e.index: e for e in new}

    @rule()
    def reopen(self):
        self._close()
        self.store = LogStore.open(self.directory.name)
        self.background = self.store.background_write()

    def _close(self):
        if self.background is not None:
            self.background.close()
        self.store.close()

    @invariant()
    def same(self):
        assert (self.store.compacted_index, self.store.compacted_term) == self.compacted
        assert self.store.last_index == self.last
        assert self.store.hard_state == self.hard_state
        everything = self.store.entries(self.compacted[0] + 1, self.last + 1, 1 << 30)
        assert everything == list(self.known.values())
        assert all(second.index == first.index + 1 for first, second in pairwise(everything))
        assert all(self.store.term(entry.index) == entry.term for entry in everything)
        assert self.store.term(self.compacted[0]) == self.compacted[1]


LogModel.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestLogModel = LogModel.TestCase


@pytest.mark.parametrize("room", [segment.SEGMENT_BYTES, 150], ids=["in the same file", "in a new file"])
@pytest.mark.parametrize("direct", [True, False], ids=["past the page cache", "through it"])
def test_nothing_is_known_before_it_is_durable(store, monkeypatch, room, direct):
    done = []

    def noted(module, name, what):
        real = getattr(module, name)

        def wrapper(*arguments):
            done.append((what, store.last_index))
            return real(*arguments)

        monkeypatch.setattr(module, name, wrapper)

    monkeypatch.setattr(segment, "SEGMENT_BYTES", room)
    if not direct:
        store._direct._usable = False
    elif not store._direct._usable:
        pytest.skip("nothing goes past the page cache on this file system")
    noted(os, "pwritev", "both")
    noted(segment, "write_all", "write")
    noted(log_module, "_sync_data", "sync")
    noted(log_module.os, "fsync", "sync")
    noted(log_module.os, "rename", "rename")
    store.write([LogBatch(1, entries=entries(1, 1, size=100))])
    assert store.last_index == 1
    if room > 150:
        assert done == ([("both", 0)] if direct else [("write", 0), ("sync", 0)])
    else:  # the file, then, once it has its name, the directory
        assert done == [("write", 0), ("sync", 0), ("rename", 0), ("sync", 0)]


def test_what_a_killed_process_has_written_is_synced_before_it_is_known(store, monkeypatch):
    """It can be read, and would be acknowledged; a loss of power would take it."""
    store.write([LogBatch(1, entries=entries(1, 1))])
    copy = store.path + ".copy"
    shutil.copytree(store.path, copy)
    synced = []
    real = os.fsync
    monkeypatch.setattr(
        log_module.os, "fsync", lambda descriptor: (synced.append(os.fstat(descriptor)), real(descriptor))
    )
    again = LogStore.open(copy)
    assert again.last_index == 1
    known = [os.stat(copy).st_ino, os.stat(os.path.join(copy, FIRST_FILE)).st_ino]
    assert sorted(found.st_ino for found in synced) == sorted(known)
    again.close()


def test_a_file_that_has_become_shorter_is_named(store):
    store.write([LogBatch(1, entries=entries(1, 3, size=50))])
    os.truncate(os.path.join(store.path, FIRST_FILE), store.size_bytes() - 20)
    with pytest.raises(StorageError, match=FIRST_FILE):
        store.entries(1, 4, 1000)
