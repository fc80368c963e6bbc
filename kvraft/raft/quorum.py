"""Majorities, plain and joint (Raft, section 6): pure functions over a configuration, no state.

Everything that asks "do enough voters agree?" asks it here. Learners never count, whatever they said.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvraft.raft.messages import Configuration


class VoteResult(enum.IntEnum):
    """Where an election stands."""

    PENDING = 0
    WON = 1
    LOST = 2


_PENDING, _WON, _LOST = VoteResult  # faster to look up than members of the enumeration


def committed_index(configuration: Configuration, acknowledged: Mapping[int, int]) -> int:
    """The highest index that a majority has acknowledged, in a joint configuration a majority of each half.

    A voter that is missing from ``acknowledged`` stands at 0. Also counts read rounds, whose ids rise likewise.
    """
    index = _majority_index(configuration.voters, acknowledged)
    if configuration.outgoing:
        return min(index, _majority_index(configuration.outgoing, acknowledged))
    return index


def _majority_index(voters: tuple[int, ...], acknowledged: Mapping[int, int]) -> int:
    if not voters:
        return 0  # nobody to agree: nothing is ever agreed
    ranked = []
    for voter in voters:
        ranked.append(acknowledged.get(voter, 0))  # noqa: PERF401 - to begin a comprehension costs more than so few
    ranked.sort()
    return ranked[(len(ranked) - 1) // 2]


def vote_result(configuration: Configuration, votes: Mapping[int, bool]) -> VoteResult:
    """Whether the votes so far decide: WON needs both halves of a joint configuration, LOST only one of them."""
    result = _majority_vote(configuration.voters, votes)
    if not configuration.outgoing or result is _LOST:
        return result
    outgoing = _majority_vote(configuration.outgoing, votes)
    if outgoing is _LOST:
        return outgoing
    return _WON if result is outgoing is _WON else _PENDING


def _majority_vote(voters: tuple[int, ...], votes: Mapping[int, bool]) -> VoteResult:
    needed = len(voters) // 2 + 1
    granted = missing = 0
    for voter in voters:
        vote = votes.get(voter)
        if vote is None:
            missing += 1
        elif vote:
            granted += 1
    if granted >= needed:
        return _WON
    return _PENDING if granted + missing >= needed else _LOST
