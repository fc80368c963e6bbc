"""Simulated clients: each does one operation after another and records what it was told. Sequential, without state.

The rules are those of a correct client: an operation goes to another node only when the answer says that it never
took effect; a lost answer is an unknown outcome, after which the client goes on as a new process.
"""

from __future__ import annotations

from math import floor
from typing import TYPE_CHECKING, Any

from jepsen.history import History, Kind, Operation, Outcome
from jepsen.sim.machine import Command
from jepsen.sim.world import MILLISECOND
from kvraft.errors import KvraftError, NotLeader

if TYPE_CHECKING:
    from jepsen.sim.invariants import Invariants
    from jepsen.sim.node import SimNode
    from jepsen.sim.options import Options
    from jepsen.sim.world import World

MAX_ATTEMPTS = 12
REQUEST_LOSS = 0.01
"""The share of requests, and of replies, that the clients' network loses."""
_READ, _WRITE, _CAS, _DELETE = Kind.READ, Kind.WRITE, Kind.CAS, Kind.DELETE  # faster to look up than members
_PENDING = Outcome.PENDING


class Traffic:
    """What all clients of a run share."""

    __slots__ = (
        "attempts",
        "history",
        "invariants",
        "left",
        "next_process",
        "nodes",
        "options",
        "processes",
        "seen",
        "stopped",
        "world",
    )

    def __init__(self, world: World, options: Options, nodes: dict[int, SimNode], invariants: Invariants) -> None:
        self.world = world
        self.options = options
        self.nodes = nodes
        self.invariants = invariants
        self.history = History()
        self.processes = options.processes
        self.left = options.operations
        self.attempts = 0
        self.next_process = 0
        self.stopped = False
        self.seen: dict[str, str | None] = {}
        """A recent value of each key, so that compare-and-swaps often succeed."""

    def new_process(self) -> int:
        """The number of a process that nobody has been."""
        self.next_process += 1
        return self.next_process


class Client:
    """One sequential client. ``target`` is the node that it believes to lead."""

    __slots__ = (
        "_asked",
        "_current",
        "_deadline",
        "_done_attempts",
        "_forwards",
        "_process",
        "_t",
        "_target",
        "_watched",
    )

    def __init__(self, traffic: Traffic) -> None:
        self._t = traffic
        self._process = traffic.new_process()
        self._target = 1
        self._current: Operation | None = None
        self._deadline = 0
        self._watched = False  # an event is planned that looks for the deadline
        self._done_attempts = 0
        self._asked = False
        self._forwards = False
        traffic.world.after(traffic.world.between(0, traffic.options.think), self.next)

    def next(self) -> None:
        """Start the next operation, if there is to be one."""
        t = self._t
        world, options = t.world, t.options
        if t.stopped or not t.left:
            return
        t.left -= 1
        kind = self._draw_kind()
        key = f"k{world.between(0, options.keys)}"
        value = f"v{len(t.history.operations)}" if kind in (_WRITE, _CAS) else None
        expected = t.seen.get(key) if kind is _CAS else None
        if kind is _READ and world.random() < options.follower_reads:
            self._target = world.between(1, t.processes + 1)
        self._forwards = bool(options.forwarded_writes) and world.random() < options.forwarded_writes
        if self._forwards:
            self._target = world.between(1, t.processes + 1)
        self._start(t.history.invoke(self._process, kind, key, world.now / 1e6, value=value, expected=expected))

    def _draw_kind(self) -> Kind:
        reads, writes, swaps, _ = self._t.options.mix
        point = self._t.world.random() - reads
        if point < 0:
            return _READ
        point -= writes
        if point < 0:
            return _WRITE
        return _CAS if point - swaps < 0 else _DELETE

    def _start(self, operation: Operation) -> None:
        self._current = operation
        self._done_attempts = 0
        world, timeout = self._t.world, self._t.options.timeout
        self._deadline = world.now + timeout
        if not self._watched:
            self._watched = True
            world.plan(timeout, self._watch, None)
        self._send(operation)

    def _watch(self, _: None) -> None:
        """Give up what takes too long. One event at a time does for all operations: few of them last so long."""
        world, operation = self._t.world, self._current
        if operation is not None and self._deadline > world.now:
            world.plan(self._deadline - world.now, self._watch, None)
            return
        self._watched = False
        if operation is not None:
            self._lost(operation)

    def _send(self, operation: Operation) -> None:
        t = self._t
        self._done_attempts += 1
        self._asked = True
        t.attempts += 1
        if t.world.random() >= REQUEST_LOSS:
            t.world.plan(self._delay(), self._arrive, (operation, self._target, t.attempts))

    def _delay(self) -> int:
        return 100 + floor(self._t.options.latency * self._t.world.random())

    def _arrive(self, asked: tuple[Operation, int, int]) -> None:
        t = self._t
        operation, target, attempt = asked
        node = t.nodes[target]

        def reply(answer: Any) -> None:
            if isinstance(answer, KvraftError) and answer.definite and operation.kind is not _READ:
                t.invariants.refused(attempt, str(answer))
            if t.world.random() >= REQUEST_LOSS:
                t.world.plan(self._delay(), self._answered, (operation, answer))

        def lost() -> None:
            t.world.plan(self._delay(), self._lost, operation)

        if operation.kind is _READ:
            accepted = node.read(operation.key, reply, lost, waits=self._forwards)
        else:
            command = Command(attempt, operation.kind, operation.key, operation.value, operation.expected)
            accepted = node.propose(command, reply, lost, forwards=self._forwards)
        if not accepted:
            t.world.plan(self._delay(), self._answered, (operation, NotLeader()))

    def _answered(self, told: tuple[Operation, Any]) -> None:
        operation, answer = told
        if operation is not self._current:
            return  # it gave up on this one
        t = self._t
        now = t.world.now / 1e6
        if not isinstance(answer, KvraftError):
            t.history.ok(operation, answer, now)
            if operation.kind is _READ:
                t.seen[operation.key] = answer
            elif operation.kind is _WRITE or (operation.kind is _CAS and answer):
                t.seen[operation.key] = operation.value
            self._finish()
        elif not answer.definite:
            self._lost(operation)
        elif self._done_attempts < MAX_ATTEMPTS:
            hint = answer.leader if isinstance(answer, NotLeader) else ""
            self._asked = False
            self._target = int(hint) if hint else t.world.between(1, t.processes + 1)
            pause = 1 if hint else 20 * self._done_attempts if self._done_attempts < 10 else 200
            t.world.plan(pause * MILLISECOND, self._again, operation)
        else:
            t.history.fail(operation, now)
            self._finish()

    def _again(self, operation: Operation) -> None:
        if operation is self._current:
            self._send(operation)

    def _lost(self, operation: Operation) -> None:
        if operation is not self._current or operation.outcome is not _PENDING:
            return
        t = self._t
        if not self._asked:  # every attempt so far was refused, and none is out
            t.history.fail(operation, t.world.now / 1e6)
            self._finish()
            return
        t.history.unknown(operation, t.world.now / 1e6)
        self._process = t.new_process()
        self._target = t.world.between(1, t.processes + 1)
        self._finish()

    def _finish(self) -> None:
        self._current = None
        world = self._t.world
        world.after(1 + floor(self._t.options.think * 2 * world.random()), self.next)
