"""Entries that are applied in pieces: the same as at once, and invisible until they are over."""

from __future__ import annotations

import pytest

from kvraft.apply.command import encode_command, join_commands, seal
from kvraft.apply.machine import StateMachine
from kvraft.auth.identity import Identity
from kvraft.errors import DuplicateKey, KeyNotFound
from kvraft.mvcc.bounds import PIECE_KEYS
from kvraft.mvcc.hashing import StateHash
from kvraft.raft.messages import Configuration, Entry
from kvraft.types import (
    CompactRequest,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    PutRequest,
    RangeRequest,
    TxnRequest,
    WatchRequest,
)
from kvraft.watch.watcher import WatcherState

ALL = (b"\0", b"\0")
KEYS = 2 * PIECE_KEYS + 1
EVERY = DeleteRangeRequest(*ALL)
COUNT = RangeRequest(*ALL, count_only=True)


def entry(index: int, *commands) -> Entry:
    return Entry(index, 1, 0, join_commands([encode_command(command) for command in commands]))


FILLING = entry(
    1,
    LeaseGrantRequest(60, 7),
    LeaseGrantRequest(60, 8),
    *(PutRequest(b"k%05d" % number, b"v", lease=7 if number else 8) for number in range(KEYS)),
)


def open_machine(path) -> StateMachine:
    machine = StateMachine.open(path, sync=False)
    if not machine.member_id:
        machine.initialise(Configuration((1,)), 7, 1)
    machine.in_pieces = True
    return machine


@pytest.fixture
def machine(tmp_path):
    machine = open_machine(tmp_path / "one")
    machine.apply([FILLING])
    yield machine
    machine.close()


def state_hash(machine: StateMachine) -> int:
    machine.commit()
    view = machine.view()
    try:
        hashed = StateHash(view.tables.txn, view.tables.databases)
        while not view.run(lambda: hashed.step(1000)):
            pass
        return hashed.value
    finally:
        view.close()


class Sink:
    def __init__(self) -> None:
        self.events: list[tuple[int, bytes]] = []

    def deliver(self, watcher, batch) -> bool:
        self.events += [(event.kv.mod_revision, event.kv.key) for event in batch.events]
        return True


@pytest.mark.parametrize(
    "commands",
    [
        (EVERY,),
        (PutRequest(b"before", b"1"), EVERY, PutRequest(b"after", b"1"), EVERY),
        (
            TxnRequest(
                (),
                (
                    PutRequest(b"j", b"1"),
                    DeleteRangeRequest(b"k", b"l", prev_kv=True),
                    TxnRequest((), (RangeRequest(*ALL), PutRequest(b"l", b"2"))),
                    DeleteRangeRequest(b"i", b"j"),
                ),
            ),
            CompactRequest(3),
        ),
        (TxnRequest((), (EVERY,)), PutRequest(b"gone", b"", ignore_lease=True), PutRequest(b"x", b"")),
        (
            LeaseRevokeRequest(7),
            PutRequest(b"k00000", b"", lease=7),
            LeaseRevokeRequest(7),
            LeaseRevokeRequest(1 << 63),
        ),
        (*(DeleteRangeRequest(b"k%02d" % tens, b"k%02d" % (tens + 1)) for tens in range(41)), LeaseRevokeRequest(8)),
    ],
    ids=["all", "all twice", "transaction", "then refused", "lease", "many small ones"],
)
def test_in_pieces_it_is_the_same_as_at_once(tmp_path, machine, commands):
    whole = open_machine(tmp_path / "whole")
    whole.in_pieces = False
    whole.apply([FILLING])
    entries = [entry(2, *commands), entry(3, PutRequest(b"k00001", b"again"))]
    expected = whole.apply(entries)
    answers = []
    calls = 0
    while len(answers) < len(entries):
        answers += machine.apply(entries[len(answers) :])
        calls += 1
    assert calls > 2
    assert not any(isinstance(answer, DuplicateKey) for given in expected for answer in given)
    assert str(answers) == str(expected)  # errors have no equality
    assert (machine.revision, machine.applied_index) == (whole.revision, 3)
    assert state_hash(machine) == state_hash(whole)
    whole.close()


