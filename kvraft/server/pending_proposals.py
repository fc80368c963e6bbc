"""Proposals of one member that are in its log, and whose end is not known yet."""

from __future__ import annotations

from itertools import chain, repeat
from typing import TYPE_CHECKING

from kvraft.errors import LeaderChanged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvraft.errors import KvraftError
    from kvraft.raft.messages import Entry
    from kvraft.server.contracts import Answer, Waiter


def nobody(answer: Answer) -> None:
    """In the place of a proposal that somebody else waits for."""


class PendingProposals:
    """Who waits for which entry: by its index, with the term it was proposed in, in the order of what it carries.

    Only an applied entry at that index makes the end of an earlier term's certain: another member may still hold it and
    have it committed under a later leader.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[int, list[Waiter]]] = {}
        self.count = 0
        """How many wait."""
        self.failed = 0
        """Answered with anything else than what applying gave."""

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def awaits(self, index: int, term: int) -> bool:
        """Whether anybody waits for the entry of ``term`` at ``index``."""
        known = self._waiting.get(index)
        return known is not None and known[0] == term

    def add(self, index: int, term: int, waiters: list[Waiter]) -> None:
        """``waiters`` wait for the entry at ``index``, which has just been proposed."""
        self.end(index, LeaderChanged())  # ours of an earlier term, gone from our log since
        self._waiting[index] = (term, waiters)
        self.count += len(waiters) - waiters.count(nobody)

    def join(self, index: int, term: int, place: int, waiter: Waiter) -> bool | None:
        """``waiter`` waits for what has ``place`` in the entry at ``index``, which another member has proposed.

        Whether nobody waited for the entry before; None if a later term's is waited for there.
        """
        known = self._waiting.get(index)
        if known is not None and known[0] > term:
            return None
        is_first = known is None or known[0] < term
        if is_first:
            self.end(index, LeaderChanged())
            known = self._waiting[index] = (term, [])
        assert known is not None
        waiters = known[1]
        waiters += [nobody] * (place + 1 - len(waiters))
        waiters[place] = waiter
        self.count += 1
        return is_first

    def end(self, index: int, error: KvraftError) -> None:
        """Answer whoever waits for the entry at ``index``, if anybody does."""
        known = self._waiting.pop(index, None)
        if known is not None:
            waiters = known[1]
            real = len(waiters) - waiters.count(nobody)
            self.failed += real
            self.count -= real
            for waiter in waiters:
                waiter(error)

    def end_below(self, index: int, error: KvraftError) -> None:
        """The same for all entries up to ``index``."""
        for known in [i for i in self._waiting if i <= index]:
            self.end(known, error)

    def end_all(self, error: KvraftError) -> None:
        """The same for everybody."""
        for index in list(self._waiting):
            self.end(index, error)

    def applied(self, entry: Entry, answers: Sequence[Answer]) -> bool:
        """``entry`` has come to ``answers``. False if somebody waits for another one at its index, which can never be
        committed now."""
        known = self._waiting.get(entry.index)
        if known is None:
            return True
        if known[0] != entry.term:
            return False
        del self._waiting[entry.index]
        waiters = known[1]
        self.count -= len(waiters) - waiters.count(nobody)
        # An unreadable entry has one error for all.
        for waiter, answer in zip(waiters, chain(answers, repeat(answers[-1])), strict=False):
            waiter(answer)
        return True
