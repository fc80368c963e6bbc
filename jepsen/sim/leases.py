"""Leases in simulated clusters: each node's lessor, clients that grant and renew, and the judge of when leases end.

A lease's unit of time is a tick. Clocks run apart, jump and stand still, so "not before its TTL has passed" is judged
on the fastest clock that any node had at each moment: however leadership wandered, the clocks of those who led have
measured no more than that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jepsen.sim.machine import CHECKPOINT, EXPIRE, GRANT, Command, encode_command
from jepsen.sim.world import Violation
from kvraft.errors import KvraftError
from kvraft.server.leases import LeaseService
from kvraft.types import (
    LeaseCheckpointRequest,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseRevokeRequest,
)
from kvraft.wire import native

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jepsen.sim.clients import Traffic
    from jepsen.sim.machine import SimMachine
    from jepsen.sim.node import SimNode
    from jepsen.sim.world import World
    from kvraft.lease.lessor import Lessor
    from kvraft.server.contracts import Waiter
    from kvraft.server.driver import Driver
    from kvraft.types import LeaseCommand

SLACK_TICKS = 1.5
"""Clocks are read in whole ticks."""
_RENEW_SHARE = 0.33


class LeaseJudge:
    """What clients were promised, and what became of their leases."""

    __slots__ = ("_clock", "_ended", "_intervals", "_last", "_proposed", "_since", "_ttl", "_world", "attempts")

    def __init__(self, world: World) -> None:
        self._world = world
        self._clock = 0.0
        self._last = 0
        self._intervals: dict[int, int] = {}
        self._since: dict[int, float] = {}  # lease -> the fastest clock when its last answered renewal was asked for
        self._ttl: dict[int, int] = {}
        self._proposed: dict[int, float] = {}  # attempt to end a lease -> the fastest clock then
        self._ended: dict[int, float] = {}  # lease -> the fastest clock when it first ended on some node
        self.attempts = 0

    def clock(self) -> float:
        """The fastest clock, in ticks."""
        now = self._world.now
        if self._intervals:
            self._clock += (now - self._last) / min(self._intervals.values())
        self._last = now
        return self._clock

    def ticked(self, node: int, interval: int) -> None:
        """The next tick of ``node`` comes in ``interval`` microseconds."""
        self.clock()
        self._intervals[node] = interval

    def jumped(self, ticks: int) -> None:
        """A clock went on by so many ticks at once."""
        self._clock = self.clock() + ticks

    def attempt(self) -> int:
        """The number of a command that is no client's: below zero."""
        self.attempts -= 1
        return self.attempts

    def promised(self, lease: int, ttl: int, asked: float) -> None:
        """A client that asked when the fastest clock was ``asked`` was told that its lease lives for ``ttl`` more."""
        if asked > self._ended.get(lease, asked):
            raise Violation("lease", f"lease {lease} was renewed after its end")
        self._since[lease] = max(asked, self._since.get(lease, 0.0))
        self._ttl[lease] = ttl

    def denied(self, lease: int) -> None:
        """A client was told that there is no such lease."""
        if lease in self._since and lease not in self._ended:
            raise Violation("lease", f"lease {lease} is said not to be there, and nobody has ended it")

    def ending(self, attempt: int) -> None:
        """A leader proposes that a lease has ended."""
        self._proposed[attempt] = self.clock()

    def ended(self, command: Command) -> None:
        """... and that has taken effect, on some node."""
        lease = int(command.key)
        if lease in self._ended:
            return
        self._ended[lease] = self.clock()
        if lease in self._since:
            lived = self._proposed[command.attempt] - self._since[lease]
            if lived < self._ttl[lease] - SLACK_TICKS:
                raise Violation(
                    "lease", f"lease {lease} of {self._ttl[lease]} ticks was ended {lived:.1f} ticks after a renewal"
                )


class _Records:
    """A machine's leases as the lessor's ``Records``."""

    def __init__(self, machine: SimMachine) -> None:
        self._machine = machine

    @property
    def clock_ms(self) -> int:
        return self._machine.lease_clock

    def get(self, lease_id: int) -> tuple[int, int] | None:
        found = self._machine.leases.get(lease_id)
        return None if found is None else (found[0], max(found[1] - self.clock_ms, 1) if found[1] else 0)

    def walk(self, after: int | None, limit: int) -> list[tuple[int, int, int]]:
        ids = sorted(lease for lease in self._machine.leases if after is None or lease > after)
        return [(lease, *found) for lease in ids[:limit] if (found := self.get(lease)) is not None]


