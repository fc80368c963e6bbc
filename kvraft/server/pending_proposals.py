"""Proposals of one member: those that wait for its next turn, and those in its log whose end is not known yet."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from kvraft.errors import LeaderChanged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvraft.errors import KvraftError
    from kvraft.raft.messages import Entry
    from kvraft.server.contracts import Answer, Waiter


def nobody(answer: Answer) -> None:
    """In the place of a proposal that somebody else waits for."""


class Together:
    """The waiter of ``count`` proposals that one connection has sent together: it gets the answers of all of them."""

    __slots__ = ("_answered", "count")

    def __init__(self, count: int, answered: Callable[[Sequence[Answer]], None]) -> None:
        self.count = count
        self._answered = answered

    def __call__(self, answer: Answer) -> None:
        """They all have the same answer."""
        self._answered([answer] * self.count)

    def applied(self, answers: Sequence[Answer]) -> None:
        """Each has its own."""
        self._answered(answers)


def how_many(waiters: Sequence[Waiter]) -> int:
    """For how many proposals they wait."""
    count = 0
    for waiter in waiters:
        count += waiter.count if type(waiter) is Together else waiter is not nobody
    return count


class ArrivedProposals:
    """Those of the next turn, in order. What has come together stays together."""

    def __init__(self) -> None:
        self._arrived: deque[tuple[Sequence[bytes], Waiter]] = deque()
        self.count = 0

    def add(self, data: bytes, waiter: Waiter) -> None:
        """One proposal."""
        self._arrived.append(((data,), waiter))
        self.count += 1

    def add_together(self, datas: Sequence[bytes], answered: Callable[[Sequence[Answer]], None]) -> None:
        """Some of one connection; ``answered`` gets their answers, in order."""
        self._arrived.append((datas, Together(len(datas), answered)))
        self.count += len(datas)

    def take(self, max_proposals: int, max_batch_bytes: int) -> list[tuple[list[bytes], list[Waiter]]]:
        """What has arrived, up to a bound, cut into entries: of each what it carries, and who waits."""
        arrived = self._arrived
        batches: list[tuple[list[bytes], list[Waiter]]] = []
        room = 0
        while arrived and max_proposals > 0:
            datas, waiter = arrived.popleft()
            if room <= 0:
                proposals: list[bytes] = []
                waiters: list[Waiter] = []
                batches.append((proposals, waiters))
                room = max_batch_bytes
            proposals += datas
            waiters.append(waiter)
            room -= sum(map(len, datas))
            max_proposals -= len(datas)
            self.count -= len(datas)
        return batches

    def end_all(self, error: KvraftError) -> None:
        """Answer everybody with ``error``."""
        arrived, self._arrived, self.count = self._arrived, deque(), 0
        for _, waiter in arrived:
            waiter(error)


class PendingProposals:
    """Who waits for which entry: by its index, with the term it was proposed in, in the order of what it carries, one
    ``Together`` for several.

    Only an applied entry at that index makes the end of an earlier term's certain: another member may still hold it and
    have it committed under a later leader.
    """

    def __init__(self) -> None:
        self.waiting: dict[int, tuple[int, list[Waiter]]] = {}
        """To read only."""
        self.count = 0
        """How many wait."""
        self.failed = 0
        """Answered with anything else than what applying gave."""

    def awaits(self, index: int, term: int) -> bool:
        """Whether anybody waits for the entry of ``term`` at ``index``."""
        known = self.waiting.get(index)
        return known is not None and known[0] == term

    def add(self, index: int, term: int, waiters: list[Waiter]) -> None:
        """``waiters`` wait for the entry at ``index``, which has just been proposed."""
        self.end(index, LeaderChanged())  # ours of an earlier term, gone from our log since
        self.waiting[index] = (term, waiters)
        self.count += how_many(waiters)

    def join(self, index: int, term: int, place: int, waiter: Waiter) -> bool | None:
        """``waiter`` waits for what has ``place`` in the entry at ``index``, which another member has proposed.

        Whether nobody waited for the entry before; None if a later term's is waited for there.
        """
        known = self.waiting.get(index)
        if known is not None and known[0] > term:
            return None
        is_first = known is None or known[0] < term
        if is_first:
            self.end(index, LeaderChanged())
            known = self.waiting[index] = (term, [])
        assert known is not None
        waiters = known[1]
        waiters += [nobody] * (place + 1 - len(waiters))
        waiters[place] = waiter
        self.count += 1
        return is_first

    def end(self, index: int, error: KvraftError) -> None:
        """Answer whoever waits for the entry at ``index``, if anybody does."""
        known = self.waiting.pop(index, None)
        if known is not None:
            waiters = known[1]
            self.fail(waiters, error)
            self.count -= how_many(waiters)

    def fail(self, waiters: Sequence[Waiter], error: KvraftError) -> None:
        """Answer them with ``error``."""
        self.failed += how_many(waiters)
        for waiter in waiters:
            waiter(error)

    def end_below(self, index: int, error: KvraftError) -> None:
        """The same for all entries up to ``index``."""
        for known in [i for i in self.waiting if i <= index]:
            self.end(known, error)

    def end_all(self, error: KvraftError) -> None:
        """The same for everybody."""
        for index in list(self.waiting):
            self.end(index, error)

    def applied(self, entry: Entry, answers: Sequence[Answer]) -> bool:
        """``entry`` has come to ``answers``. False if somebody waits for another one at its index, which can never be
        committed now."""
        known = self.waiting.get(entry.index)
        if known is None:
            return True
        if known[0] != entry.term:
            return False
        del self.waiting[entry.index]
        self.count -= how_many(known[1])
        place, last = 0, len(answers) - 1
        for waiter in known[1]:
            if last == 0 or type(waiter) is not Together:
                waiter(answers[place if place < last else last])  # an unreadable entry has one error for all
                place += 1
            else:
                waiter.applied(answers[place : place + waiter.count])
                place += waiter.count
        return True
