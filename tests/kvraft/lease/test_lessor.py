"""The leader's clock over leases, against a model that looks at every lease all the time."""

from __future__ import annotations

import time
from math import ceil
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kvraft.errors import KvraftError, LeaseNotFound, NotLeader, OutcomeUnknown
from kvraft.lease.lessor import (
    CHECKPOINT_LEASES,
    CLOCK_SHARE,
    EXPIRIES_PER_SECOND,
    LOADED_PER_TICK,
    MARGIN_SHARE,
    RETRY_SECONDS,
    Lessor,
)
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
        self.records: dict[int, tuple[int, int]] = {}  # lease -> TTL, end on the leases' clock
        self.clock_ms = 0
        self.proposed: list[tuple[LeaseCommand, Callable[[object], None]]] = []
        self.lessor = Lessor(self, self._propose, lambda: self.now, ELECTION)

    def _propose(self, command: LeaseCommand, waiter: Callable[[object], None]) -> None:
        self.proposed.append((command, waiter))

    def get(self, lease_id: int) -> tuple[int, int] | None:
        found = self.records.get(lease_id)
        return None if found is None else (found[0], max(found[1] - self.clock_ms, 1) if found[1] else 0)

    def walk(self, after: int | None, limit: int) -> list[tuple[int, int, int]]:
        ids = sorted(lease_id for lease_id in self.records if after is None or lease_id > after)
        return [(lease_id, *found) for lease_id in ids[:limit] if (found := self.get(lease_id)) is not None]

    def grant(self, lease_id: int, ttl: int) -> None:
        self.records[lease_id] = (ttl, 0)
        self.lessor.granted(lease_id, ttl)

    def apply(self) -> list[LeaseCommand]:
        """A turn is over; commit what has been proposed."""
        self.lessor.flush()
        taken, self.proposed = self.proposed, []
        for command, waiter in taken:
            waiter(self._execute(command))
        return [command for command, _ in taken]

    def lose(self) -> None:
        """Nobody learns what became of the proposals, and they became nothing."""
        self.lessor.flush()
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
        self.clock_ms = max(self.clock_ms, command.clock_ms)
        for lease_id, left_ms in command.left_ms:
            if lease_id in self.records:
                self.records[lease_id] = (self.records[lease_id][0], self.clock_ms + left_ms if left_ms else 0)
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


def written(found: list[tuple[float, LeaseCommand]]) -> list[tuple[float, tuple[tuple[int, int], ...]]]:
    """Of which leases it was written down when they end, and when that was."""
    commands = [(at, command) for at, command in found if isinstance(command, LeaseCheckpointRequest)]
    return [(at, command.left_ms) for at, command in commands if command.left_ms]


def test_a_lease_ends_when_its_ttl_has_passed_and_under_the_leaders_term() -> None:
    log = leading()
    log.grant(7, 5)
    at, command = log.run(10)[-1]
    assert command == LeaseRevokeRequest(7, term=1)
    assert 5 <= at <= 5 + 2 * TICK


def test_who_renews_at_once_writes_nothing_down_and_an_idle_lease_is_written_down_once() -> None:
    log = leading()
    log.grant(7, 30)
    for _ in range(10):
        assert written(log.run(ELECTION * 0.4)) == []
        assert log.renew(7) == [30]
    ((at, left),) = written(log.run(29))
    assert 0.5 <= at <= 0.5 + 2 * TICK
    assert left == ((7, pytest.approx(29_500, abs=100)),)
    assert [lease for _, lease in revokes(log.run(2))] == [7]


def test_how_late_it_is_is_written_down_as_long_as_there_are_leases() -> None:
    log = leading()
    assert log.run(5) == []
    log.grant(7, 30)
    found = log.run(10)
    assert 15 <= len(found) <= 22
    assert log.clock_ms == pytest.approx(15_000, abs=600)
    log.tick(0)
    log.run(3, term=0)
    log.run(10, term=2)  # of the three seconds without a leader nobody knows
    assert log.clock_ms == pytest.approx(25_000, abs=1100)


def test_a_renewal_of_what_is_written_down_is_written_down_first_and_only_once() -> None:
    log = leading()
    log.grant(7, 30)
    log.run(24)
    for _ in range(3):
        answers = log.renew(7)
        assert answers == []
        (command,) = log.apply()
        assert isinstance(command, LeaseCheckpointRequest)
        assert command.left_ms == ((7, 30_000),)
        assert answers == [30]
        found = log.run(24)
        assert written(found) == []
        assert revokes(found) == []
    assert revokes(log.run(5.9)) == []
    assert [lease for _, lease in revokes(log.run(0.2))] == [7]


def test_who_begins_to_renew_at_once_has_it_taken_back_and_writes_nothing_more() -> None:
    log = leading()
    log.grant(7, 30)
    log.run(24)
    for left in (((7, 30_000),), ((7, 0),)):
        log.renew(7)
        assert [command.left_ms for command in log.apply() if isinstance(command, LeaseCheckpointRequest)] == [left]
        assert written(log.run(ELECTION * 0.4)) == []
    for _ in range(10):
        assert log.renew(7) == [30]
        assert written(log.run(ELECTION * 0.4)) == []
    assert log.records[7] == (30, 0)


def test_renewals_of_one_turn_are_one_command() -> None:
    log = leading()
    count = CHECKPOINT_LEASES + 3
    for lease_id in range(1, count + 1):
        log.grant(lease_id, 60)
    log.run(20)
    answers = [log.renew(lease_id) for lease_id in range(1, count + 1)]
    commands = log.apply()
    assert [len(command.left_ms) for command in commands if isinstance(command, LeaseCheckpointRequest)] == [
        CHECKPOINT_LEASES,
        3,
    ]
    assert answers == [[60]] * count