class Leases:
    """One life of one node's part in them."""

    def __init__(
        self, driver: Driver, machine: SimMachine, judge: LeaseJudge, election_ticks: int, lessor: type[Lessor]
    ) -> None:
        self._driver = driver
        self._judge = judge
        self._ticks = 0
        self.lessor = lessor(_Records(machine), self._propose, lambda: float(self._ticks), float(election_ticks))
        machine.observer = self.lessor
        self._service = LeaseService(0, _no_writes)
        self._service.driver, self._service.machine, self._service.lessor = driver, machine, self.lessor  # type: ignore[assignment]
        driver.forwarder.serve = self._serve

    def tick(self) -> None:
        """The node's clock goes on."""
        self._ticks += 1
        self.lessor.tick(self._driver.leading_term)

    def stood_still(self, ticks: int) -> None:
        """The process was paused, and the clock that leases are timed by was not."""
        self._ticks += ticks

    def keep_alive(self, lease: int, answer: Callable[[object], None], caller: object) -> None:
        """Renew a lease, on whatever this node is."""
        request = LeaseKeepAliveRequest(lease)
        self._service.handlers()[LeaseKeepAliveRequest](request, native.encode_body(request), caller, answer)  # type: ignore[arg-type]

    def _serve(self, body: bytes, answer: Waiter) -> None:
        request = native.decode_request(body)
        assert isinstance(request, LeaseKeepAliveRequest)
        self.keep_alive(request.lease_id, answer, _Asking(forwards=False))

    def _propose(self, command: LeaseCommand, waiter: Waiter) -> None:
        attempt = self._judge.attempt()
        if isinstance(command, LeaseRevokeRequest):
            simulated = Command(attempt, EXPIRE, str(command.lease_id), str(command.term))
            self._judge.ending(attempt)
            forwards = not command.term  # one without a term is like any client's
        else:
            assert isinstance(command, LeaseCheckpointRequest)
            rests = ",".join(f"{lease}:{left}" for lease, left in command.left_ms)
            simulated, forwards = Command(attempt, CHECKPOINT, "", f"{command.clock_ms};{rests}"), False
        self._driver.propose(encode_command(simulated), waiter, forwards=forwards)


class _Asking:
    """The service's ``Caller``."""

    congested = False

    def __init__(self, *, forwards: bool) -> None:
        self.forwards = forwards

    def hold(self, retry: Callable[[], None]) -> None:
        retry()


def _no_writes(*_: object) -> None:
    raise AssertionError("simulated clients grant through the driver")


class LeaseClient:
    """Grants a lease, keeps it alive for a while on any node, forgets it, and begins again."""

    __slots__ = ("_lease", "_renewals", "_t", "_ttl")

    def __init__(self, traffic: Traffic) -> None:
        self._t = traffic
        self._lease = self._ttl = self._renewals = 0
        self._later(1.0)

    @property
    def _judge(self) -> LeaseJudge:
        judge = self._t.invariants.leases
        assert judge is not None
        return judge

    def _later(self, ticks: float) -> None:
        world = self._t.world
        world.after(int(self._t.options.tick * ticks * (0.5 + world.random())), self._next)

    def _next(self) -> None:
        if self._t.stopped:
            return
        node = self._t.nodes[self._t.world.between(1, self._t.options.nodes + 1)]
        if self._renewals:
            self._renewals -= 1
            self._renew(node)
        else:
            self._grant(node)

    def _grant(self, node: SimNode) -> None:
        world, judge = self._t.world, self._judge
        attempt = judge.attempt()
        lease, ttl = -attempt, world.between(4, 40)
        asked = judge.clock()

        def reply(answer: Any) -> None:
            if not isinstance(answer, KvraftError):
                judge.promised(lease, ttl, asked)
                self._lease, self._ttl = lease, ttl
                self._renewals = world.between(0, 6)

        node.propose(Command(attempt, GRANT, str(lease), str(ttl)), reply, _unheard, forwards=True)
        self._later(ttl * _RENEW_SHARE)

    def _renew(self, node: SimNode) -> None:
        judge, lease = self._judge, self._lease
        asked = judge.clock()

        def reply(answer: Any) -> None:
            if isinstance(answer, LeaseKeepAliveResponse):
                if answer.ttl:
                    judge.promised(lease, answer.ttl, asked)
                else:
                    judge.denied(lease)

        if node.leases is not None and not node.paused:
            node.leases.keep_alive(lease, reply, _Asking(forwards=self._t.world.random() < 0.7))
            node.wake()
        # Now and then so late that what is left has been written down meanwhile.
        self._later(self._ttl * (_RENEW_SHARE if self._t.world.random() < 0.7 else 0.8))


def _unheard() -> None:
    """Whoever asked has lost the node; the lease may be there, and ends by itself."""
