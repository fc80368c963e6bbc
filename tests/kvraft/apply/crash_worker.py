"""A process that writes as a member does, until a failpoint kills it: log, apply, commit, compact, install a snapshot.

Run by test_crash.py as ``python -m tests.kvraft.apply.crash_worker DIRECTORY [BROKEN]`` and again on the same
directory to go on from where the crash left it. On stdout it says ``durable N`` once it would acknowledge entry N.
The commands are a function of their index, so that everybody can say what the state after N entries must be.
BROKEN names a mistake to make on purpose.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from kvraft.apply import machine as machine_module
from kvraft.apply.command import join_commands
from kvraft.apply.machine import StateMachine
from kvraft.raft.messages import Configuration, Entry, HardState, SnapshotMeta
from kvraft.storage import failpoint, segment, writer
from kvraft.storage.errors import StorageError
from kvraft.storage.log import LogBatch, LogStore, LogWriter
from kvraft.storage.state import StateEnvironment
from kvraft.storage.tables import META_KEY, encode, read_meta
from kvraft.types import Command, CompactRequest, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest
from kvraft.wire.native import encode_request_body

if TYPE_CHECKING:
    from kvraft.apply.defragment import Defragmentation

CONFIGURATION = Configuration((1,))
CLUSTER_ID, MEMBER_ID = 7, 1
BATCH = 5
KEEP = 5
SEGMENT_BYTES = 8000
"""So little, that the log's files change often."""
AT_ONCE_BYTES = 4000
"""Both the thread and its owner write."""
DEFRAGMENT = ((5, 40), (95, 120))
"""Between these indices the worker defragments, again and again; the snapshot ends a run that is under way."""
SNAPSHOT_FROM, SNAPSHOT_AT, LAST = 60, 90, 170
"""Past the first index the worker installs a snapshot of the second; it ends with the third."""


def command_at(index: int) -> Command:
    """The command of entry ``index``."""
    generator = random.Random(index)
    key = b"key %d" % generator.randrange(12)
    value = b"%d" % index * generator.choice([1, 1000])
    kind = generator.randrange(10) if index // 10 % 2 else 9  # there are stretches of plain puts
    if kind == 0:
        return DeleteRangeRequest(key)
    if kind == 1:
        return DeleteRangeRequest(key, b"key 9")
    if kind == 2:
        return CompactRequest(index // 2)
    if kind == 3:
        return TxnRequest((), (PutRequest(b"a", value), DeleteRangeRequest(b"b"), RangeRequest(key)))
    return PutRequest(key, value)


def entry_at(index: int) -> Entry:
    return Entry(index, 1 + index // 40, 0, join_commands([encode_request_body(command_at(index))]))


class AppliedApart(StateEnvironment):
    """The mistake of saving the applied index apart from the data that it covers."""

    def commit(self) -> None:
        stored = read_meta(self.path, self._txn, self._databases)
        before = (stored.applied_index, stored.applied_term) if stored is not None else (0, 0)
        apart = msgspec.structs.replace(self.meta, applied_index=before[0], applied_term=before[1])
        self._txn.put(META_KEY, encode(apart), db=self._databases.meta)
        self._txn.commit()
        failpoint.hit("state.after_commit")
        self._bind(self._environment.begin(write=True))
        super().commit()


class Member:
    """Log and state of one member, and what a driver does with them."""

    def __init__(self, directory: Path, broken: str) -> None:
        if broken == "applied-apart":
            machine_module.StateEnvironment = AppliedApart
        self.acknowledge_early = broken == "early"
        self.directory = directory
        self.machine, self.store = open_member(directory)
        self.durable = threading.Semaphore(0)
        self.background = self.store.background_write()
        reports = lambda seq: self.durable.release(), self.failed
        self.writer = LogWriter(self.store, *reports, background=self.background)
        self.writer.start()
        self.seq = 0
        self.copy: Defragmentation | None = None
        self.copied = False

    @staticmethod
    def failed(error: Exception) -> None:
        os.write(2, f"{error}\n".encode())
        os._exit(3)

    def write(self, **batch) -> None:
        self.seq += 1
        try:
            if self.writer.submit(LogBatch(self.seq, **batch)):
                return
            if self.background is not None and self.background.busy:
                self.background.wait(None)
                assert self.writer.finish() == self.seq
                return
        except StorageError as error:
            self.failed(error)
        self.durable.acquire()  # the thread reports it

    def run(self) -> None:
        machine, turn = self.machine, 0
        while machine.applied_index < LAST:
            turn += 1
            if SNAPSHOT_FROM <= machine.applied_index < SNAPSHOT_AT:
                self.install()
            if any(start <= machine.applied_index < end for start, end in DEFRAGMENT):
                self.defragment()
            elif self.copy is not None:
                self.copy.abort()
            first = machine.applied_index + 1
            new = [entry_at(index) for index in range(first, min(first + BATCH, LAST + 1))]
            if self.acknowledge_early:
                say_durable(new[-1].index)
            discard = max(0, machine.durable_index - KEEP)
            self.write(hard_state=HardState(new[-1].term, 1, first), entries=new, discard_to=discard)
            say_durable(new[-1].index)
            machine.apply(new)
            if turn % 2:
                machine.compact_step(7)
                machine.commit(whole=False)
        self.writer.close()
        machine.commit()
        machine.close()
        self.store.close()

    def defragment(self) -> None:
        """One step of it for each turn, so that entries are applied and discarded in between; then the next run."""
        machine = self.machine
        if self.copy is None or self.copy.over:
            self.copy, self.copied = machine.begin_defragmentation(), False
        elif not self.copied:
            for _ in range(5):
                self.copied = self.copied or self.copy.copy_step()
            if self.copied:
                self.copy.open()
        else:
            while self.copy.applied_index < machine.applied_index:
                self.copy.catch_up(self.store.entries(self.copy.applied_index + 1, machine.applied_index + 1, 3000))
            machine.finish_defragmentation(self.copy)

    def install(self) -> None:
        incoming = self.machine.incoming()
        stream = (self.directory / "snapshot").read_bytes()
        for start in range(0, len(stream), 1000):
            incoming.write(stream[start : start + 1000])
        incoming.finish()
        meta = self.machine.install(incoming)
        self.write(reset=meta)
        say_durable(meta.index)


def say_durable(index: int) -> None:
    os.write(1, b"durable %d\n" % index)


def open_member(directory: Path) -> tuple[StateMachine, LogStore]:
    """Open both, finish what a crash has interrupted, replay the log."""
    machine = StateMachine.open(directory / "state")
    store = LogStore.open(directory / "log")
    store.initialise(CLUSTER_ID, MEMBER_ID)
    if machine.configuration is None:
        machine.initialise(CONFIGURATION, CLUSTER_ID, MEMBER_ID)
    store.align(SnapshotMeta(machine.applied_index, machine.applied_term, CONFIGURATION))
    return machine, store


def replay(machine: StateMachine, store: LogStore) -> None:
    while machine.applied_index < store.last_index:
        machine.apply(store.entries(machine.applied_index + 1, store.last_index + 1, 3000))


def main() -> None:
    segment.SEGMENT_BYTES, writer.AT_ONCE_BYTES = SEGMENT_BYTES, AT_ONCE_BYTES
    member = Member(Path(sys.argv[1]), *sys.argv[2:] or [""])
    replay(member.machine, member.store)
    member.run()


if __name__ == "__main__":
    main()
