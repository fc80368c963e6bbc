"""The simulated network between nodes: per-link loss, delay, reordering, duplication and blockades, each way apart.

Messages are immutable and travel by reference. A node's end of it, its ``Line``, is the driver's ``Transport``.
"""

from __future__ import annotations

from heapq import heappush
from math import floor
from typing import TYPE_CHECKING

import msgspec

from jepsen.sim.machine import Snapshot, snapshot_meta
from jepsen.sim.world import MILLISECOND
from kvraft.raft.messages import Message, MessageKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from jepsen.sim.node import SimNode
    from jepsen.sim.options import Options
    from jepsen.sim.world import World
    from kvraft.server.driver import Driver
    from kvraft.wire.peer import PeerAnswer, Question

    Hearing = tuple[SimNode, int, Callable[[Driver], None]]
    """A node, the life of it that is meant, and what its driver then hears."""

MAX_HELD = 50
"""Messages that a blocked link keeps."""
_KINDS = [""] + [kind.name.lower() for kind in MessageKind]


class Link:
    """One direction between two nodes. ``blocked`` counts the blockades that stand.

    A blocked link loses what it is given or, like a connection that outlives the blockade, ``held`` keeps it.
    """

    __slots__ = ("blocked", "held", "last_arrival")

    def __init__(self) -> None:
        self.blocked = 0
        self.held: list[Message] = []
        self.last_arrival = 0


