"""The log against a model: a plain list, and a disk that writes batches one by one."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kvraft.raft.log import ENTRY_OVERHEAD_BYTES, RaftLog, follows
from kvraft.raft.messages import Configuration, Entry, HardState, RaftStart, Ready, SnapshotMeta
from tests.kvraft.raft.harness import Disk, entries, fill

CONFIGURATION = Configuration((1,))
CACHED_BYTES = 4 * ENTRY_OVERHEAD_BYTES


def make_log(disk: Disk, cached_bytes: int = CACHED_BYTES) -> RaftLog:
    return RaftLog(disk.start(), disk, cached_bytes)


def batch(seq: int, written: list[Entry], snapshot: SnapshotMeta | None) -> Ready:
    return Ready(seq, None, written, snapshot, [], [], [], [], [])


class LogMachine(RuleBasedStateMachine):
    """``model[i]`` is the entry of index ``i + 1``; what was compacted stays in the model."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = Disk(CONFIGURATION)
        self.log = make_log(self.disk)
        self.model: list[Entry] = []
        self.term = 1
        self.batches: deque[tuple[Ready, list[Entry]]] = deque()
        self.snapshot: SnapshotMeta | None = None

    @rule(sizes=st.lists(st.integers(0, 200), min_size=1, max_size=5), new_term=st.booleans())
    def append(self, sizes: list[int], new_term: bool) -> None:
        self.add(len(self.model), sizes, new_term)

    @rule(data=st.data(), sizes=st.lists(st.integers(0, 200), min_size=1, max_size=5))
    def replace(self, data: st.DataObject, sizes: list[int]) -> None:
        kept = data.draw(st.integers(self.log.commit_index, len(self.model)))
        self.add(kept, sizes, True)

    def add(self, kept: int, sizes: list[int], new_term: bool) -> None:
        self.term += new_term
        new = [Entry(kept + i, self.term, 0, b"x" * size) for i, size in enumerate(sizes, 1)]
        self.log.append(new)
        self.model[kept:] = new

    @rule()
    def hand_over(self) -> None:
        written = self.log.take_unstable()
        if written or self.snapshot:
            state = self.model[: self.snapshot.index] if self.snapshot else []
            self.batches.append((batch(self.log.open_batch(), written, self.snapshot), state))
            self.snapshot = None
        assert not self.log.has_unstable()

    @precondition(lambda self: self.batches)
    @rule()
    def persist(self) -> None:
        ready, state = self.batches.popleft()
        self.disk.write(ready, state)
        self.log.persisted(ready.seq)
        assert self.log.is_writing() == bool(self.batches)

    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.model)))
        rises = index > self.log.commit_index
        assert self.log.commit_to(index) is rises

    @rule(max_bytes=st.sampled_from([0, 100, 10_000]))
    def apply(self, max_bytes: int) -> None:
        before = self.log.applied_index
        taken, size = self.log.take_committed(max_bytes)
        assert taken == self.model[before : before + len(taken)]
        assert size == sum(len(entry.data) for entry in taken)
        assert len(taken) == 1 or size <= max_bytes
        cached = len(self.log._entries)
        working_set = len(self.model) - min(self.log.applied_index, self.log.durable_index)
        if taken and cached > working_set:
            assert self.log._size_below(cached) <= CACHED_BYTES, "more is cached than allowed"

    @precondition(lambda self: not self.batches and self.snapshot is None)
    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, self.log.applied_index))
        self.log.compact(index)
        if index > self.disk.compacted_index:
            self.disk.compact(index)

    @precondition(lambda self: self.snapshot is None)
    @rule(beyond=st.integers(1, 5))
    def restore(self, beyond: int) -> None:
        self.term += 1
        index = self.log.commit_index + beyond
        self.model[self.log.commit_index :] = [
            Entry(i, self.term, 0, b"s") for i in range(self.log.commit_index + 1, index + 1)
        ]
        self.snapshot = SnapshotMeta(index, self.term, CONFIGURATION)
        self.log.restore(self.snapshot)

    @invariant()
    def indexes_are_ordered(self) -> None:
        log = self.log
        assert log.compacted_index <= log.applied_index <= log.commit_index <= log.last_index == len(self.model)
        assert log.durable_index <= log.last_index

    @invariant()
    def terms_are_known_exactly_where_entries_are(self) -> None:
        for index in range(len(self.model) + 3):
            expected = None
            if self.log.compacted_index <= index <= len(self.model):
                expected = self.model[index - 1].term if index else 0
            assert self.log.term(index) == expected

    @invariant()
    def what_counts_as_durable_is_on_the_disk(self) -> None:
        for index in range(self.disk.compacted_index + 1, self.log.durable_index + 1):
            assert self.disk.log[index] == self.model[index - 1]

    @invariant()
    def reads_return_the_entries_from_memory_and_disk(self) -> None:
        low = self.log.compacted_index + 1
        while low <= len(self.model):
            found, size = self.log.read(low, len(self.model) + 1, 150)
            assert found == self.model[low - 1 : low - 1 + len(found)]
            assert size == sum(len(entry.data) for entry in found)
            assert found
            assert len(found) == 1 or size <= 150
            low += len(found)