def test_nothing_older_is_written_over_a_renewal_that_is_on_its_way() -> None:
    """What was to be written down got lost meanwhile: the lease must not end early under the next leader."""
    log = leading()
    log.grant(7, 30)
    log.now += 1
    log.lessor.tick(1)
    lost, log.proposed = log.proposed, []
    answers = log.renew(7)
    log.lessor.flush()
    for _, waiter in lost:
        waiter(OutcomeUnknown())
    log.now += TICK
    log.lessor.tick(1)
    log.apply()
    assert answers == [30]
    log.lessor.tick(0)
    log.lessor.tick(2)
    found = log.lessor.remaining(7)
    assert found is not None
    assert found[0] >= 30


def test_a_clock_that_could_not_be_written_down_is_written_with_the_next_tick() -> None:
    """Otherwise the next leader would go on from an older time, and leases would gain the difference."""
    log = leading()
    log.grant(7, 30)
    log.run(1.0)
    before = log.clock_ms
    log.now += ELECTION
    log.lessor.tick(1)
    log.lose()
    log.tick()
    assert log.clock_ms >= before + ELECTION * 1000


def test_renewals_that_were_to_be_written_down_end_with_leadership() -> None:
    log = leading()
    log.grant(7, 30)
    log.run(20)
    answers = log.renew(7)
    log.lessor.tick(0)
    assert [type(answer) for answer in answers] == [NotLeader]


def test_a_renewal_that_cannot_be_written_down_fails_and_changes_nothing() -> None:
    log = leading()
    log.grant(7, 30)
    log.run(20)
    answers = log.renew(7)
    log.lose()
    assert [type(answer) for answer in answers] == [OutcomeUnknown]
    assert [left[0][0] for _, left in written(log.run(1))] == [7]  # it may have been taken back
    ((at, _),) = revokes(log.run(12))
    assert 8.8 <= at <= 9.2


def test_what_could_not_be_written_down_is_written_down_again() -> None:
    log = leading()
    log.grant(7, 30)
    log.now += 1
    log.lessor.tick(1)
    log.lose()
    assert [left[0][0] for _, left in written(log.run(1))] == [7]


def test_renewals_leave_no_growing_heap_behind() -> None:
    log = leading()
    log.grant(7, 1_000_000)
    for _ in range(1500):
        log.tick(seconds=1)
        log.renew(7)
        log.apply()
    assert len(log.lessor._heap) < 1100


def test_a_new_leader_gives_what_was_written_down_or_all_and_a_margin() -> None:
    log = leading()
    log.grant(7, 30)
    log.grant(8, 30)
    log.run(20)
    log.renew(8)
    log.apply()
    log.lessor.tick(0)
    log.now += 3
    found = {lease: at for at, lease in revokes(log.run(40, term=2))}
    assert 10 + MARGIN_SHARE * ELECTION <= found[7] <= 10 + (MARGIN_SHARE + CLOCK_SHARE) * ELECTION + 3 * TICK
    assert 30 + MARGIN_SHARE * ELECTION <= found[8] <= 30 + MARGIN_SHARE * ELECTION + 3 * TICK


def test_a_lease_that_nobody_renews_gains_little_however_often_leaders_change() -> None:
    log = leading()
    log.grant(7, 30)
    lived, term = 0.0, 1
    while 7 in log.records:
        found = log.run(3, term=term)
        lived += min([at for at, _ in revokes(found)], default=3)
        term += 1
        log.lessor.tick(0)
    assert 30 <= lived <= 30 + 11 * ELECTION  # of eleven changes, each an election timeout at most


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
    assert log.lessor.remaining(count - 1) == (20.0 + MARGIN_SHARE * ELECTION, 20)
    log.run(1)
    for lease_id in (1, count // 2, count - 1):
        found = log.lessor.remaining(lease_id)
        assert found is not None
        assert 19.0 <= found[0] <= 19.4
    assert [lease for _, lease in revokes(log.run(60))].count(count) == 1
    assert log.records == {}


def test_a_hundred_thousand_idle_leases_cost_less_than_a_twentieth_of_a_core() -> None:
    log = Log()
    log.records = dict.fromkeys(range(1, 100001), (3600, 0))
    log.lessor.tick(1)
    log.run(100_000 / LOADED_PER_TICK * TICK + 1)
    begun, seconds = time.process_time(), 20.0
    assert written(log.run(seconds)) == []
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
        self.settled_at = self.log.now  # everything that was due until then is in the log
        self.hindered = 0.0  # until then a revoke that was lost is not tried again

    def settle(self) -> None:
        for command in self.log.apply():
            if isinstance(command, LeaseRevokeRequest) and command.term:
                assert command.term == self.term
                assert self.log.now >= self.least.pop(command.lease_id)
                del self.most[command.lease_id]

    def lose(self) -> None:
        if any(isinstance(command, LeaseRevokeRequest) for command, _ in self.log.proposed):
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
        if self.log.now > self.hindered:
            self.settled_at = self.log.now
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
        unknown = self.log.now - self.settled_at
        for lease_id in self.log.records:
            found = self.log.lessor.remaining(lease_id)
            assert found is not None
            fresh = self.log.now + found[0]
            if found[0]:
                assert fresh >= self.least[lease_id] - 0.001, "a change of leaders shortens a lease"
                assert fresh <= self.most[lease_id] + unknown + ELECTION + 0.001, "a change of leaders renews a lease"
            self.most[lease_id] = max(fresh, self.log.now)
        self.settled_at = self.log.now

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
