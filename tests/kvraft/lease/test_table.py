"""Leases as the log makes them: which keys hang on which, and what a snapshot carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvraft.apply.command import encode_command, join_commands
from kvraft.apply.machine import StateMachine
from kvraft.errors import KvraftError, LeaseExists, LeaseNotFound, LeaseTtlTooLarge, NoSpace
from kvraft.raft.messages import Configuration, Entry
from kvraft.types import (
    Compare,
    DeleteRangeRequest,
    DeleteRangeResponse,
    EventKind,
    LeaseCheckpointRequest,
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    TxnRequest,
    WatchBatch,
    WatchRequest,
)
from tests.kvraft.mvcc.model import inside

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from kvraft.types import Command
    from kvraft.watch.watcher import Watcher

LARGEST = (1 << 63) - 1


class Applied:
    """A state machine and its log, all of one term unless told otherwise."""

    def __init__(self, directory: Path, **settings: int) -> None:
        self.machine = StateMachine.open(directory, sync=False, **settings)
        if self.machine.configuration is None:
            self.machine.initialise(Configuration((1,)), 1, 1)

    def __call__(self, command: Command, term: int = 1) -> object:
        (answer,) = self.together([command], term)
        return answer

    def together(self, commands: list[Command], term: int = 1) -> Sequence[object]:
        """Apply one entry that carries them all."""
        data = join_commands([encode_command(command) for command in commands])
        (answers,) = self.machine.apply([Entry(self.machine.applied_index + 1, term, 0, data)])
        return answers

    def keys(self) -> list[bytes]:
        return [kv.key for kv in self.machine.range(RangeRequest(b"\0", b"\0")).kvs]


@pytest.fixture
def apply(tmp_path: Path) -> Iterator[Applied]:
    applied = Applied(tmp_path / "state")
    yield applied
    applied.machine.close()


def test_grant_and_revoke_without_keys_leave_the_revision(apply: Applied) -> None:
    assert apply(LeaseGrantRequest(10, 7)) == LeaseGrantResponse(1, 7, 10)
    assert isinstance(apply(LeaseGrantRequest(10, 7)), LeaseExists)
    assert apply(LeaseRevokeRequest(7)) == LeaseRevokeResponse(1)
    assert isinstance(apply(LeaseRevokeRequest(7)), LeaseNotFound)


def test_ttls_and_ids_out_of_bounds(apply: Applied) -> None:
    assert isinstance(apply(LeaseGrantRequest(9_000_000_001, 7)), LeaseTtlTooLarge)
    assert apply(LeaseGrantRequest(9_000_000_000, 7)) == LeaseGrantResponse(1, 7, 9_000_000_000)
    assert isinstance(apply(LeaseGrantRequest(5, 0)), LeaseNotFound)
    with pytest.raises(LeaseTtlTooLarge, match="etcdserver: too large lease TTL"):
        apply.machine.admit(LeaseGrantRequest(9_000_000_001, 8))


def test_a_revoke_deletes_in_order_and_in_one_revision(apply: Applied) -> None:
    apply(LeaseGrantRequest(10, 7))
    long = b"long" * 300
    for key in (b"b", b"a", long, b"c"):
        apply(PutRequest(key, b"", lease=7))
    apply(PutRequest(b"other", b""))
    batches: list[WatchBatch] = []

    class Sink:
        def deliver(self, watcher: Watcher, batch: WatchBatch) -> bool:
            batches.append(batch)
            return True

    apply.machine.watch.watch(WatchRequest(b"\0", b"\0"), Sink())
    assert apply(LeaseRevokeRequest(7)) == LeaseRevokeResponse(7)
    (batch,) = batches
    assert [event.kv.key for event in batch.events] == [b"a", b"b", b"c", long]
    assert {(event.kind, event.kv.mod_revision) for event in batch.events} == {(EventKind.DELETE, 7)}
    assert apply.keys() == [b"other"]


def test_a_put_on_an_unknown_lease_changes_nothing(apply: Applied) -> None:
    assert isinstance(apply(PutRequest(b"a", b"", lease=7)), LeaseNotFound)
    txn = TxnRequest((), (PutRequest(b"a", b""), PutRequest(b"b", b"", lease=7)))
    assert isinstance(apply(txn), LeaseNotFound)
    assert apply.keys() == []
    assert apply.machine.revision == 1
    other_branch = TxnRequest((Compare(b"a", 0, 0, 0),), (PutRequest(b"a", b""),), (PutRequest(b"b", b"", lease=7),))
    assert not isinstance(apply(other_branch), KvraftError)


def test_a_revoke_of_a_term_that_is_over_is_ignored(apply: Applied) -> None:
    apply(LeaseGrantRequest(10, 7), term=3)
    apply(PutRequest(b"a", b"", lease=7), term=3)
    answer = apply(LeaseRevokeRequest(7, term=3), term=4)
    assert isinstance(answer, LeaseNotFound)
    assert apply.keys() == [b"a"]
    assert not isinstance(apply(LeaseRevokeRequest(7, term=4), term=4), KvraftError)
    assert apply.keys() == []


def test_a_checkpoint_is_kept_within_what_was_granted(apply: Applied) -> None:
    apply(LeaseGrantRequest(10, 7))
    assert apply.machine.leases.get(7) == (10, 0)
    apply(LeaseCheckpointRequest(((7, 4), (8, 5))))
    assert apply.machine.leases.get(7) == (10, 4)
    apply(LeaseCheckpointRequest(((7, 11_000),)))
    assert apply.machine.leases.get(7) == (10, 10_000)
    apply(LeaseCheckpointRequest((), 3_000))  # it is later now
    assert apply.machine.leases.get(7) == (10, 7_000)
    apply(LeaseCheckpointRequest((), 2_000))  # and never earlier
    assert apply.machine.leases.get(7) == (10, 7_000)
    apply(LeaseCheckpointRequest((), 30_000))
    assert apply.machine.leases.get(7) == (10, 1)
    apply(LeaseCheckpointRequest(((7, 0),)))
    assert apply.machine.leases.get(7) == (10, 0)
    assert apply.machine.leases.get(8) is None


def test_a_full_store_grants_no_lease_and_revokes(tmp_path: Path) -> None:
    apply = Applied(tmp_path / "full", quota_bytes=1)
    with pytest.raises(NoSpace):
        apply.machine.admit(LeaseGrantRequest(10, 7))
    apply.machine.admit(LeaseRevokeRequest(7))
    apply.machine.close()


@pytest.mark.parametrize("lease_id", [1, LARGEST, -1, -LARGEST - 1])
def test_every_id_keeps_its_keys_to_itself(apply: Applied, lease_id: int) -> None:
    others = {1, 2, LARGEST, -1, -2, -LARGEST - 1} - {lease_id}
    for other in sorted({lease_id, *others}):
        apply(LeaseGrantRequest(10, other))
        apply(PutRequest(b"%d" % other, b"", lease=other))
    assert apply.machine.leases.keys(lease_id) == [b"%d" % lease_id]
    apply(LeaseRevokeRequest(lease_id))
    assert set(apply.keys()) == {b"%d" % other for other in others}


def test_leases_can_be_walked_in_pieces(apply: Applied) -> None:
    ids = {*range(1, 8), -3, LARGEST}
    for lease_id in ids:
        apply(LeaseGrantRequest(10, lease_id))
    walked: list[int] = []
    after = None
    while found := apply.machine.leases.walk(after, 4):
        walked += [lease_id for lease_id, _, _ in found]
        after = walked[-1]
    assert walked == apply.machine.leases.ids()
    assert len(walked) == len(ids)
    assert set(walked) == ids


def test_leases_come_back_from_the_file_and_go_with_a_snapshot(apply: Applied, tmp_path: Path) -> None:
    apply(LeaseGrantRequest(10, 7))
    apply(PutRequest(b"a", b"", lease=7))
    apply(LeaseCheckpointRequest(((7, 40),), 36))
    apply(LeaseCheckpointRequest((), 72))
    apply.machine.commit()
    other = Applied(tmp_path / "other")
    reader, writer = apply.machine.snapshot(), other.machine.incoming()
    for chunk in reader:
        writer.write(chunk)
    reader.close()
    writer.finish()
    other.machine.install(writer)
    apply.machine.close()
    apply.machine = StateMachine.open(tmp_path / "state", sync=False)
    for one in (apply, other):
        assert one.machine.leases.get(7) == (10, 4)
        assert one.machine.leases.keys(7) == [b"a"]
        assert one(LeaseRevokeRequest(7)) == LeaseRevokeResponse(3)
        assert one.keys() == []
    other.machine.close()


KEYS = st.sampled_from([b"a", b"aa", b"b", b"k" * 600])
LEASES = st.integers(0, 3)
COMMANDS = st.one_of(
    st.builds(PutRequest, KEYS, st.just(b""), LEASES),
    st.builds(PutRequest, KEYS, st.just(b"")),
    st.builds(DeleteRangeRequest, KEYS, st.sampled_from([b"", b"b", b"\0"])),
    st.builds(LeaseGrantRequest, st.integers(1, 9), LEASES),
    st.builds(LeaseRevokeRequest, LEASES, st.sampled_from([0, 1, 2])),
    st.builds(lambda puts: TxnRequest((), (PutRequest(b"a", b"", puts[0]), PutRequest(b"b", b"", puts[1]))),
              st.tuples(LEASES, LEASES)),
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.lists(COMMANDS, min_size=1, max_size=5), max_size=10))
def test_leases_have_exactly_the_keys_that_name_them(
    tmp_path_factory: pytest.TempPathFactory, entries: list[list[Command]]
) -> None:
    apply = Applied(tmp_path_factory.mktemp("state"))
    on: dict[bytes, int] = {}
    alive: set[int] = set()
    done = [pair for commands in entries for pair in zip(commands, apply.together(commands), strict=True)]
    for command, answer in done:
        if isinstance(answer, KvraftError):
            continue
        if isinstance(command, LeaseGrantRequest):
            alive.add(command.lease_id)
        elif isinstance(command, LeaseRevokeRequest):
            alive.remove(command.lease_id)
            on = {key: lease for key, lease in on.items() if lease != command.lease_id}
        elif isinstance(command, DeleteRangeRequest):
            assert isinstance(answer, DeleteRangeResponse)
            gone = [key for key in on if inside(key, command.key, command.range_end)]
            assert answer.deleted == len(gone)
            for key in gone:
                del on[key]
        elif isinstance(command, PutRequest):
            assert isinstance(answer, PutResponse)
            on[command.key] = command.lease
        else:
            assert isinstance(command, TxnRequest)
            on |= {put.key: put.lease for put in command.success if isinstance(put, PutRequest)}
    assert apply.keys() == sorted(on)
    assert set(apply.machine.leases.ids()) == alive
    for lease in range(1, 4):
        assert apply.machine.leases.keys(lease) == sorted(key for key, hung in on.items() if hung == lease)
    apply.machine.close()
