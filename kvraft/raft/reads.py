"""ReadIndex (Raft thesis, section 6.4): which reads wait for what. Bookkeeping only; the core sends and decides.

A leader gathers the reads of a turn into a round, asks its followers with one heartbeat whether it still leads, and
answers when a quorum has said so. A follower gathers the reads of a turn into one question to its leader.
"""

from __future__ import annotations

from collections import deque


class ReadRounds:
    """A leader's reads. A read is ``(sender, reference)``: its own request id, or a follower's context.

    Round ids rise, so a follower that answers a round has also answered every earlier one.
    """

    __slots__ = ("_max_pending", "_pending", "_rounds", "latest", "waiting")

    def __init__(self, max_pending: int) -> None:
        self._max_pending = max_pending
        self._pending = 0
        self._rounds: deque[tuple[int, int, list[tuple[int, int]]]] = deque()
        self.waiting: list[tuple[int, int]] = []
        self.latest = 0
        """The newest round that is not confirmed; 0 if there is none."""

    def add(self, sender: int, reference: int) -> bool:
        """Take a read into the next round. False if too many are pending."""
        if self._pending >= self._max_pending:
            return False
        self._pending += 1
        self.waiting.append((sender, reference))
        return True

    def start(self, round_id: int, commit_index: int) -> None:
        """Open a round for the reads that wait; they will see at least ``commit_index``."""
        assert round_id > self.latest, "round ids rise"
        self._rounds.append((round_id, commit_index, self.waiting))
        self.waiting = []
        self.latest = round_id

    def confirm(self, round_id: int) -> list[tuple[int, int, int]]:
        """Close every round up to ``round_id``: its reads as ``(sender, reference, index)``."""
        confirmed: list[tuple[int, int, int]] = []
        rounds = self._rounds
        while rounds and rounds[0][0] <= round_id:
            _, index, reads = rounds.popleft()
            confirmed.extend([(sender, reference, index) for sender, reference in reads])
        if not rounds:
            self.latest = 0
        self._pending -= len(confirmed)
        return confirmed

    def drop(self) -> list[tuple[int, int]]:
        """Forget every read, confirmed by nobody: the node no longer leads."""
        dropped = [read for _, _, reads in self._rounds for read in reads] + self.waiting
        self._rounds.clear()
        self.waiting = []
        self.latest = self._pending = 0
        return dropped


class ForwardedReads:
    """A follower's reads on their way to the leader: what waits for the next question, and the questions asked.

    Each question has a fresh context, also when it is asked again, so that a late answer to an earlier one can
    never pass for an answer to this one. A question stays unanswered for one to two periods before it is repeated.
    """

    __slots__ = ("_asked", "_elapsed", "_max_pending", "_older", "_pending", "_period", "waiting")

    def __init__(self, max_pending: int, period_ticks: int) -> None:
        self._max_pending = max_pending
        self._period = period_ticks
        self._elapsed = 0
        self._pending = 0
        self._asked: dict[int, list[int]] = {}
        self._older: dict[int, list[int]] = {}
        self.waiting: list[int] = []

    def add(self, request_id: int) -> bool:
        """Take a read into the next question. False if too many are pending."""
        if self._pending >= self._max_pending:
            return False
        self._pending += 1
        self.waiting.append(request_id)
        return True

    def ask(self, context: int) -> None:
        """The reads that wait are asked for under ``context``."""
        self._asked[context] = self.waiting
        self.waiting = []

    def answered(self, context: int) -> list[int]:
        """The reads that an answer to ``context`` settles; none if it is unknown or stale."""
        requests = self._asked.pop(context, None) or self._older.pop(context, None) or []
        self._pending -= len(requests)
        return requests

    def tick(self) -> None:
        """One unit of time has passed; at the end of a period what was asked before it is asked again."""
        self._elapsed += 1
        if self._elapsed >= self._period:
            self._elapsed = 0
            self._expire()

    def _expire(self) -> None:
        for requests in self._older.values():
            self.waiting.extend(requests)
        self._older = self._asked
        self._asked = {}

    def ask_again(self) -> None:
        """There is a new leader: every question goes to it anew."""
        self._expire()
        self._expire()

    def drop(self) -> list[int]:
        """Forget every read: there is no leader to ask."""
        self.ask_again()
        dropped, self.waiting = self.waiting, []
        self._pending = 0
        return dropped
