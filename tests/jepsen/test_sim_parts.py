"""The simulated disk, machine and judge on their own: what a crash keeps, and what each invariant refuses."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from jepsen.history import Kind
from jepsen.sim.disk import Image, SimDisk
from jepsen.sim.invariants import Invariants
from jepsen.sim.machine import Change, Command, SimMachine, Snapshot, State, decode_commands, encode_command
from jepsen.sim.options import draw_options
from jepsen.sim.world import SECOND, Violation, World
from kvraft.raft.messages import Configuration, Entry, EntryKind, HardState, SnapshotMeta
from kvraft.storage.log import LogBatch

if TYPE_CHECKING:
    from collections.abc import Sequence


VOTERS = Configuration((1, 2, 3))


def entry(index: int, term: int, data: bytes = b"") -> Entry:
    return Entry(index, term, 0, data)


def write(attempt: int, key: str, value: str) -> bytes:
    return SimMachine.join([encode_command(Command(attempt, Kind.WRITE, key, value))])


def log_of(*entries: Entry) -> Image:
    image = Image()
    image.write(LogBatch(1, entries=entries))
    return image


class Owner:
    """Collects what a disk reports."""

    def __init__(self, seed: int = 0) -> None:
        self.world = World(seed)
        self.durable: list[int] = []
        self.written: list[int] = []
        self.disk = SimDisk(self.world, draw_options(random.Random(0)), self._written, self._durable)

    def _written(self, previous_term: int, entries: Sequence[Entry]) -> None:
        self.written += [entry.index for entry in entries]

    def _durable(self, generation: int, seq: int) -> None:
        self.durable.append(seq)


def test_batches_become_durable_in_groups() -> None:
    owner = Owner()
    for seq in (1, 2, 3):
        owner.disk.submit(LogBatch(seq, entries=(entry(seq, 1),)), leads=False)
    assert owner.disk.image.last_index == 0
    assert owner.disk.view.last_index == 3
    owner.world.run(until=SECOND)
    assert owner.durable == [1, 3]
    assert owner.written == [1, 2, 3]
    assert owner.disk.image.last_index == 3


def test_a_crash_keeps_a_prefix() -> None:
    kept = set()
    for seed in range(50):
        owner = Owner(seed)
        for seq in (1, 2, 3):
            owner.disk.submit(LogBatch(seq, entries=(entry(seq, 1),)), leads=False)
        owner.disk.crash()
        owner.world.run(until=SECOND)
        assert owner.durable == []
        assert [e.index for e in owner.disk.image.entries] == list(range(1, owner.disk.image.last_index + 1))
        assert owner.disk.view.last_index == owner.disk.image.last_index
        kept.add(owner.disk.image.last_index)
    assert kept == {0, 1, 2, 3}


def test_a_stalled_disk_makes_nothing_durable() -> None:
    owner = Owner()
    owner.disk.stall(2 * SECOND)
    owner.disk.submit(LogBatch(1, entries=(entry(1, 1),)), leads=False)
    owner.world.run(until=SECOND)
    owner.world.after(0, lambda: None)
    assert owner.durable == []
    owner.disk.recover()
    owner.world.run(until=3 * SECOND)
    assert owner.durable == [1]


def test_the_log_is_replaced_discarded_and_reset() -> None:
    image = log_of(entry(1, 1), entry(2, 1), entry(3, 1))
    image.write(LogBatch(2, entries=(entry(2, 2),), discard_to=1, hard_state=HardState(2, 1, 1)))
    assert (image.base, image.base_term, image.last_index, image.term(2)) == (1, 1, 2, 2)
    with pytest.raises(KeyError):
        image.term(0)
    with pytest.raises(Violation, match="does not follow"):
        image.write(LogBatch(3, entries=(entry(4, 2),)))
    image.write(LogBatch(3, reset=SnapshotMeta(9, 3, Configuration((1,)))))
    assert (image.base, image.base_term, image.last_index) == (9, 3, 9)


def test_align_finishes_an_interrupted_install() -> None:
    owner = Owner()
    owner.disk.submit(LogBatch(1, hard_state=HardState(2, 3, 1), entries=(entry(1, 1), entry(2, 2))), leads=False)
    owner.world.run(until=SECOND)
    owner.disk.align(SnapshotMeta(2, 2, Configuration((1,))))
    assert owner.disk.image.last_index == 2
    assert owner.disk.image.base == 0
    owner.disk.align(SnapshotMeta(7, 5, Configuration((1,))))
    assert (owner.disk.image.base, owner.disk.image.hard_state) == (7, HardState(5, 0, 1))
    with pytest.raises(Violation, match="the state ends at 6"):
        owner.disk.align(SnapshotMeta(6, 5, Configuration((1,))))


def machine() -> SimMachine:
    return SimMachine(State(0, 0, 0, {}), decode_commands, lambda: None)


def test_the_machine_answers_like_a_register() -> None:
    commands = [
        Command(1, Kind.CAS, "k", "a", "missing"),
        Command(2, Kind.DELETE, "k"),
        Command(3, Kind.WRITE, "k", "a"),
        Command(4, Kind.CAS, "k", "b", "a"),
        Command(5, Kind.DELETE, "k"),
        Command(6, Kind.CAS, "k", "c", None),
    ]
    encoded = [encode_command(command) for command in commands]
    entries = [entry(1, 1, SimMachine.join(encoded[:4])), entry(2, 1, SimMachine.join(encoded[4:])), entry(3, 1)]
    m = machine()
    assert m.apply(entries) == [[False, False, None, True], [True, True], []]
    assert m.state() == State(3, 1, 4, {"k": ("c", 4)})
    m.apply([change(4, (1, 2))])
    assert m.configuration == Configuration((1, 2))


def test_a_commit_is_durable_by_the_next_one() -> None:
    m = machine()
    m.apply([entry(1, 1, write(1, "k", "a"))])
    m.commit()
    assert (m.committed.index, m.durable_index, m.uncommitted) == (1, 0, 0)
    m.apply([entry(2, 1, write(2, "k", "b"))])
    m.commit()
    assert (m.committed.index, m.durable_index) == (2, 1)
    m.install(Snapshot(State(9, 3, 5, {"x": ("y", 5)})))
    assert (m.applied_index, m.durable_index, m.values) == (9, 9, {"x": ("y", 5)})


def test_one_leader_per_term() -> None:
    judge = Invariants()
    judge.became_leader(1, 1, 5, Image(), VOTERS)
    judge.became_leader(1, 1, 5, Image(), VOTERS)
    for node, life in ((2, 1), (1, 2)):
        with pytest.raises(Violation, match="election safety"):
            judge.became_leader(node, life, 5, Image(), VOTERS)


def test_a_leader_is_a_voter() -> None:
    judge = Invariants()
    judge.became_leader(3, 1, 5, Image(), Configuration((1, 2), (2, 3)))
    with pytest.raises(Violation, match="node 4 leads term 6 without a vote"):
        judge.became_leader(4, 1, 6, Image(), Configuration((1, 2), (), (4,)))


def change(index: int, voters: tuple[int, ...], learners: tuple[int, ...] = ()) -> Entry:
    return Entry(index, 1, int(EntryKind.CONFIGURATION), encode_command(Change(voters, learners)))


def test_what_is_applied_is_on_a_quorum() -> None:
    judge = Invariants(1, Configuration((1, 2, 3), (), (4,)))
    log, none = log_of(entry(1, 1), entry(2, 1), change(3, (1, 2, 5)), entry(4, 1), entry(5, 1)), Image()
    judge.images = {1: log, 2: none, 3: none, 4: log, 5: none}
    with pytest.raises(Violation, match="commit quorum"):
        judge.applying(1, entry(2, 1), 1, 1, log)
    judge.images[3] = log
    judge.applying(1, entry(2, 1), 1, 1, log)
    judge.applying(1, change(3, (1, 2, 5)), 2, 1, log)
    assert judge.configuration == Configuration((1, 2, 5), (1, 2, 3))
    judge.applying(1, entry(4, 1), 3, 1, log)  # by the old voters: the change was committed together with it
    judge.images = {1: log, 2: none, 3: none, 4: log, 5: log}
    with pytest.raises(Violation, match="commit quorum"):
        judge.applying(1, entry(5, 1), 4, 1, log)  # the new voters alone have it


def test_a_leader_has_what_was_committed_before_its_term() -> None:
    judge = Invariants()
    log = log_of(entry(1, 1))
    judge.applying(1, entry(1, 1), 0, 2, log)
    judge.became_leader(1, 1, 3, log, VOTERS)
    judge.became_leader(2, 1, 2, Image(), VOTERS)  # of a term in which it may have been committed later
    with pytest.raises(Violation, match="leader completeness"):
        judge.became_leader(3, 1, 4, Image(), VOTERS)
    with pytest.raises(Violation, match="leader completeness"):
        judge.became_leader(3, 1, 4, log_of(entry(1, 2)), VOTERS)


def test_logs_match() -> None:
    judge = Invariants()
    judge.written(1, 0, [entry(1, 1), entry(2, 2, b"x")])
    judge.written(2, 1, [entry(2, 2, b"x")])
    with pytest.raises(Violation, match="behind term 0"):
        judge.written(3, 0, [entry(2, 2, b"x")])
    with pytest.raises(Violation, match="other content"):
        judge.written(3, 1, [entry(2, 2, b"y")])


def test_everybody_applies_the_same_in_order_and_once() -> None:
    judge = Invariants()
    first, second = entry(1, 1, write(1, "k", "a")), entry(2, 1, write(2, "k", "b"))
    log = log_of(first, second)
    judge.applying(1, first, 0, 1, log)
    with pytest.raises(Violation, match="node 1 applies 1 after 1"):
        judge.applying(1, first, 1, 1, log)
    with pytest.raises(Violation, match="not durable there"):
        judge.applying(1, second, 1, 1, log_of(first))
    other = entry(1, 1, write(3, "k", "c"))
    with pytest.raises(Violation, match="state machine safety"):
        judge.applying(2, other, 0, 1, log_of(other))
    again = entry(2, 1, write(1, "k", "a"))
    with pytest.raises(Violation, match="at most once"):
        judge.applying(1, again, 1, 1, log_of(first, again))


def test_a_definite_error_is_definite() -> None:
    judge = Invariants()
    judge.refused(2, "not leader")
    first, second = entry(1, 1, write(1, "k", "a")), entry(2, 1, write(2, "k", "b"))
    log = log_of(first, second)
    judge.applying(1, first, 0, 1, log)
    with pytest.raises(Violation, match="definite errors"):
        judge.applying(1, second, 1, 1, log)
    with pytest.raises(Violation, match="definite errors"):
        judge.refused(1, "not leader")


def test_term_and_commit_never_fall() -> None:
    Invariants.moved(1, (1, 1), (2, 1))
    with pytest.raises(Violation, match="monotonic term"):
        Invariants.moved(1, (2, 1), (1, 1))
    with pytest.raises(Violation, match="monotonic commit"):
        Invariants.moved(1, (2, 2), (2, 1))


def test_a_storm_ends_the_run() -> None:
    world = World(0)

    def again() -> None:
        world.after(0, again)

    again()
    with pytest.raises(Violation, match="rest: 200000 events"):
        world.run(until=SECOND)
