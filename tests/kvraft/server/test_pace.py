"""How long a compaction holds up a member's loop, by a clock that the changes themselves move."""

from __future__ import annotations

import pytest

from kvraft.server.pace import BUSY_SECONDS, IDLE_SECONDS, PAUSE_SECONDS, QUIET_SECONDS, STEP_CHANGES, Pace


class Removing:
    """Changes to remove, each of which takes ``cost`` seconds."""

    def __init__(self, left: int, cost: float) -> None:
        self.left, self.cost = left, cost
        self.now = 100.0
        self.pace = Pace(lambda: self.now)

    def step(self, limit: int) -> bool:
        looked_at = min(limit, self.left)
        self.left -= looked_at
        self.now += looked_at * self.cost
        return self.left > 0


@pytest.mark.parametrize("cost", [1e-7, 5e-6, 2e-5], ids=["fast", "usual", "slow"])
def test_a_piece_is_as_long_as_it_may_be_whatever_a_change_costs(cost: float) -> None:
    removing = Removing(10**6, cost)
    pace, one_step = removing.pace, STEP_CHANGES * cost + 1e-9
    begin = removing.now
    assert pace.spend(removing.step) == 0.0, "nobody writes: go on at once"
    assert IDLE_SECONDS <= removing.now - begin <= IDLE_SECONDS + one_step
    pace.wrote()
    begin = removing.now
    assert pace.spend(removing.step) == pytest.approx(PAUSE_SECONDS)
    assert BUSY_SECONDS <= removing.now - begin <= BUSY_SECONDS + one_step


def test_turns_within_a_pause_remove_nothing() -> None:
    """However often the loop is woken: while somebody writes all the time a third of it is the compaction's."""
    removing = Removing(10**6, 5e-6)
    begin, at_first, waited = removing.now, removing.left, 0
    while removing.now - begin < 1.0:
        removing.pace.wrote()
        left = removing.left
        pause = removing.pace.spend(removing.step)
        assert pause is not None
        waited += removing.left == left
        removing.now += 0.0002  # the turn itself
    share = (at_first - removing.left) * removing.cost / (removing.now - begin)
    assert 0.2 < share < 0.4
    assert waited > 1000


def test_after_a_quiet_while_it_goes_on_in_full() -> None:
    removing = Removing(10**6, 5e-6)
    removing.pace.wrote()
    removing.pace.spend(removing.step)
    removing.now += QUIET_SECONDS
    assert removing.pace.spend(removing.step) == 0.0


def test_the_end_is_told() -> None:
    removing = Removing(STEP_CHANGES + 1, 5e-6)
    assert removing.pace.spend(removing.step) is None
    assert removing.left == 0
