"""Majorities against brute force: every subset of voters tried."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from kvraft.raft.messages import Configuration
from kvraft.raft.quorum import VoteResult, committed_index, vote_result

ids = st.lists(st.integers(1, 7), unique=True, max_size=5).map(tuple)
voters = st.lists(st.integers(1, 7), unique=True, min_size=1, max_size=5).map(tuple)
acknowledged = st.dictionaries(st.integers(1, 9), st.integers(0, 6))
votes = st.dictionaries(st.integers(1, 9), st.booleans())


def majorities(half: tuple[int, ...]) -> list[set[int]]:
    return [set(group) for size in range(len(half) + 1) for group in combinations(half, size) if size * 2 > len(half)]


def agree(configuration: Configuration, members: set[int]) -> bool:
    halves = [half for half in (configuration.voters, configuration.outgoing) if half]
    return all(any(group <= members for group in majorities(half)) for half in halves)


@given(voters, ids, ids, acknowledged)
@settings(derandomize=True)
def test_committed_is_the_highest_index_that_both_majorities_have(
    incoming: tuple[int, ...], outgoing: tuple[int, ...], learners: tuple[int, ...], indexes: dict[int, int]
) -> None:
    configuration = Configuration(incoming, outgoing, learners)
    expected = max(
        index for index in range(7) if index == 0 or agree(configuration, {n for n, i in indexes.items() if i >= index})
    )
    assert committed_index(configuration, indexes) == expected


@given(voters, ids, votes)
@settings(derandomize=True)
def test_a_vote_is_won_or_lost_as_soon_as_nothing_can_change_it(
    incoming: tuple[int, ...], outgoing: tuple[int, ...], cast: dict[int, bool]
) -> None:
    configuration = Configuration(incoming, outgoing)
    granted = {n for n, vote in cast.items() if vote}
    possible = granted | ({*incoming, *outgoing} - cast.keys())
    if agree(configuration, granted):
        expected = VoteResult.WON
    elif agree(configuration, possible):
        expected = VoteResult.PENDING
    else:
        expected = VoteResult.LOST
    assert vote_result(configuration, cast) is expected


def test_nobody_agrees_on_nothing() -> None:
    empty = Configuration(())
    assert committed_index(empty, {1: 5}) == 0
    assert vote_result(empty, {1: True}) is VoteResult.LOST
