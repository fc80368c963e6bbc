"""From one configuration to the next, by joint consensus (Raft, section 6; thesis, 4.3): pure functions, no state.

A change of who votes passes through a joint configuration, in which every decision needs a majority of the old voters
and one of the new. So there is no moment at which two disjoint majorities could decide, however many voters a change
replaces, and one path serves every change. A change of learners alone moves no majority and needs no such step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.raft.messages import Configuration

if TYPE_CHECKING:
    from collections.abc import Iterable


def enter(configuration: Configuration, voters: Iterable[int], learners: Iterable[int] = ()) -> Configuration:
    """The first step towards ``voters`` and ``learners``: a joint configuration, or at once the new one.

    Raises ``ValueError`` for a step from a joint configuration, and for a target that cannot be: without voters, with
    somebody twice, or with a voter made a learner (it would have to vote in the old half and learn in the new).
    """
    if configuration.outgoing:
        raise ValueError("a change of the configuration is under way")
    old, new, learning = set(configuration.voters), set(voters), set(learners)
    if not new:
        raise ValueError("a configuration needs at least one voter")
    if learning & (old | new):
        raise ValueError(f"a voter cannot be a learner: {sorted(learning & (old | new))}")
    outgoing = () if old == new else configuration.voters
    return Configuration(tuple(sorted(new)), outgoing, tuple(sorted(learning)))


def leave(configuration: Configuration) -> Configuration:
    """The second step: the new voters alone. Of a configuration that is not joint nothing changes."""
    if not configuration.outgoing:
        return configuration
    return Configuration(configuration.voters, (), configuration.learners)
