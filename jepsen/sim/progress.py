"""Liveness after healing: a write and a read through every node, and one state everywhere, within a bounded time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jepsen.history import Kind, Operation
from jepsen.sim.machine import Command
from jepsen.sim.world import MILLISECOND, SECOND, Violation
from kvraft.errors import KvraftError, NotLeader

if TYPE_CHECKING:
    from collections.abc import Callable

    from jepsen.sim.clients import Traffic

RETRY = 50 * MILLISECOND
MAX_RETRY = 2 * SECOND
"""Retries come at growing intervals: a cluster that is slow by its options must not be flooded by its probes."""


class Probe:
    """Asks one node for a write, following its hints to the leader, and then for a read; until both succeed."""

    __slots__ = ("_node_id", "_operation", "_process", "_retry", "_t", "_target", "done")

    def __init__(self, traffic: Traffic, node_id: int) -> None:
        self._t = traffic
        self._node_id = self._target = node_id
        self._process = traffic.new_process()
        self._operation: Operation | None = None
        self._retry = RETRY
        self.done = False
        traffic.world.after(0, self._write)

    def _later(self, action: Callable[..., None], *arguments: Any) -> None:
        self._t.world.after(self._retry, action, *arguments)
        self._retry = min(self._retry * 3 // 2, MAX_RETRY)

    def _write(self) -> None:
        t = self._t
        value = f"probe{t.attempts}"
        key = f"k{self._node_id % t.options.keys}"
        operation = t.history.invoke(self._process, Kind.WRITE, key, t.world.now / SECOND, value=value)
        self._attempt_write(operation)

    def _attempt_write(self, operation: Operation) -> None:
        t = self._t
        t.attempts += 1
        attempt = t.attempts

        def reply(answer: Any) -> None:
            now = t.world.now / SECOND
            if not isinstance(answer, KvraftError):
                t.history.ok(operation, answer, now)
                t.world.after(1, self._read)
            elif answer.definite:
                t.invariants.refused(attempt, str(answer))
                hint = answer.leader if isinstance(answer, NotLeader) else ""
                self._target = int(hint) if hint else self._node_id
                self._later(self._attempt_write, operation)
            else:
                lost()

        def lost() -> None:
            t.history.unknown(operation, t.world.now / SECOND)
            self._process = t.new_process()
            self._later(self._write)

        command = Command(attempt, operation.kind.value, operation.key, operation.value)
        t.nodes[self._target].propose(command, reply, lost)

    def _read(self) -> None:
        t = self._t
        key = f"k{self._node_id % t.options.keys}"
        operation = t.history.invoke(self._process, Kind.READ, key, t.world.now / SECOND)

        def reply(answer: Any) -> None:
            if isinstance(answer, KvraftError):
                t.history.fail(operation, t.world.now / SECOND)
                self._later(self._read)
            else:
                t.history.ok(operation, answer, t.world.now / SECOND)
                self.done = True

        t.nodes[self._node_id].read(key, reply, lambda: None, waits=False)


def demand_progress(traffic: Traffic) -> None:
    """Run a healed cluster until every member has served a write and a read and all agree. Raises ``Violation``.

    Who the members are is what a change that was under way leads to; nodes outside may be in any state.
    """
    traffic.stopped = True
    world, options = traffic.world, traffic.options
    probes: dict[int, Probe] = {}
    bound = world.now + 60 * options.election_ticks * options.tick + 10 * SECOND

    def look() -> None:
        present = _members(traffic)
        for node_id in present:
            if node_id not in probes:
                probes[node_id] = Probe(traffic, node_id)
        if (
            all(probes[node_id].done for node_id in present)
            and not traffic.invariants.configuration.outgoing
            and _converged(traffic)
        ):
            world.halt()
        else:
            world.after(options.tick, look)

    look()
    world.run(until=bound)
    if not world.halted:
        waiting = [node_id for node_id in _members(traffic) if not probes[node_id].done]
        if waiting:
            raise Violation("progress", f"no write and read through nodes {waiting} after healing")
        raise Violation(
            "progress", f"the nodes do not converge: {_indexes(traffic)}, {traffic.invariants.configuration}"
        )
    first, *others = _members(traffic)
    state = traffic.nodes[first].state()
    for node_id in others:
        other = traffic.nodes[node_id].state()
        if other != state:
            raise Violation("convergence", f"node {first} has {state}, node {node_id} has {other}")


def _members(traffic: Traffic) -> list[int]:
    configuration = traffic.invariants.configuration
    return sorted({*configuration.voters, *configuration.outgoing, *configuration.learners})


def _converged(traffic: Traffic) -> bool:
    """Everybody has applied everything, and every lease, which nobody renews any more, has ended."""
    if any(state.leases for node in _members(traffic) if (state := traffic.nodes[node].state()) is not None):
        return False
    indexes = {index for pair in _indexes(traffic).values() for index in pair}
    return len(indexes) == 1


def _indexes(traffic: Traffic) -> dict[int, tuple[int, int]]:
    """Applied and last index of each member."""
    found: dict[int, tuple[int, int]] = {}
    for node_id in _members(traffic):
        driver = traffic.nodes[node_id].driver
        if driver is not None:
            found[node_id] = (driver.machine.applied_index, driver.raft.last_index)
    return found