class Network:
    """Carries messages between nodes, or not."""

    __slots__ = ("_arrive", "_options", "_world", "latency", "links", "loss", "nodes", "stragglers")

    def __init__(self, world: World, options: Options) -> None:
        self._world = world
        self._options = options
        self._arrive = self._deliver  # bound once: it is planned all the time
        self.nodes: dict[int, SimNode] = {}
        self.loss = options.loss
        self.latency = options.latency
        self.stragglers = options.stragglers
        ids = range(1, options.processes + 1)
        self.links = {a: {b: Link() for b in ids if b != a} for a in ids}

    def send(self, messages: Sequence[Message]) -> None:
        """Send each message on its own; whatever is lost is lost silently."""
        world, options = self._world, self._options
        random = world.random
        links = self.links[messages[0].sender]
        world.sent += messages
        for message in messages:
            link = links[message.to]
            if link.blocked:
                self._stop(link, message)
                continue
            if self.loss and random() < self.loss:
                world.note("lost", message)
                continue
            delay = self.latency + floor(options.jitter * random())
            if self.stragglers and random() < self.stragglers:
                delay += floor(options.straggle * random())
            if options.fifo:
                arrival = world.now + delay
                if arrival < link.last_arrival:
                    delay = link.last_arrival - world.now
                else:
                    link.last_arrival = arrival
            elif options.duplication and random() < options.duplication:
                world.plan(delay + floor(options.jitter * 4 * random()), self._arrive, (link, message))
            # ``World.plan``, written out
            heappush(world.heap, (world.now + delay, next(world.numbers), self._arrive, (link, message)))

    def _stop(self, link: Link, message: Message) -> None:
        if self._options.hold and len(link.held) < MAX_HELD:
            link.held.append(message)
        else:
            self._world.note("lost", message)

    def _deliver(self, sent: tuple[Link, Message]) -> None:
        link, message = sent
        world = self._world
        if link.blocked:
            self._stop(link, message)
            return
        node = self.nodes[message.to]
        driver = node.driver
        if driver is None:
            if world.random() < 0.5:  # the port refuses connections, and the sender hears of it
                world.after(self.latency, self._refused, message.sender, message.to)
            return
        world.record((world.now, "deliver", message))
        driver.receive(message)
        node.wake()

    def _refused(self, sender: int, peer: int) -> None:
        node = self.nodes[sender]
        if node.driver is not None and not node.paused:
            node.driver.peer_died(peer)
            node.driver.link_lost(peer)
            node.wake()

    def ask(self, sender: SimNode, peer: int, questions: Sequence[Question]) -> bool:
        """Questions travel together; what is lost ends their connection, sooner or later or unnoticed."""
        receiver = self.nodes[peer]
        if receiver.driver is None and self._world.random() < 0.5:
            return False  # known to be gone
        origin = (sender.node_id, sender.life)
        lost = (sender, sender.life, lambda driver: driver.link_lost(peer))
        asked = (receiver, receiver.life, lambda driver: driver.asked(origin, questions))
        self._carry(self.links[sender.node_id][peer], asked, lost)
        return True

    def answer(self, sender: SimNode, origin: tuple[int, int], answers: Sequence[PeerAnswer]) -> None:
        """To the life of the node that has asked."""
        receiver = self.nodes[origin[0]]
        peer = sender.node_id
        lost = (receiver, origin[1], lambda driver: driver.link_lost(peer))
        answered = (receiver, origin[1], lambda driver: driver.answered(peer, answers))
        self._carry(self.links[peer][origin[0]], answered, lost)

    def _carry(self, link: Link, arrival: Hearing, loss: Hearing) -> None:
        world = self._world
        delay = self.latency + floor(self._options.jitter * world.random())
        if link.blocked or (self.loss and world.random() < self.loss):
            world.note("lost question or answer")
            if world.random() < 0.7:
                world.after(delay * 10, self._hear, link, loss, None)
        else:
            world.after(delay, self._hear, link, arrival, loss)

    def _hear(self, link: Link, hearing: Hearing, loss: Hearing | None) -> None:
        node, life, what = hearing
        if loss is not None and (link.blocked or node.driver is None or node.life != life):
            self._world.after(self.latency, self._hear, link, loss, None)
        elif node.driver is not None and node.life == life:
            node.hear(what)

    def send_snapshot(self, message: Message) -> None:
        """Stream the sender's last committed state; several round trips, and it may break off."""
        world = self._world
        sender = self.nodes[message.sender]
        state = sender.committed_state()
        message = msgspec.structs.replace(message, snapshot=snapshot_meta(state))
        delay = world.between(2, 10) * (self.latency + self._options.jitter) + world.between(0, 100 * MILLISECOND)
        lost = world.random() < 0.1 + self.loss
        world.after(delay, self._deliver_snapshot, message, Snapshot(state), lost, sender.life)

    def _deliver_snapshot(self, message: Message, snapshot: Snapshot, lost: bool, life: int) -> None:
        world = self._world
        sender, receiver = self.nodes[message.sender], self.nodes[message.to]
        there, back = self.links[message.sender][message.to], self.links[message.to][message.sender]
        index = 0
        if not lost and not there.blocked and sender.life == life and receiver.driver is not None:
            assert message.snapshot is not None
            world.note("deliver", message)
            receiver.driver.receive_snapshot(message, snapshot)
            receiver.wake()
            index = message.snapshot.index
        else:
            world.note("lost", message)
        if back.blocked:
            index = 0
        world.after(self.latency, self._snapshot_ended, sender, life, message.to, index)

    @staticmethod
    def _snapshot_ended(sender: SimNode, life: int, peer: int, index: int) -> None:
        if sender.life == life and sender.driver is not None:
            sender.driver.snapshot_sent(peer, index)
            sender.wake()

    def block(self, pairs: Iterable[tuple[int, int]], *, by: int) -> None:
        """Put up (``by=1``) or take down (-1) a blockade on each ``(sender, receiver)``."""
        for sender, receiver in pairs:
            link = self.links[sender][receiver]
            link.blocked += by
            if not link.blocked:
                self._release(link)

    def _release(self, link: Link) -> None:
        held, link.held = link.held, []
        for message in held:
            self._world.plan(self._world.between(0, 1 + self._options.jitter), self._deliver, (link, message))

    def recover(self) -> None:
        """No more disturbance: what is sent from now on arrives, in the latency of the options."""
        self.loss = self.stragglers = 0.0
        self.latency = self._options.latency
        for links in self.links.values():
            for link in links.values():
                link.blocked = 0
                self._release(link)


class Line:
    """One life's end of the network."""

    __slots__ = ("_network", "_node", "send", "send_snapshot")

    def __init__(self, network: Network, node: SimNode) -> None:
        self._network = network
        self._node = node
        self.send = network.send
        self.send_snapshot = network.send_snapshot

    def ask(self, peer: int, questions: Sequence[Question]) -> bool:
        """See ``Network.ask``."""
        return self._network.ask(self._node, peer, questions)

    def answer(self, origin: Any, answers: Sequence[PeerAnswer]) -> None:
        """See ``Network.answer``."""
        self._network.answer(self._node, origin, answers)


def format_message(message: Message) -> str:
    """One message as a short line."""
    text = f"{message.sender}->{message.to} {_KINDS[message.kind]} term={message.term}"
    for name in ("index", "log_term", "commit", "reject_hint", "context"):
        value = getattr(message, name)
        if value:
            text += f" {name}={value}"
    if message.reject:
        text += " reject"
    if message.force:
        text += " force"
    if message.entries:
        first, last = message.entries[0], message.entries[-1]
        text += f" entries={first.index}..{last.index} of terms {first.term}..{last.term}"
    if message.snapshot:
        text += f" snapshot={message.snapshot.index} of term {message.snapshot.term}"
    return text
