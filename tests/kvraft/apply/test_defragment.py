"""Defragmentation step by step: what is applied meanwhile is in the copy, what cannot go on ends cleanly."""

from __future__ import annotations

import os

import pytest

from kvraft.apply.command import encode_command, join_commands
from kvraft.apply.machine import StateMachine
from kvraft.errors import TooManyRequests, Unavailable
from kvraft.raft.messages import Configuration, Entry
from kvraft.storage import failpoint
from kvraft.storage.errors import OutOfSpace, StorageError
from kvraft.types import CompactRequest, DeleteRangeRequest, PutRequest, RangeRequest, WatchRequest
from tests.kvraft.apply.crash_worker import entry_at

ALL = RangeRequest(b"\0", b"\0")


@pytest.fixture(autouse=True)
def _no_failpoints():
    yield
    failpoint.configure("")


def opened(path, member_id: int = 1) -> StateMachine:
    machine = StateMachine.open(path)
    if machine.configuration is None:
        machine.initialise(Configuration((1, 2)), 7, member_id)
    return machine


@pytest.fixture
def machine(tmp_path):
    machine = opened(tmp_path / "one")
    yield machine
    machine.close()


def apply(machine: StateMachine, count: int) -> list[Entry]:
    first = machine.applied_index + 1
    entries = [entry_at(index) for index in range(first, first + count)]
    machine.apply(entries)
    return entries


def fill_and_empty(machine: StateMachine) -> None:
    """A file that is mostly holes."""
    commands = [PutRequest(b"big %d" % number, b"x" * 5000) for number in range(400)]
    commands += [DeleteRangeRequest(b"big", b"c"), CompactRequest(402)]
    index = machine.applied_index + 1
    machine.apply([Entry(index, 1, 0, join_commands([encode_command(command) for command in commands]))])
    while machine.compact_step(1000):
        pass
    machine.commit()


def copied(machine: StateMachine):
    copy = machine.begin_defragmentation()
    while not copy.copy_step():
        pass
    copy.open()
    return copy


def everything(machine: StateMachine):
    return [
        machine.range(RangeRequest(b"\0", b"\0", 0, at)) for at in range(machine.compacted_revision, machine.revision)
    ]


def test_the_file_shrinks_and_nothing_else_changes(tmp_path):
    machine = opened(tmp_path / "one")
    fill_and_empty(machine)
    apply(machine, 20)
    before = machine.db_size
    copy = machine.begin_defragmentation()
    index = copy.index
    while not copy.copy_step():
        pass
    later = apply(machine, 30)
    machine.commit()
    machine.commit()
    assert machine.durable_index == index, "the log must keep what the copy lacks"
    copy.open()
    copy.catch_up(later[:10])
    copy.flush()
    copy.sync()
    copy.catch_up(later[10:])
    expected, sizes = everything(machine), machine.applied_index
    machine.finish_defragmentation(copy)
    assert everything(machine) == expected
    assert machine.applied_index == machine.durable_index == machine.committed_index == sizes
    assert machine.db_size < before / 5
    assert os.path.getsize(tmp_path / "one" / "state.mdb") < before / 5
    assert not (tmp_path / "one" / "copy").exists()
    apply(machine, 5)
    expected = everything(machine)
    machine.commit()
    machine.close()
    again = opened(tmp_path / "one")
    assert everything(again) == expected
    again.close()


def test_watches_do_not_notice(machine):
    class Sink:
        def __init__(self):
            self.seen = []

        def deliver(self, watcher, batch):
            self.seen += [event.kv.mod_revision for event in batch.events]
            return True

    sink, late = Sink(), Sink()
    machine.watch.watch(WatchRequest(b"\0", b"\0"), sink)
    apply(machine, 20)
    copy = copied(machine)
    copy.catch_up(apply(machine, 10))
    machine.finish_defragmentation(copy)
    apply(machine, 10)
    machine.watch.watch(WatchRequest(b"\0", b"\0", max(2, machine.compacted_revision)), late)
    while machine.watch.catch_up(100):
        pass
    assert sorted(set(sink.seen)) == list(range(2, machine.revision + 1))
    assert late.seen == [revision for revision in sink.seen if revision >= max(2, machine.compacted_revision)]


def test_one_at_a_time(machine):
    apply(machine, 5)
    copy = machine.begin_defragmentation()
    with pytest.raises(TooManyRequests):
        machine.begin_defragmentation()
    copy.abort()
    copy.abort()
    machine.begin_defragmentation().abort()


def test_a_snapshot_that_is_installed_ends_it(machine, tmp_path):
    other = opened(tmp_path / "two", 2)
    apply(other, 50)
    other.commit()
    apply(machine, 10)
    copy = machine.begin_defragmentation()
    writer = machine.incoming()
    for chunk in other.snapshot():
        writer.write(chunk)
    writer.finish()
    machine.install(writer)
    with pytest.raises(Unavailable, match="replaced while it was defragmented"):
        copy.copy_step()
    assert everything(machine) == everything(other)
    copy = copied(machine)
    machine.finish_defragmentation(copy)
    assert everything(machine) == everything(other)
    other.close()


@pytest.mark.parametrize("point", ["snapshot.before_sync", "defragment.after_copy", "defragment.after_catch_up"])
def test_a_full_disk_ends_it_and_the_state_goes_on(machine, point, tmp_path):
    apply(machine, 10)
    failpoint.configure(f"{point}=error@1")
    copy = machine.begin_defragmentation()
    with pytest.raises((OutOfSpace, OSError, StorageError)):  # noqa: PT012 (wherever the point lies)
        while not copy.copy_step():
            pass
        copy.open()
        machine.finish_defragmentation(copy)
    copy.abort()
    apply(machine, 10)
    machine.commit()
    assert machine.range(ALL).count > 0
    machine.finish_defragmentation(copied(machine))


def test_what_a_crash_leaves_is_removed(tmp_path):
    machine = opened(tmp_path / "one")
    apply(machine, 10)
    copied(machine)
    expected = everything(machine)
    machine.commit()
    machine._environment.close()  # without ending the copy, as a crash would
    assert (tmp_path / "one" / "copy").exists()
    machine = opened(tmp_path / "one")
    assert not (tmp_path / "one" / "copy").exists()
    assert everything(machine) == expected
    machine.close()