LogMachine.TestCase.settings = settings(derandomize=True, max_examples=60, stateful_step_count=30, deadline=None)
TestLog = LogMachine.TestCase


@given(st.lists(st.integers(1, 6), max_size=12).map(sorted), st.integers(0, 14), st.integers(0, 14), st.integers(0, 7))
@settings(derandomize=True)
def test_conflict_search_is_a_walk_down(terms: list[int], low: int, high: int, term: int) -> None:
    low, high = min(low, len(terms)), min(high, len(terms))
    log = make_log(fill(Disk(CONFIGURATION), terms))
    index = high
    while index >= low and ([0, *terms][index]) > term:
        index -= 1
    assert log.find_conflict_by_term(low, high, term) == (index if low <= high else low - 1)


def test_first_new_finds_where_entries_part() -> None:
    log = make_log(fill(Disk(CONFIGURATION), [1, 1, 2]))
    assert log.first_new(()) == 0
    assert log.first_new(entries(4, 2)) == 0
    assert log.first_new(entries(2, 1, 2)) == 2
    assert log.first_new(entries(2, 1, 2, 2)) == 2
    assert log.first_new(entries(2, 1, 3, 3)) == 1
    assert log.first_new(entries(1, 3)) == 0


@pytest.mark.parametrize(
    ("run", "index", "term", "max_term", "fits"),
    [
        (entries(3, 1, 1, 2), 2, 1, 2, True),
        ((), 2, 1, 1, True),
        ((), 2, 2, 1, False),
        (entries(3, 1, 3), 2, 1, 2, False),
        (entries(3, 2, 1), 2, 1, 2, False),
        (entries(3, 1), 2, 2, 2, False),
        (entries(4, 1), 2, 1, 2, False),
        (entries(3, 1) + entries(3, 1), 2, 1, 2, False),
    ],
)
def test_follows_accepts_only_proper_runs(
    run: tuple[Entry, ...], index: int, term: int, max_term: int, fits: bool
) -> None:
    assert follows(run, index, term, max_term) is fits


def test_entries_written_twice_at_an_index_are_durable_only_when_the_last_writing_is() -> None:
    log = make_log(Disk(CONFIGURATION))
    batches = []
    for terms in ((1, 1, 1), (2, 2), (3, 3, 3)):
        log.append(entries(1, *terms))
        log.take_unstable()
        batches.append(log.open_batch())
    durable = []
    for seq in batches:
        log.persisted(seq)
        durable.append(log.durable_index)
    assert durable == [0, 0, 3]


def test_batches_are_reported_once_and_in_order() -> None:
    log = make_log(Disk(CONFIGURATION))
    for index in (1, 2):
        log.append(entries(index, 1))
        log.take_unstable()
        log.open_batch()
    for seq in (0, 3):
        with pytest.raises(ValueError, match="not outstanding"):
            log.persisted(seq)
    log.persisted(2)
    assert (log.durable_index, log.is_writing()) == (2, False)
    with pytest.raises(ValueError, match="not outstanding"):
        log.persisted(1)


def test_the_cache_keeps_the_newest_entries_within_its_bound() -> None:
    disk = Disk(CONFIGURATION)
    log = make_log(disk, cached_bytes=10 * (ENTRY_OVERHEAD_BYTES + 100))
    for index in range(1, 101):
        log.append([Entry(index, 1, 0, b"x" * 100)])
        written = log.take_unstable()
        seq = log.open_batch()
        disk.write(batch(seq, written, None), None)
        log.persisted(seq)
        log.commit_to(index)
        log.take_committed(1000)
        assert len(log._entries) <= 10
    assert log._entries[-1].index == 100
    assert len(log._entries) >= 7


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda log: log.append(entries(5, 1)), "a gap"),
        (lambda log: log.append(entries(2, 9)), "below commit"),
        (lambda log: log.commit_to(4), "past the last entry"),
        (lambda log: log.compact(3), "above applied"),
        (lambda log: log.restore(SnapshotMeta(2, 1, CONFIGURATION)), "at or below commit"),
        (lambda log: log.read(3, 5, 10), "no entries"),
        (lambda log: log.known_term(7), "no term at 7"),
    ],
)
def test_broken_invariants_are_noticed(broken: object, message: str) -> None:
    log = make_log(fill(Disk(CONFIGURATION), [1, 1, 1], commit=2))
    assert callable(broken)
    with pytest.raises(AssertionError, match=message):
        broken(log)


def test_an_entry_of_a_term_that_the_hard_state_does_not_know_is_refused() -> None:
    disk = fill(Disk(CONFIGURATION), [1, 3])
    with pytest.raises(ValueError, match="last entry has term 3, the hard state 2"):
        RaftLog(RaftStart(HardState(2), CONFIGURATION, last_index=2), disk, 1)
