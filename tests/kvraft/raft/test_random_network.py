"""Random runs of small clusters over a network that loses, repeats and reorders, with crashes, slow disks and changes
of who takes part.

A quick check of the core alone: election safety, leader completeness, log matching, state machine safety, commits
held by a durable quorum, promises kept on disk, reads no older than what was committed; after healing, progress.
"""

from __future__ import annotations

import contextlib
import random

import pytest

from kvraft.raft.messages import Entry, Message, MessageKind, ProposalDropped, Role
from kvraft.raft.quorum import committed_index
from kvraft.raft.replication import members
from tests.kvraft.raft.harness import Cluster, Node, encode_change, make_cluster

PHASES = 12
PHASE_STEPS = 80
SEEDS_PER_TEST = 40


class Run:
    """One run from one seed: ``act`` breaks and drives, ``check`` judges after every step."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        size = rng.choice((1, 2, 3, 3, 3, 4, 5))
        learners = (size,) if size > 2 and rng.random() < 0.3 else ()
        self.changing = rng.random() < 0.6
        spare = tuple(n for n in range(2, size + 1) if self.changing and n not in learners and rng.random() < 0.4)
        self.cluster: Cluster = make_cluster(
            size,
            learners,
            spare=spare,
            election_ticks=rng.choice((3, 10)),
            # Without these a removed member that does not know it may depose leaders for ever (thesis, 4.2.3).
            pre_vote=self.changing or rng.random() < 0.7,
            check_quorum=self.changing or rng.random() < 0.7,
            max_append_bytes=rng.choice((1, 20, 1000)),
            max_inflight_messages=rng.choice((1, 3, 256)),
            max_inflight_bytes=rng.choice((10, 1000)),
            max_committed_bytes=rng.choice((1, 1000)),
            cached_bytes=rng.choice((1, 500, 100_000)),
        )
        self.network: list[Message] = []
        self.cut: set[tuple[int, int]] = set()
        self.leaders: dict[int, int] = {}
        self.committed: dict[int, Entry] = {}
        self.commit_index = 0
        self.applied: dict[int, int] = dict.fromkeys(self.cluster.nodes, 0)
        self.configurations = {n: node.raft.configuration for n, node in self.cluster.nodes.items()}
        self.changes = 0
        self.read_floor: dict[int, int] = {}
        self.proposed = 0
        self.reordering = False
        self.loss = 0.0
        self.ticking = list(self.cluster.nodes)
        for node in self.cluster.nodes.values():
            node.slow_disk = True

    def nodes(self) -> list[Node]:
        return list(self.cluster.nodes.values())

    def new_phase(self) -> None:
        """Other weather: who cannot talk to whom, what is lost, whose clock runs."""
        rng = self.rng
        self.reordering = rng.random() < 0.4
        self.loss = rng.choice((0.0, 0.0, 0.1))
        self.cut.clear()
        ids = list(self.cluster.nodes)
        split = {node_id: rng.random() < 0.5 for node_id in ids}
        if rng.random() < 0.6:
            pairs = [(a, b) for a in ids for b in ids if split[a] != split[b]]
            one_way = rng.random() < 0.2
            self.cut.update((a, b) for a, b in pairs if not one_way or split[a])
        self.ticking = [node_id for node_id in ids if rng.random() < 0.8] or ids

    def act(self) -> None:
        rng = self.rng
        node = rng.choice(self.nodes())
        dice = rng.random()
        if dice < 0.5 and self.network:
            position = rng.randrange(len(self.network)) if self.reordering else 0
            message = self.network.pop(position)
            if rng.random() < 0.05:
                self.network.append(message)
            if rng.random() >= self.loss and (message.sender, message.to) not in self.cut:
                self.cluster.deliver_one(message)
            elif message.kind == MessageKind.SNAPSHOT:
                self.cluster[message.sender].report_snapshot(message.to, 0)  # as its stream would
        elif dice < 0.62:
            self.cluster[rng.choice(self.ticking)].tick()
        elif dice < 0.85:
            if node.batches:
                self.send(node, node.persist())
        elif dice < 0.93:
            self.propose(node)
        elif dice < 0.95:
            self.read(node)
        elif dice < 0.975:
            self.change(node)
        else:
            self.disturb(node)

    def propose(self, node: Node) -> None:
        if node.raft.role is Role.LEADER:
            count = self.rng.randrange(1, 4)
            datas = [b"%d" % (self.proposed + i) for i in range(count)]
            try:
                node.raft.propose(datas)
            except ProposalDropped:
                return
            self.proposed += count

    def change(self, node: Node) -> None:
        """Anybody may come, go, learn or be promoted, several at once; only nobody loses a vote and stays."""
        if not (self.changing and node.raft.may_change):
            return
        old = node.raft.configuration
        roles = {n: self.rng.choice(("voter", "learner", "away")) for n in self.cluster.nodes}
        voters = [n for n, role in roles.items() if role == "voter"]
        learners = [n for n, role in roles.items() if role == "learner" and n not in old.voters]
        if voters:
            node.raft.propose_configuration(encode_change(voters, learners))
            self.changes += 1

    def read(self, node: Node) -> None:
        request_id = len(self.read_floor) + 1
        self.read_floor[request_id] = max(n.raft.commit_index for n in self.nodes())
        node.raft.read_index(request_id)

    def disturb(self, node: Node) -> None:
        rng = self.rng
        peer = rng.choice(list(self.cluster.nodes))
        dice = rng.random()
        if dice < 0.25:
            node.boot()
            self.applied[node.config.node_id] = len(node.state)
        elif dice < 0.4:
            node.sync_state()
        elif dice < 0.7:
            self.compact(node)
        elif dice < 0.8:
            node.raft.report_unreachable(peer)
        elif dice < 0.85:
            node.raft.report_snapshot(peer, 0)
        elif dice < 0.9:
            node.raft.step_down("a test says so")
        elif dice < 0.95:
            node.raft.campaign()
        elif node.raft.role is Role.LEADER and peer in node.raft.configuration.voters:
            node.raft.transfer_leadership(peer)

    def compact(self, node: Node) -> None:
        if node.batches:
            return  # the harness has one disk for log and state, so it lets a snapshot land first
        index = min(node.raft.applied_index, node.disk.last_index)
        if index > node.disk.compacted_index:
            node.compact(self.rng.randrange(node.disk.compacted_index + 1, index + 1))

    def send(self, node: Node, messages: list[Message]) -> None:
        disk = node.disk
        for m in messages:
            if m.kind == MessageKind.HEARTBEAT_RESPONSE and m.index:
                assert disk.hard_state.term >= m.term, "acknowledged in a term that is not durable"
            if m.kind in (MessageKind.APPEND_RESPONSE, MessageKind.HEARTBEAT_RESPONSE) and not m.reject and m.index:
                assert disk.hard_state.term >= m.term, "acknowledged in a term that is not durable"
                assert disk.hard_state.term > m.term or disk.last_index >= m.index, "acknowledged too early"
            if m.kind == MessageKind.VOTE_RESPONSE and not m.reject:
                assert (disk.hard_state.term, disk.hard_state.vote) == (m.term, m.to) or (
                    disk.hard_state.term > m.term
                ), "voted before the vote was durable"
            if m.kind == MessageKind.VOTE:
                assert disk.hard_state.term >= m.term, "stood in a term that is not durable"
        self.network += messages

    def pump(self) -> None:
        for node in self.nodes():
            self.send(node, node.pump())

    def check(self) -> None:
        for node_id, node in self.cluster.nodes.items():
            raft = node.raft
            for entry in node.state[self.applied[node_id] :]:
                assert self.committed.setdefault(entry.index, entry) == entry, "two state machines differ"
            self.applied[node_id] = len(node.state)
            if raft.role is Role.LEADER:
                assert self.leaders.setdefault(raft.term, node_id) == node_id, "two leaders in one term"
                self.check_commit(node)
                self.check_completeness(node)
            for read in node.reads:
                assert read.index >= self.read_floor[read.request_id], "a read from the past"
            node.reads.clear()
            self.configurations[node_id] = raft.configuration

    def check_commit(self, leader: Node) -> None:
        index = leader.raft.commit_index
        if index <= self.commit_index:
            return
        term = leader.raft._log.known_term(index)
        holders = {
            node_id: int(
                node.disk.compacted_index >= index or (index in node.disk.log and node.disk.term(index) == term)
            )
            for node_id, node in self.cluster.nodes.items()
        }
        # What was committed now may be a change that is in force already.
        possible = (self.configurations[leader.config.node_id], leader.raft.configuration)
        assert any(committed_index(configuration, holders) for configuration in possible), (
            f"{index} is committed on {holders} of {possible}"
        )
        self.commit_index = index

    def check_completeness(self, leader: Node) -> None:
        newest = max(self.committed, default=0)
        if newest > leader.raft.compacted_index and leader.raft.term >= self.committed[newest].term:
            assert leader.raft._log.matches(newest, self.committed[newest].term), "a leader lacks a commit"

    def drive(self) -> None:
        for _ in range(PHASES):
            self.new_phase()
            for _ in range(self.rng.randrange(PHASE_STEPS * 2)):
                self.act()
                self.pump()
                self.check()
            self.check_log_matching()

    def check_log_matching(self) -> None:
        logs = [node.disk.log for node in self.nodes()]
        for mine in logs:
            for theirs in logs:
                agreed = False
                for index in sorted(mine.keys() & theirs.keys(), reverse=True):
                    agreed = agreed or mine[index].term == theirs[index].term
                    assert not agreed or mine[index] == theirs[index], "logs agree above a difference"

    def heal(self) -> None:
        """Loss, cuts and slow disks end; whoever leads then must bring everyone to the same state."""
        for node in self.nodes():
            node.slow_disk = False
            self.send(node, node.persist_all())
        index, term = 0, 0
        for _ in range(300):
            self.pump()
            while self.network:
                self.cluster.deliver_one(self.network.pop(0))
                self.pump()
                self.check()
            leaders = [node for node in self.nodes() if node.raft.role is Role.LEADER]
            newest = max(leaders, key=lambda node: node.raft.term, default=None)
            if newest is not None and newest.raft.term != term:
                with contextlib.suppress(ProposalDropped):
                    index, term = newest.raft.propose([b"healed"])
            elif newest is not None and term:
                taking_part = [self.cluster.nodes[n] for n in members(newest.raft.configuration)]
                if all(node.raft.applied_index == newest.raft.last_index for node in taking_part):
                    assert all(node.state == newest.state for node in taking_part)
                    assert newest.state[index - 1].data == b"healed"
                    assert not newest.raft.configuration.outgoing
                    return
            for node in self.nodes():
                node.raft.tick()
        raise AssertionError("no progress after healing")


@pytest.mark.parametrize("block", range(8))
def test_safety_and_progress(block: int) -> None:
    changes = 0
    for seed in range(block * SEEDS_PER_TEST, (block + 1) * SEEDS_PER_TEST):
        run = Run(seed)
        try:
            run.drive()
            run.heal()
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
        changes += run.changes
    assert changes >= SEEDS_PER_TEST // 2
