"""From one configuration to the next: whatever the change, two majorities that follow each other share a voter."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvraft.raft.changes import enter, leave
from kvraft.raft.messages import Configuration
from kvraft.raft.quorum import VoteResult, vote_result

ids = st.sets(st.integers(1, 6), min_size=1, max_size=5)


def winners(configuration: Configuration) -> list[set[int]]:
    """Every set of voters whose votes decide."""
    everyone = range(1, 7)
    found = [set(some) for size in range(7) for some in combinations(everyone, size)]
    return [some for some in found if vote_result(configuration, dict.fromkeys(some, True)) is VoteResult.WON]


@settings(max_examples=60, deadline=None)
@given(ids, ids, st.sets(st.integers(7, 9)), st.sets(st.integers(7, 9)))
def test_decisions_before_and_after_each_step_share_a_voter(
    old: set[int], new: set[int], learners: set[int], later: set[int]
) -> None:
    first = enter(Configuration(()), old, learners)
    second = enter(first, new, later)
    third = leave(second)
    assert third == Configuration(tuple(sorted(new)), (), tuple(sorted(later)))
    assert bool(second.outgoing) is (old != new)
    for before, after in ((first, second), (second, third), (second, second)):
        assert all(a & b for a in winners(before) for b in winners(after))


def test_a_change_of_two_voters_at_once_without_the_joint_step_would_not_do() -> None:
    """What the joint step is for: the property above does not hold of the two ends."""
    assert any(not a & b for a in winners(Configuration((1, 2, 3))) for b in winners(Configuration((3, 4, 5))))


def test_a_learner_can_be_made_a_voter_in_one_change() -> None:
    assert enter(Configuration((1,), (), (2,)), (1, 2)) == Configuration((1, 2), (1,), ())


def test_leaving_what_is_not_joint_changes_nothing() -> None:
    assert leave(Configuration((1,))) == Configuration((1,))


@pytest.mark.parametrize(
    ("configuration", "voters", "learners", "reason"),
    [
        (Configuration((1,), (1, 2)), (1,), (), "under way"),
        (Configuration((1,)), (), (), "at least one voter"),
        (Configuration((1,)), (1, 2), (2,), r"a voter cannot be a learner: \[2\]"),
        (Configuration((1, 2)), (1,), (2,), r"a voter cannot be a learner: \[2\]"),
    ],
)
def test_impossible_steps(
    configuration: Configuration, voters: tuple[int, ...], learners: tuple[int, ...], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        enter(configuration, voters, learners)