def test_nobody_sees_half_of_it(machine):
    early, late, past = Sink(), Sink(), Sink()
    machine.watch.watch(WatchRequest(*ALL), early)
    before, revision = machine.range(RangeRequest(*ALL)), machine.revision
    deleting = [entry(2, PutRequest(b"first", b""), EVERY)]
    assert machine.apply(deleting) == []
    assert machine.range(RangeRequest(*ALL)) == before
    assert machine.range(COUNT).count == KEYS
    assert (machine.revision, machine.applied_index) == (revision, 1)
    late_watcher = machine.watch.watch(WatchRequest(*ALL), late)
    machine.watch.watch(WatchRequest(*ALL, start_revision=revision), past)
    while not machine.apply(deleting):
        machine.watch.catch_up(10)
        assert machine.range(COUNT).count == KEYS
        machine.compact_step(100)
    assert machine.range(COUNT).count == 0
    while machine.watch.catch_up(10):
        pass
    assert len(late.events) == KEYS + 2  # the put, its deletion too
    assert early.events == late.events == past.events[1:]
    assert late_watcher.state is WatcherState.SYNCED
    machine.apply([entry(3, PutRequest(b"more", b""))])
    assert early.events[-1] == (revision + 3, b"more")


def test_whoever_waits_for_a_lease_to_end_hears_of_it_when_its_keys_are_gone(machine):
    ended = []

    class Observer:
        granted = staticmethod(lambda lease_id, ttl: None)
        revoked = staticmethod(lambda lease_id: ended.append((lease_id, machine.range(COUNT).count)))

    machine.leases.observer = Observer()
    revoking = [entry(2, LeaseRevokeRequest(7))]
    assert machine.apply(revoking) == []
    assert machine.leases.get(7) is not None
    while not machine.apply(revoking):
        assert machine.range(COUNT).count == KEYS
        assert not ended
    assert ended == [(7, 1)]
    assert machine.leases.get(7) is None


def test_what_is_half_done_is_never_committed(tmp_path):
    machine = open_machine(tmp_path / "one")
    machine.apply([FILLING])
    deleting = [entry(2, EVERY)]
    assert machine.apply(deleting) == []
    machine.commit()
    view = machine.view()
    assert view.meta.applied_index == 1
    view.close()
    machine.close()  # as a crash would
    machine = open_machine(tmp_path / "one")
    assert (machine.applied_index, machine.range(COUNT).count) == (1, KEYS)
    while not machine.apply(deleting):
        pass
    assert machine.range(COUNT).count == 0
    machine.close()


def test_a_snapshot_in_between_takes_its_place(tmp_path, machine):
    other = open_machine(tmp_path / "other")
    other.in_pieces = False
    other.apply([FILLING, entry(2, EVERY), entry(3, PutRequest(b"new", b"1"))])
    other.commit()
    assert machine.apply([entry(2, EVERY)]) == []
    writer, reader = machine.incoming(), other.snapshot()
    for chunk in reader:
        writer.write(chunk)
    writer.finish()
    machine.install(writer)
    reader.close()
    assert (machine.applied_index, machine.range(COUNT).count, machine.revision) == (3, 1, other.revision)
    machine.apply([entry(4, PutRequest(b"next", b""))])
    machine.commit()
    assert machine.committed_index == 4
    other.close()


def test_a_defragmented_copy_in_between_has_it_begun_anew(machine):
    copy = machine.begin_defragmentation()
    while not copy.copy_step():
        pass
    deleting = [entry(2, EVERY)]
    assert machine.apply(deleting) == []
    copy.open()
    machine.finish_defragmentation(copy)
    assert machine.range(COUNT).count == KEYS
    while not machine.apply(deleting):
        pass
    assert (machine.range(COUNT).count, machine.applied_index) == (0, 2)


def test_envelopes_are_looked_into(machine):
    sealed = seal(encode_command(EVERY), Identity("somebody", 1))
    deleting = [Entry(2, 1, 0, join_commands([sealed]))]
    assert machine.apply(deleting) == []
    while not (answers := machine.apply(deleting)):
        pass
    assert answers[0][0].deleted == KEYS


def test_a_refused_transaction_has_changed_nothing(machine):
    refused = TxnRequest((), (EVERY, PutRequest(b"gone", b"", ignore_value=True)))
    ((answer,),) = machine.apply([entry(2, refused)])
    assert isinstance(answer, KeyNotFound)
    assert machine.range(COUNT).count == KEYS
