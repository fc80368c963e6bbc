"""A cluster in one process for the raft tests: real cores, disks in memory, a network that does what it is told.

``Node`` is the smallest correct driver: it writes what a core hands over, sends, applies, streams snapshots. Only
these act, in the order that a test says.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from kvraft.raft.changes import enter, leave
from kvraft.raft.core import Raft
from kvraft.raft.messages import (
    NO_NODE,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    RaftConfig,
    RaftStart,
    ReadState,
    Ready,
    Role,
    SnapshotMeta,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def encode_change(voters: Iterable[int], learners: Iterable[int] = ()) -> bytes:
    """The data of a CONFIGURATION entry here: who is to vote and who is to learn."""
    return "/".join(",".join(map(str, ids)) for ids in (voters, learners)).encode()


def changed(configuration: Configuration, entry: Entry) -> Configuration:
    """The configuration once ``entry`` is applied."""
    if entry.kind != EntryKind.CONFIGURATION:
        return configuration
    if not entry.data:
        return leave(configuration)
    voters, learners = ([int(n) for n in part.split(",") if n] for part in entry.data.decode().split("/"))
    return enter(configuration, voters, learners)


class Disk:
    """What survives a crash. Reads are strict: asking for what was never written is an error."""

    def __init__(self, configuration: Configuration) -> None:
        self.hard_state = HardState()
        self.log: dict[int, Entry] = {}
        self.compacted_index = 0
        self.compacted_term = 0
        self.configuration = configuration
        self.applied: list[Entry] = []

    @property
    def last_index(self) -> int:
        return self.compacted_index + len(self.log)

    @property
    def applied_index(self) -> int:
        return self.applied[-1].index if self.applied else 0

    def write(self, ready: Ready, state: list[Entry] | None) -> None:
        """One batch, atomically; ``state`` is what came with ``ready.snapshot``."""
        if ready.snapshot is not None:
            assert state is not None
            self.log.clear()
            self.compacted_index, self.compacted_term = ready.snapshot.index, ready.snapshot.term
            self.configuration = ready.snapshot.configuration
            self.applied = list(state)
        if ready.entries:
            for index in range(ready.entries[0].index, self.last_index + 1):
                del self.log[index]
            assert ready.entries[0].index == self.last_index + 1, "a gap in the log"
            self.log.update((entry.index, entry) for entry in ready.entries)
        if ready.hard_state is not None:
            self.hard_state = ready.hard_state

    def compact(self, index: int) -> None:
        term = self.term(index)
        for discarded in range(self.compacted_index + 1, index + 1):
            del self.log[discarded]
        self.compacted_index, self.compacted_term = index, term

    def start(self) -> RaftStart:
        return RaftStart(
            hard_state=self.hard_state,
            configuration=self.configuration,
            compacted_index=self.compacted_index,
            compacted_term=self.compacted_term,
            last_index=self.last_index,
            applied_index=self.applied_index,
        )

    def term(self, index: int) -> int:
        return self.log[index].term

    def entries(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        found = [self.log[low]]
        size = len(found[0].data)
        for index in range(low + 1, high):
            size += len(self.log[index].data)
            if size > max_bytes:
                break
            found.append(self.log[index])
        return found


def fill(disk: Disk, terms: Sequence[int], term: int = 0, vote: int = NO_NODE, commit: int = 0) -> Disk:
    """Give a disk a log with these terms from index 1 on, and a hard state (by default of the last term)."""
    disk.log = {i: Entry(i, t, 0, b"%d/%d" % (i, t)) for i, t in enumerate(terms, 1)}
    disk.hard_state = HardState(term or (terms[-1] if terms else 0), vote, commit)
    return disk


@dataclass
class Batch:
    ready: Ready
    state: list[Entry] | None


class Node:
    """One core and its driver. ``slow_disk``: batches wait for ``persist``."""

    def __init__(self, config: RaftConfig, disk: Disk, seed: int = 0) -> None:
        self.config = config
        self.disk = disk
        self.slow_disk = False
        self.incarnation = 0
        self.seed = seed
        self.boot()

    def boot(self) -> None:
        """Start from the disk alone. The seed changes with every start, as ``Raft`` demands."""
        rng = random.Random(self.seed * 1000 + self.incarnation)
        self.incarnation += 1
        self.raft = Raft(self.config, self.disk.start(), self.disk, rng)
        self.state = list(self.disk.applied)
        self.configuration = self.disk.configuration
        self.configurations = {self.disk.applied_index: self.configuration}
        self.batches: deque[Batch] = deque()
        self.reads: list[ReadState] = []
        self.dropped_reads: list[int] = []
        self.received: dict[tuple[int, int], list[Entry]] = {}

    def pump(self) -> list[Message]:
        """Do everything that the core asks for; what is to be sent."""
        out: list[Message] = []
        while self.raft.has_ready():
            ready = self.raft.ready()
            out += ready.messages
            state = None
            if ready.snapshot is not None:
                state = self.received[ready.snapshot.index, ready.snapshot.term]
                self.state = list(state)
                self.set_configuration(ready.snapshot.index, ready.snapshot.configuration)
            if ready.seq:
                self.batches.append(Batch(ready, state))
            else:
                assert not ready.after_persist
                assert not ready.entries
                assert ready.hard_state is None
            for entry in ready.committed:
                assert entry.index == (self.state[-1].index if self.state else 0) + 1, "applied out of order"
                assert self.disk.log[entry.index] == entry, "applied before it was durable"
                self.state.append(entry)
                if entry.kind == EntryKind.CONFIGURATION:
                    self.set_configuration(entry.index, changed(self.configuration, entry))
            self.raft.apply_configuration(self.configuration)
            self.reads += ready.reads
            self.dropped_reads += ready.dropped_reads
            if not self.slow_disk:
                out += self.persist_all()
        return out

    def set_configuration(self, index: int, configuration: Configuration) -> None:
        self.configuration = self.configurations[index] = configuration

    def persist(self) -> list[Message]:
        """The oldest batch becomes durable; what waited for it."""
        batch = self.batches.popleft()
        self.disk.write(batch.ready, batch.state)
        self.raft.persisted(batch.ready.seq)
        return batch.ready.after_persist

    def persist_all(self) -> list[Message]:
        out: list[Message] = []
        while self.batches:
            out += self.persist()
        return out

    def sync_state(self) -> None:
        """The state machine reaches the disk; never ahead of the log there."""
        self.disk.applied = [entry for entry in self.state if entry.index <= self.disk.last_index]
        known = [index for index in self.configurations if index <= self.disk.applied_index]
        self.disk.configuration = self.configurations[max(known)]

    def compact(self, index: int) -> None:
        """Discard entries that the state covers durably."""
        self.sync_state()
        self.raft.compact(index)
        self.disk.compact(index)

    def snapshot(self) -> tuple[SnapshotMeta, list[Entry]]:
        """What a stream of the state would carry now."""
        last = self.state[-1]
        return SnapshotMeta(last.index, last.term, self.raft.configuration), list(self.state)


@dataclass
class Cluster:
    """Nodes and the messages between them, in order of sending."""

    nodes: dict[int, Node]
    network: list[Message] = field(default_factory=list)
    cut: set[tuple[int, int]] = field(default_factory=set)

    def __getitem__(self, node_id: int) -> Raft:
        return self.nodes[node_id].raft

    def pump(self) -> None:
        for node in self.nodes.values():
            self.network += [m for m in node.pump() if (m.sender, m.to) not in self.cut]

    def deliver_one(self, message: Message) -> None:
        """Hand a message over; a snapshot is streamed as the driver would, and its delivery reported."""
        receiver = self.nodes[message.to]
        if message.kind == MessageKind.SNAPSHOT and message.snapshot is None:
            sender = self.nodes[message.sender]
            meta, state = sender.snapshot()
            receiver.received[meta.index, meta.term] = state
            receiver.raft.step(msgspec.structs.replace(message, snapshot=meta))
            sender.raft.report_snapshot(message.to, meta.index)
        else:
            receiver.raft.step(message)

    def deliver(self) -> None:
        """Until nothing is in flight."""
        self.pump()
        for _ in range(10_000):
            if not self.network:
                return
            self.deliver_one(self.network.pop(0))
            self.pump()
        raise AssertionError("the network never falls quiet")

    def isolate(self, node_id: int) -> None:
        for other in self.nodes:
            self.cut |= {(node_id, other), (other, node_id)}
        self.network = [m for m in self.network if node_id not in (m.sender, m.to)]

    def elect(self, node_id: int) -> None:
        self[node_id].campaign()
        self.deliver()
        assert self[node_id].role is Role.LEADER

    def propose(self, node_id: int, *datas: bytes) -> None:
        self[node_id].propose(datas)
        self.deliver()

    def change(self, node_id: int, voters: Iterable[int], learners: Iterable[int] = ()) -> None:
        self[node_id].propose_configuration(encode_change(voters, learners))
        self.deliver()

    def tick(self, node_ids: Iterable[int], ticks: int = 1) -> None:
        for _ in range(ticks):
            for node_id in node_ids:
                self[node_id].tick()
            self.deliver()


def make_node(
    node_id: int = 1,
    voters: tuple[int, ...] = (1, 2, 3),
    outgoing: tuple[int, ...] = (),
    learners: tuple[int, ...] = (),
    disk: Disk | None = None,
    **settings: Any,
) -> Node:
    disk = disk or Disk(Configuration(voters, outgoing, learners))
    return Node(RaftConfig(node_id, **settings), disk, seed=node_id)


def make_cluster(
    size: int = 3,
    learners: tuple[int, ...] = (),
    disks: dict[int, Disk] | None = None,
    spare: tuple[int, ...] = (),
    **settings: Any,
) -> Cluster:
    """Nodes ``1..size``; ``learners`` among them have no vote, ``spare`` ones are not members yet."""
    voters = tuple(i for i in range(1, size + 1) if i not in learners and i not in spare)
    disks = disks or {}
    return Cluster(
        {i: make_node(i, voters, learners=learners, disk=disks.get(i), **settings) for i in range(1, size + 1)}
    )


def lead(node: Node, peers: tuple[int, ...] = (2, 3)) -> None:
    """Make a lone node leader of its next term by answering for its peers; its output so far is discarded."""
    raft = node.raft
    raft.campaign()
    node.pump()
    if raft.role is Role.PRE_CANDIDATE:
        for peer in peers:
            raft.step(Message(MessageKind.PREVOTE_RESPONSE, peer, node.config.node_id, raft.term + 1))
        node.pump()
    for peer in peers:
        raft.step(Message(MessageKind.VOTE_RESPONSE, peer, node.config.node_id, raft.term))
    assert raft.role is Role.LEADER
    node.pump()


def leader_with_commit(*acknowledging: int, voters: tuple[int, ...] = (1, 2, 3)) -> Node:
    """A leader of term 1 whose no-op is committed and acknowledged by ``acknowledging`` (default: all)."""
    node = make_node(voters=voters, pre_vote=False)
    lead(node, voters[1:])
    for peer in acknowledging or voters[1:]:
        node.raft.step(Message(MessageKind.APPEND_RESPONSE, peer, 1, 1, index=1))
    node.pump()
    return node


def entries(first: int, *terms: int) -> tuple[Entry, ...]:
    """Entries from index ``first`` on, with these terms and telling data."""
    return tuple(Entry(i, t, 0, b"%d/%d" % (i, t)) for i, t in enumerate(terms, first))


def kinds(messages: Iterable[Message]) -> list[str]:
    """Messages in short: kind and receiver."""
    return [f"{MessageKind(m.kind).name}->{m.to}" for m in messages]
