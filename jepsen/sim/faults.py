"""What goes wrong in a run: crashes, partitions, pauses, clocks, disks, transfers, lies. Drawn from the run's numbers.

One method per kind in ``options.FAULTS``; each plans its own end, and ``heal`` ends everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jepsen.sim.machine import Change
from jepsen.sim.world import MILLISECOND
from kvraft.raft.messages import ProposalDropped, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jepsen.sim.network import Network
    from jepsen.sim.node import SimNode
    from jepsen.sim.options import Options
    from jepsen.sim.world import World
    from kvraft.raft.messages import Configuration


class Faults:
    """Injects faults into one run until ``heal``."""

    def __init__(self, world: World, options: Options, nodes: dict[int, SimNode], network: Network) -> None:
        self._world = world
        self._options = options
        self._nodes = nodes
        self._network = network
        self._kinds: dict[str, Callable[[], None]] = {
            kind: getattr(self, "_" + kind.replace("-", "_")) for kind in options.faults
        }
        self._healed = False
        self._ambushes = 0
        self._marked = (0, 0)
        self.injected = 0
        for node in nodes.values():
            node.on_elected = self._elected
            node.on_commit = self._committed
            if "crash-install" in options.faults:
                node.on_install = self._installed

    def start(self) -> None:
        """Plan the first fault."""
        self._world.after(self._interval(), self._next)

    def _interval(self) -> int:
        return int(self._options.fault_interval * (0.2 + 1.6 * self._world.random()))

    def _next(self) -> None:
        if self._healed:
            return
        kind = self._options.faults[self._world.between(0, len(self._options.faults))]
        self._world.note(f"fault: {kind}")
        self.injected += 1
        self._kinds[kind]()
        self._world.after(self._interval(), self._next)

    def heal(self) -> None:
        """No further fault; every standing one ends, every process runs again."""
        self._healed = True
        self._world.note("healed")
        self._network.recover()
        for node in self._nodes.values():
            node.disk.recover()
            node.tick_rate = node.base_rate
            if node.paused:
                node.resume()
            node.start()

    # ------------------------------------------------------------------ helpers

    def _any(self) -> SimNode:
        return self._nodes[self._world.between(1, len(self._nodes) + 1)]

    def _leader(self) -> SimNode:
        """The node that leads in the highest term; any node when none does."""
        leaders = [
            node for node in self._nodes.values() if node.driver is not None and node.driver.raft.role == Role.LEADER
        ]
        if not leaders:
            return self._any()
        return max(leaders, key=lambda node: node.driver.raft.term if node.driver is not None else 0)

    def _later(self, action: Callable[..., None], *arguments: object) -> None:
        """Do ``action`` after a random time, unless everything has been healed by then."""
        delay = self._world.between(20 * MILLISECOND, 20 * MILLISECOND + self._options.fault_length)
        self._world.after(delay, self._unless_healed, action, arguments)

    def _unless_healed(self, action: Callable[..., None], arguments: tuple[object, ...]) -> None:
        if not self._healed:
            action(*arguments)

    def _crash_and_restart(self, node: SimNode) -> None:
        node.crash()
        self._later(node.start)

    def _block(self, pairs: list[tuple[int, int]]) -> None:
        self._world.note("blocked", pairs)
        self._network.block(pairs, by=1)
        self._later(self._unblock, pairs)

    def _unblock(self, pairs: list[tuple[int, int]]) -> None:
        self._world.note("unblocked", pairs)
        self._network.block(pairs, by=-1)

    def _others(self, node: SimNode) -> list[int]:
        return [peer for peer in self._nodes if peer != node.node_id]

    # ------------------------------------------------------------------ processes

    def _crash(self) -> None:
        self._crash_and_restart(self._any())

    def _crash_leader(self) -> None:
        self._crash_and_restart(self._leader())

    def _crash_many(self) -> None:
        """A power cut: a majority, or everybody, at one moment."""
        spared = self._world.between(0, (len(self._nodes) + 1) // 2)
        for node in list(self._nodes.values())[spared:]:
            self._crash_and_restart(node)

    def _ambush(self) -> None:
        """The next leaders are struck down as they take office, so that logs come to differ."""
        self._ambushes = self._world.between(1, 8)

    def _elected(self, node: SimNode) -> None:
        if not self._ambushes:
            return
        self._ambushes -= 1
        self._marked = (node.node_id, node.life)
        point = self._world.random()
        if point < 0.4:  # before anybody hears of what it writes
            self._world.after(0, self._unless_healed, self._strike, (node, node.life, self._isolate))
        elif point < 0.6:
            delay = self._world.between(0, 2 * (self._options.latency + self._options.jitter + self._options.sync))
            self._world.after(delay, self._unless_healed, self._strike, (node, node.life, self._crash_and_restart))

    def _committed(self, node: SimNode) -> None:
        if self._marked == (node.node_id, node.life):  # before anybody hears of its first commit
            self._world.after(0, self._unless_healed, self._strike, (node, node.life, self._crash_and_restart))

    def _crash_install(self) -> None:
        """Whoever installs a snapshot in this run may crash before its log knows; and one who needs one is made."""
        self._pause()

    def _installed(self, node: SimNode) -> None:
        if self._world.random() < 0.5:
            delay = self._world.between(0, self._options.sync + self._options.sync_jitter // 2)
            self._world.after(delay, self._unless_healed, self._crash_again, (node, node.life))

    def _crash_again(self, node: SimNode, life: int) -> None:
        if node.life == life:
            self._crash_and_restart(node)

    def _strike(self, node: SimNode, life: int, blow: Callable[[SimNode], None]) -> None:
        if self._marked == (node.node_id, life):
            self._marked = (0, 0)
            if node.life == life:
                blow(node)

    def _stop(self) -> None:
        node = self._any()
        node.stop()
        self._later(node.start)

    def _pause(self) -> None:
        node = self._leader() if self._world.random() < 0.5 else self._any()
        if node.driver is not None and not node.paused:
            self._world.note(f"node {node.node_id} pauses")
            node.pause()
            self._later(self._resume, node, node.life)

    def _resume(self, node: SimNode, life: int) -> None:
        if node.life == life and node.paused:
            self._world.note(f"node {node.node_id} resumes")
            node.resume()
            if self._world.random() < 0.5:
                node.advance_clock(self._world.between(1, 4))  # a tick loop makes up for a few that it missed
            self._swap(node)

    # ------------------------------------------------------------------ network

    def _partition(self) -> None:
        """Two sides that cannot hear each other."""
        sides: tuple[list[int], list[int]] = ([], [])
        for node in self._nodes:
            sides[self._world.between(0, 2)].append(node)
        self._block([pair for a in sides[0] for b in sides[1] for pair in ((a, b), (b, a))])

    def _isolate_leader(self) -> None:
        self._isolate(self._leader())

    def _isolate(self, node: SimNode) -> None:
        """Cut one node off from all others; often its clock is slow, so that it believes in itself for longer."""
        pairs = [pair for peer in self._others(node) for pair in ((node.node_id, peer), (peer, node.node_id))]
        if self._world.random() < 0.5:
            node.tick_rate = 3.0
        self._world.note("isolated", node.node_id)
        self._network.block(pairs, by=1)
        self._later(self._return, node, pairs)

    def _return(self, node: SimNode, pairs: list[tuple[int, int]]) -> None:
        self._unblock(pairs)
        node.tick_rate = node.base_rate
        self._swap(node)

    def _swap(self, node: SimNode) -> None:
        """A node is back: now and then whoever leads dies at that moment, and its old truth meets an open election."""
        if self._world.random() < 0.3:
            leader = self._leader()
            if leader is not node:
                self._crash_and_restart(leader)

    def _one_way(self) -> None:
        """A node that hears everybody and reaches nobody, or the other way round."""
        node = self._any()
        deaf = self._world.random() < 0.5
        self._block([(peer, node.node_id) if deaf else (node.node_id, peer) for peer in self._others(node)])

    def _link(self) -> None:
        """Two nodes that cannot hear each other while others hear both."""
        node = self._any()
        others = self._others(node)
        if others:
            peer = others[self._world.between(0, len(others))]
            self._block([(node.node_id, peer), (peer, node.node_id)])

    def _loss(self) -> None:
        self._network.loss = 0.05 + 0.4 * self._world.random()
        self._later(self._calm)

    def _delay(self) -> None:
        self._network.latency = self._options.latency * self._world.between(2, 15)
        self._later(self._calm)

    def _calm(self) -> None:
        self._network.loss = self._options.loss
        self._network.latency = self._options.latency

    def _hints(self) -> None:
        """Transports tell nodes that others died or cannot be reached, true or not; or all that the leader did."""
        leader = self._leader().node_id if self._world.random() < 0.5 else 0
        for node in self._nodes.values():
            if node.driver is not None and not node.paused:
                for peer in self._others(node):
                    if peer == leader or (not leader and self._world.random() < 0.5):
                        node.driver.peer_died(peer)
                    else:
                        node.driver.unreachable(peer)
                node.wake()

    # ------------------------------------------------------------------ clocks

    def _clock_jump(self) -> None:
        self._any().advance_clock(self._world.between(2, 3 * self._options.election_ticks))

    def _clock_skew(self) -> None:
        self._any().tick_rate = 0.3 + 2.7 * self._world.random()

    # ------------------------------------------------------------------ disks

    def _disk_slow(self) -> None:
        node = self._any()
        node.disk.slowness = self._world.between(5, 40)
        self._later(self._disk_fast, node)

    @staticmethod
    def _disk_fast(node: SimNode) -> None:
        node.disk.slowness = 1

    def _disk_stall(self) -> None:
        node = self._leader() if self._world.random() < 0.5 else self._any()
        node.disk.stall(self._world.between(0, 2 * self._options.fault_length))

    # ------------------------------------------------------------------ who takes part

    def _change(self, wanted: Callable[[Configuration, list[int]], Change | None]) -> None:
        """What ``wanted`` makes of the leader's configuration and the nodes that are not in it; None: nothing."""
        leader = self._leader()
        if leader.driver is not None and leader.driver.raft.may_change:
            configuration = leader.driver.raft.configuration
            present = {*configuration.voters, *configuration.learners}
            change = wanted(configuration, [node for node in self._nodes if node not in present])
            if change is not None:
                leader.change(change)

    def _pick(self, nodes: Sequence[int]) -> int:
        return nodes[self._world.between(0, len(nodes))]

    def _member_add(self) -> None:
        self._change(lambda c, away: Change((*c.voters, self._pick(away)), c.learners) if away else None)

    def _member_learner(self) -> None:
        self._change(lambda c, away: Change(c.voters, (*c.learners, self._pick(away))) if away else None)

    def _member_promote(self) -> None:
        def promote(c: Configuration, away: list[int]) -> Change | None:
            chosen = self._pick(c.learners) if c.learners else 0
            rest = tuple(node for node in c.learners if node != chosen)
            return Change((*c.voters, chosen), rest) if chosen else None

        self._change(promote)

    def _member_remove(self) -> None:
        self._change(lambda c, away: _without(c, self._pick((*c.voters, *c.learners))))

    def _member_remove_leader(self) -> None:
        leader = self._leader().node_id
        self._change(lambda c, away: _without(c, leader))

    def _member_replace(self) -> None:
        """Several at once: everybody away comes, and as many go."""

        def replace(c: Configuration, away: list[int]) -> Change | None:
            stay = c.voters[len(away) :]
            return Change((*stay, *away), c.learners) if away else None

        self._change(replace)

    # ------------------------------------------------------------------ leadership

    def _transfer(self) -> None:
        leader, target = self._leader(), self._any()
        if leader.driver is not None and not leader.paused:
            try:
                leader.driver.raft.transfer_leadership(target.node_id)
            except ProposalDropped:
                return  # nobody leads at the moment
            leader.wake()


def _without(configuration: Configuration, node: int) -> Change | None:
    """The last voter stays."""
    voters = tuple(voter for voter in configuration.voters if voter != node)
    learners = tuple(learner for learner in configuration.learners if learner != node)
    return Change(voters, learners) if voters else None
