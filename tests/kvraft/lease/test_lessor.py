"""The leader's clock over leases, against a model that looks at every lease all the time."""

from __future__ import annotations

import time
from math import ceil
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kvraft.errors import KvraftError, LeaseNotFound, NotLeader, OutcomeUnknown
from kvraft.lease.lessor import EXPIRIES_PER_SECOND, LOADED_PER_TICK, RETRY_SECONDS, Lessor
from kvraft.types import (
    LeaseCheckpointRequest,
    LeaseCheckpointResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvraft.types import LeaseCommand

ELECTION = 1.0
TICK = 0.05


class Log:
    """A replicated table of leases, and proposals that wait to be applied."""

    def __init__(self) -> None:
        self.now = 100.0
        self.records: dict[int, tuple[int, int]] = {}
        self.proposed: list[tuple[LeaseCommand, Callable[[object], None]]] = []
        self.lessor = Lessor(self, self._propose, lambda: self.now, ELECTION)

    def _propose(self, command: LeaseCommand, waiter: Callable[[object], None]) -> None:
        self.proposed.append((command, waiter))

    def get(self, lease_id: int) -> tuple[int, int] | None:
        return self.records.get(lease_id)

    def walk(self, after: int | None, limit: int) -> list[tuple[int, int, int]]:
        ids = sorted(lease_id for lease_id in self.records if after is None or lease_id > after)
        return [(lease_id, *self.records[lease_id]) for lease_id in ids[:limit]]

    def grant(self, lease_id: int, ttl: int) -> None:
        self.records[lease_id] = (ttl, 0)
        self.lessor.granted(lease_id, ttl)

    def apply(self) -> list[LeaseCommand]:
        """Commit what has been proposed."""
        taken, self.proposed = self.proposed, []
        for command, waiter in taken:
            waiter(self._execute(command))
        return [command for command, _ in taken]

    def lose(self) -> None:
        """Nobody learns what became of the proposals, and they became nothing."""
        taken, self.proposed = self.proposed, []
        for _, waiter in taken:
            waiter(OutcomeUnknown())

    def _execute(self, command: LeaseCommand) -> object:
        if isinstance(command, LeaseRevokeRequest):
            if self.records.pop(command.lease_id, None) is None:
                return LeaseNotFound()
            self.lessor.revoked(command.lease_id)
            return LeaseRevokeResponse(1)
        assert isinstance(command, LeaseCheckpointRequest)
        for lease_id, remaining in command.remaining:
            if lease_id in self.records:
                self.records[lease_id] = (self.records[lease_id][0], remaining)
        return LeaseCheckpointResponse(1)

    def tick(self, term: int = 1, seconds: float = TICK) -> list[LeaseCommand]:
        """Time passes, and what is proposed is applied."""
        self.now += seconds
        self.lessor.tick(term)
        return self.apply()

    def run(self, seconds: float, term: int = 1) -> list[tuple[float, LeaseCommand]]:
        """Tick after tick; what was proposed, and after how many seconds."""
        start, found = self.now, []
        while self.now < start + seconds:
            found += [(self.now - start, command) for command in self.tick(term)]
        return found

    def renew(self, lease_id: int) -> list[int | KvraftError]:
        answers: list[int | KvraftError] = []
        self.lessor.renew(lease_id, answers.append)
        return answers


def leading() -> Log:
    log = Log()
    log.lessor.tick(1)
    return log


def revokes(found: list[tuple[float, LeaseCommand]]) -> list[tuple[float, int]]:
    return [(at, command.lease_id) for at, command in found if isinstance(command, LeaseRevokeRequest)]


def test_a_lease_ends_when_its_ttl_has_passed_and_under_the_leaders_term() -> None:
    log = leading()
    log.grant(7, 5)
    at, command = log.run(10)[-1]
    assert command == LeaseRevokeRequest(7, term=1)
    assert 5 <= at <= 5 + 2 * TICK


def test_who_renews_in_time_writes_nothing_into_the_log() -> None:
    log = leading()
    log.grant(7, 30)
    for _ in range(10):
        assert log.run(10) == []
        assert log.renew(7) == [30]
    assert [lease for _, lease in revokes(log.run(40))] == [7]


def test_what_is_left_is_written_down_for_who_does_not_and_taken_back_by_a_renewal() -> None:
    log = leading()
    log.grant(7, 30)
    ((at, command), *later) = log.run(24)
    assert 15 <= at <= 15 + 2 * TICK
    assert command == LeaseCheckpointRequest(((7, 15),))
    assert all(isinstance(command, LeaseCheckpointRequest) for _, command in later)
    assert len(later) <= 3
    answers = log.renew(7)
    assert answers == []
    assert log.apply() == [LeaseCheckpointRequest(((7, 0),))]
    assert answers == [30]
    assert log.records[7] == (30, 0)
    assert log.run(14) == []


def test_a_renewal_that_cannot_be_written_down_fails_and_changes_nothing() -> None:
    log = leading()
    log.grant(7, 30)
    log.run(20)
    answers = log.renew(7)
    log.lose()
    assert [type(answer) for answer in answers] == [OutcomeUnknown]
    ((at, _),) = revokes(log.run(12))
    assert 9.8 <= at <= 10.2


def test_a_new_leader_gives_what_was_written_down_or_all_and_an_election_timeout() -> None:
    log = leading()
    log.grant(7, 30)
    log.grant(8, 30)
    log.run(14)
    log.renew(8)
    log.run(6)
    left = log.records[7][1]
    assert 10 <= left <= 15
    assert log.records[8] == (30, 0)
    log.lessor.tick(0)
    log.now += 3
    found = {lease: at for at, lease in revokes(log.run(40, term=2))}
    assert left + ELECTION <= found[7] <= left + ELECTION + 3 * TICK
    assert 30 + ELECTION <= found[8] <= 30 + ELECTION + 3 * TICK


def test_whoever_does_not_lead_ends_nothing() -> None:
    log = leading()
    log.grant(7, 5)
    assert log.run(20, term=0) == []
    assert 7 in log.records


def test_a_revoke_that_fails_is_tried_again() -> None:
    log = leading()
    log.grant(7, 5)
    log.run(4.9)
    log.now += 0.2
    log.lessor.tick(1)
    log.lose()
    ((at, _),) = revokes(log.run(3))
    assert RETRY_SECONDS <= at <= RETRY_SECONDS + 2 * TICK


def test_a_renewal_of_what_has_ended_waits_until_it_is_gone() -> None:
    log = leading()
    log.grant(7, 5)
    log.grant(8, 5)
    log.now += 6
    answers = log.renew(7)
    assert answers == []
    log.tick()
    assert answers == [0]
    log.grant(9, 5)
    log.now += 6
    answers = log.renew(9)
    log.lessor.tick(0)
    assert [type(answer) for answer in answers] == [NotLeader]
    assert log.renew(10) == [0]


def test_expiries_are_bounded_per_second() -> None:
    log = leading()
    for lease_id in range(1, 2501):
        log.grant(lease_id, 5)
    assert revokes(log.run(4.9)) == []
    counts = [len(revokes(log.run(1))) for _ in range(3)]
    assert sum(counts) == 2500
    assert counts[1] <= EXPIRIES_PER_SECOND * 1.1
    assert counts[0] <= 2 * EXPIRIES_PER_SECOND  # what a quiet second has saved, and the second itself


def test_many_leases_are_taken_up_in_pieces_and_none_is_unknown_meanwhile() -> None:
    log = Log()
    count = 3 * LOADED_PER_TICK
    log.records = dict.fromkeys(range(1, count + 1), (20, 0))
    log.lessor.tick(1)
    assert log.renew(count) == [20]
    assert log.lessor.remaining(count - 1) == (21.0, 20)
    log.run(1)
    for lease_id in (1, count // 2, count - 1):
        found = log.lessor.remaining(lease_id)
        assert found is not None
        assert 19.8 <= found[0] <= 20.1
    assert [lease for _, lease in revokes(log.run(60))].count(count) == 1
    assert log.records == {}


def test_a_hundred_thousand_idle_leases_cost_less_than_a_twentieth_of_a_core() -> None:
    log = Log()
    log.records = dict.fromkeys(range(1, 100001), (3600, 0))
    log.lessor.tick(1)
    log.run(100_000 / LOADED_PER_TICK * TICK + 1)
    begun, seconds = time.process_time(), 20.0
    assert log.run(seconds) == []
    assert (time.process_time() - begun) / seconds < 0.05


class Leases(RuleBasedStateMachine):
    """Whatever happens: no lease ends early, each ends soon after its time, and nothing renews for free."""

    @initialize()
    def start(self) -> None:
        self.log = Log()
        self.term = 1
        self.log.lessor.tick(1)
        self.least: dict[int, float] = {}  # lease: not before
        self.most: dict[int, float] = {}  # lease: not long after
        self.hindered = 0.0  # until then a revoke that was lost is not tried again

    def settle(self) -> None:
        for command in self.log.apply():
            if isinstance(command, LeaseRevokeRequest) and command.term:
                assert command.term == self.term
                assert self.log.now >= self.least.pop(command.lease_id)
                del self.most[command.lease_id]

    def lose(self) -> None:
        if self.log.proposed:
            self.hindered = self.log.now + RETRY_SECONDS
        self.log.lose()

    @rule(lease_id=st.integers(1, 4), ttl=st.sampled_from([2, 3, 10, 60]))
    def grant(self, lease_id: int, ttl: int) -> None:
        if lease_id not in self.log.records:
            self.log.grant(lease_id, ttl)
            self.least[lease_id] = self.most[lease_id] = self.log.now + ttl

    @rule(lease_id=st.integers(1, 4), lost=st.booleans())
    def renew(self, lease_id: int, lost: bool) -> None:
        known = self.log.records.get(lease_id)
        answers = self.log.renew(lease_id)
        if not answers:  # something must be written down first, or it has ended
            if lost:
                self.lose()
            self.settle()
        if answers == [0]:
            assert lease_id not in self.log.records
        elif answers and known is not None and not isinstance(answers[0], KvraftError):
            assert answers == [known[0]]
            self.least[lease_id] = self.most[lease_id] = self.log.now + known[0]

    @rule(seconds=st.sampled_from([0.05, 0.5, 1.0, 5.0, 31.0]), lost=st.booleans())
    def wait(self, seconds: float, lost: bool) -> None:
        """Ticks go on all the time; one that is late is made up for in the next."""
        self.log.now += seconds
        self.log.lessor.tick(self.term)
        if lost:
            self.lose()
            return
        self.settle()
        self.log.lessor.tick(self.term)
        self.settle()
        for lease_id, until in self.most.items():
            assert self.log.now <= max(until, self.hindered) + seconds + TICK, f"lease {lease_id} lives for free"

    @rule(seconds=st.sampled_from([0.0, 0.4, 3.0]))
    def change_leader(self, seconds: float) -> None:
        """A new one knows the log alone."""
        self.log.lessor.tick(0)
        self.log.proposed.clear()
        self.log.now += seconds
        self.term += 1
        self.log.lessor.tick(self.term)
        for lease_id, (ttl, remaining) in self.log.records.items():
            fresh = self.log.now + (remaining or ttl) + ELECTION
            assert fresh >= self.least[lease_id], "a change of leaders shortens a lease"
            self.most[lease_id] = fresh

    @invariant()
    def remaining_is_what_is_left(self) -> None:
        if not hasattr(self, "log"):
            return
        for lease_id in self.log.records:
            found = self.log.lessor.remaining(lease_id)
            assert found is not None
            assert found[0] <= ceil(max(self.most[lease_id] - self.log.now, 0.0)) + ELECTION


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
