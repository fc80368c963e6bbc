"""The log store against a list, across reopening; its refusals; what a crash between state and log leaves."""

from __future__ import annotations

import tempfile
from itertools import pairwise

import lmdb
import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kvraft.raft.messages import Configuration, Entry, HardState, SnapshotMeta
from kvraft.storage import log as log_module
from kvraft.storage.errors import FormatTooNew, InUse, OutOfSpace, StorageError
from kvraft.storage.log import LogBatch, LogStore

ONE = Configuration((1,))


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


def test_a_discard_is_bounded_per_transaction(store, monkeypatch):
    monkeypatch.setattr(log_module, "DISCARD_PER_TRANSACTION", 10)
    store.write([LogBatch(1, entries=entries(1, 25, term=3))])
    store.write([LogBatch(2, discard_to=24)])
    assert (store.compacted_index, store.compacted_term, store.discarding) == (10, 3, True)
    assert store.term(10) == 3
    store.write([])
    store.write([])
    assert (store.compacted_index, store.last_index, store.discarding) == (24, 25, False)
    with pytest.raises(KeyError):
        store.entries(24, 26, 100)


def test_a_discard_ends_with_the_log(store):
    store.write([LogBatch(1, entries=entries(1, 3), discard_to=99)])
    assert (store.compacted_index, store.last_index, store.discarding) == (3, 3, False)
    store.write([LogBatch(2, entries=entries(4, 1))])
    assert store.last_index == 4


def test_two_processes_cannot_share_a_log(tmp_path, store):
    with pytest.raises(InUse, match="in use by another process"):
        LogStore.open(tmp_path / "log")


def test_a_later_format_is_refused(tmp_path):
    LogStore.open(tmp_path).close()
    with lmdb.open(str(tmp_path / "log.mdb"), subdir=False, max_dbs=2) as environment:
        meta = environment.open_db(b"meta")
        with environment.begin(write=True) as txn:
            txn.put(b"format", msgspec.msgpack.encode(99), db=meta)
    for _ in range(2):  # the first refusal releases the files
        with pytest.raises(FormatTooNew, match="format 99 was written by a later version"):
            LogStore.open(tmp_path)


def test_a_file_that_is_no_log_is_refused(tmp_path):
    (tmp_path / "log.mdb").write_bytes(b"no lmdb file" * 1000)
    with pytest.raises(StorageError, match=r"log\.mdb"):
        LogStore.open(tmp_path)


def test_a_full_file_is_named_and_changes_nothing(tmp_path):
    store = LogStore.open(tmp_path, map_bytes=1 << 20)
    with pytest.raises(OutOfSpace, match=r"log\.mdb: the file has reached its size limit"):
        store.write([LogBatch(1, entries=[Entry(1, 1, 0, b"x" * (2 << 20))])])
    store.write([LogBatch(1, entries=entries(1, 1))])
    assert store.last_index == 1
    store.close()


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
        self.directory = tempfile.TemporaryDirectory()
        self.store = LogStore.open(self.directory.name, sync=False)
        self.known: dict[int, Entry] = {}
        self.compacted = (0, 0)
        self.hard_state = HardState()
        self.term = 1

    def teardown(self) -> None:
        self.store.close()
        self.directory.cleanup()

    @property
    def last(self) -> int:
        return max(self.known, default=self.compacted[0])

    @rule(data=st.data(), batches=st.integers(1, 3))
    def write(self, data, batches):
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
        self.store.write(group)

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def discard(self, data):
        target = data.draw(st.integers(self.compacted[0], self.last))
        self.store.write([LogBatch(0, discard_to=target)])
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
        self.store.close()
        self.store = LogStore.open(self.directory.name, sync=False)

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
