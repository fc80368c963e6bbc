"""What a member does about leases: the requests of clients, and the clock while it leads."""

from __future__ import annotations

import secrets
import time
from math import ceil
from typing import TYPE_CHECKING

from kvraft.apply.command import encode_command
from kvraft.errors import KvraftError, NotLeader
from kvraft.lease.lessor import Lessor
from kvraft.server.observe.counters import Histogram, exponential
from kvraft.types import (
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseLeasesRequest,
    LeaseLeasesResponse,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvraft.apply.machine import StateMachine
    from kvraft.server.driver import Driver
    from kvraft.server.service import Answer, Caller, Handler
    from kvraft.types import Command, LeaseCommand


def min_ttl_seconds(election_ms: int) -> int:
    """The smallest TTL: one and a half election timeouts, so that a lease outlives a change of leaders."""
    return ceil(election_ms * 1.5 / 1000)


class LeaseCounts:
    """Counts what has been applied, on its way to the lessor; see ``table.Observer``."""

    def __init__(self, lessor: Lessor) -> None:
        self._lessor = lessor
        self.revocations = 0
        self.ttl_seconds = Histogram(exponential(1, 2, 24))
        """Of those that have been granted."""

    def granted(self, lease_id: int, ttl: int) -> None:
        """A lease has come into being."""
        self.ttl_seconds.observe(ttl)
        self._lessor.granted(lease_id, ttl)

    def revoked(self, lease_id: int) -> None:
        """A lease has gone."""
        self.revocations += 1
        self._lessor.revoked(lease_id)


def open_lessor(driver: Driver, machine: StateMachine, election_ms: int) -> tuple[Lessor, LeaseCounts]:
    """The lessor of a member, which proposes through ``driver``, and what tells it what ``machine`` applies."""

    def propose(command: LeaseCommand, waiter: Callable[[object], None]) -> None:
        driver.propose(encode_command(command), waiter)

    lessor = Lessor(machine.leases, propose, time.monotonic, election_ms / 1000)
    machine.leases.observer = counts = LeaseCounts(lessor)
    return lessor, counts


class LeaseService:
    """The handlers; ``propose`` is the service's, with its checks. Parts are set when the member opens."""

    driver: Driver
    machine: StateMachine
    lessor: Lessor
    counts: LeaseCounts

    def __init__(self, election_ms: int, propose: Callable[[Command, bytes, Caller, Answer], None]) -> None:
        self.renewals = 0
        """How many this member has answered while it led."""
        self._min_ttl = min_ttl_seconds(election_ms)
        self._propose = propose

    def open(self, driver: Driver, machine: StateMachine, election_ms: int) -> None:
        """The member's other parts are there."""
        self.driver, self.machine = driver, machine
        self.lessor, self.counts = open_lessor(driver, machine, election_ms)

    def tick(self) -> None:
        """Time has passed."""
        self.lessor.tick(self.driver.leading_term)

    def flush(self) -> None:
        """A turn is over: what it has renewed goes into the log together."""
        self.lessor.flush()

    def handlers(self) -> dict[type, Handler]:
        """By the kind of request."""
        return {
            LeaseGrantRequest: self._grant,
            LeaseRevokeRequest: self._revoke,
            LeaseKeepAliveRequest: self._keep_alive,
            LeaseTimeToLiveRequest: self._time_to_live,
            LeaseLeasesRequest: self._leases,
        }

    def _grant(self, request: LeaseGrantRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        lease_id = request.lease_id
        while not lease_id:
            lease_id = secrets.randbits(63)
        request = LeaseGrantRequest(max(request.ttl, self._min_ttl), lease_id)
        self._propose(request, encode_command(request), caller, answer)

    def _revoke(self, request: LeaseRevokeRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        if request.term:  # the leader's alone to say
            request = LeaseRevokeRequest(request.lease_id)
            body = encode_command(request)
        self._propose(request, body, caller, answer)

    def _keep_alive(self, request: LeaseKeepAliveRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        def renewed(ttl: int | KvraftError) -> None:
            if isinstance(ttl, KvraftError):
                answer(ttl)
            else:
                self.renewals += ttl > 0
                answer(LeaseKeepAliveResponse(self.machine.revision, request.lease_id, ttl))

        self._as_leader(body, caller, answer, lambda: self.lessor.renew(request.lease_id, renewed))

    def _time_to_live(self, request: LeaseTimeToLiveRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        def look() -> None:
            lease_id, revision = request.lease_id, self.machine.revision
            found = self.lessor.remaining(lease_id)
            if found is None:
                answer(LeaseTimeToLiveResponse(revision, lease_id, -1))
            else:
                keys = self.machine.leases.keys(lease_id) if request.keys else []
                answer(LeaseTimeToLiveResponse(revision, lease_id, int(found[0]), found[1], keys))

        self._as_leader(body, caller, answer, look)

    def _leases(self, request: LeaseLeasesRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        def read(error: KvraftError | None) -> None:
            answer(error or LeaseLeasesResponse(self.machine.revision, self.machine.leases.ids()))

        self.driver.read(read, waits=caller.forwards)

    def _as_leader(self, body: bytes, caller: Caller, answer: Answer, action: Callable[[], None]) -> None:
        """Do ``action`` if this member leads, which a quorum has confirmed since; else have the leader do it."""
        term = self.driver.leading_term
        if not term:
            if caller.forwards:
                self.driver.ask_leader(body, answer, repeatable=True)  # type: ignore[arg-type]
            else:
                answer(self.driver.no_leader())
            return

        def confirmed(error: KvraftError | None) -> None:
            if error is None and self.driver.leading_term == term:
                self.lessor.tick(term)
                action()
            elif caller.forwards:
                self.driver.ask_leader(body, answer, repeatable=True)  # type: ignore[arg-type]
            else:
                answer(error or NotLeader())

        self.driver.read(confirmed)
