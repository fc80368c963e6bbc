"""One node's election timer and the votes of its own campaign. Whether to stand or to vote is the core's decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.raft.quorum import VoteResult, vote_result

if TYPE_CHECKING:
    import random

    from kvraft.raft.messages import Configuration


class Election:
    """``elapsed``: ticks since the timer started or a leader was heard from; on a leader since the last check."""

    __slots__ = ("_rng", "_ticks", "_timeout", "_votes", "elapsed")

    def __init__(self, election_ticks: int, rng: random.Random) -> None:
        self._ticks = election_ticks
        self._rng = rng
        self._votes: dict[int, bool] = {}
        self.restart_timer()

    def restart_timer(self) -> None:
        """A new random timeout in ``[election_ticks, 2 * election_ticks)``, so that split votes stay rare (5.2)."""
        self.elapsed = 0
        self._timeout = self._rng.randrange(self._ticks, 2 * self._ticks)

    def hurry(self) -> None:
        """Time out within a quarter of the shortest timeout, for when waiting for a leader is pointless.

        Only ever brings the timeout forward, so that repeated hints cannot put an election off.
        """
        self._timeout = min(self._timeout, self.elapsed + self._rng.randrange(1, 2 + self._ticks // 4))

    def has_timed_out(self) -> bool:
        """Whether it is time to stand."""
        return self.elapsed >= self._timeout

    def is_recent(self) -> bool:
        """Whether less than the shortest timeout has passed."""
        return self.elapsed < self._ticks

    def open(self, configuration: Configuration, candidate: int) -> VoteResult:
        """Start a campaign, or the asking before it, with the own vote; a single voter has won with that."""
        self.restart_timer()
        self._votes = {}
        return self.count(configuration, candidate, True)

    def count(self, configuration: Configuration, voter: int, granted: bool) -> VoteResult:
        """Count a vote; a voter's first one stands."""
        self._votes.setdefault(voter, granted)
        return self.result(configuration)

    def result(self, configuration: Configuration) -> VoteResult:
        """Where the campaign stands."""
        return vote_result(configuration, self._votes)
