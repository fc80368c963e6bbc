"""Linearizable reads of one member between the asking and the reading (ReadIndex; Raft thesis, section 6.4)."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from kvraft.errors import NoLeader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvraft.errors import KvraftError
    from kvraft.raft.messages import ReadState
    from kvraft.server.contracts import Reader


class PendingReads:
    """All reads of a turn are one attempt, which the leader confirms; they may be done once its index is applied.

    Those that wait for a leader are an attempt of their own: it is made again until their time is over.
    """

    def __init__(self) -> None:
        self._new: tuple[list[Reader], list[Reader]] = ([], [])  # those that wait for a leader are the second
        self._attempts: dict[int, list[Reader]] = {}
        self._patient: dict[int, None] = {}  # attempts whose readers wait
        self.held: list[int] = []
        """Of those, what is to be confirmed as soon as somebody leads; to read only."""
        self._later: list[int] = []  # the same, with the next tick: whoever leads would not, or is gone
        self._confirmed: list[tuple[int, int]] = []  # heap of (index, attempt) that await apply
        self._last_attempt = 0
        self.has_new = False
        """Whether some belong to no attempt yet."""
        self.count = 0
        """How many have no answer."""
        self.failed = 0
        """How many have been answered with an error."""
        self.slow = 0
        """Attempts that nobody had confirmed when their time was over."""

    def add(self, reader: Reader, *, waits: bool) -> None:
        """One more; it goes with the next attempt."""
        self.count += 1
        self._new[waits].append(reader)
        self.has_new = True

    def begin(self) -> range:
        """Make attempts of the new ones; their ids, never used before."""
        first = self._last_attempt + 1
        for waits, readers in enumerate(self._new):
            if readers:
                self._last_attempt += 1
                self._attempts[self._last_attempt] = readers
                if waits:
                    self._patient[self._last_attempt] = None
        self._new = ([], [])
        self.has_new = False
        return range(first, self._last_attempt + 1)

    def tick(self) -> None:
        """Whoever would not confirm them is asked again."""
        if self.held or self._later:
            self.held = [attempt for attempt in (*self.held, *self._later) if attempt in self._attempts]
            self._later = []

    def take_held(self) -> list[int]:
        """The attempts that are to be made again; the caller knows a leader."""
        held, self.held = self.held, []
        return held

    def settle(self, confirmed: Iterable[ReadState], dropped: Iterable[int], applied_index: int) -> None:
        """The core has confirmed these attempts and forgotten those, which nobody will confirm; what asks for no more
        than has been applied may be read. There is nothing to do where no read is without an answer."""
        for state in confirmed:
            heappush(self._confirmed, (state.index, state.request_id))
        for attempt in dropped:
            if attempt in self._patient:
                self._later.append(attempt)
            else:
                self._fail(self._take(attempt), NoLeader())
        while self._confirmed and self._confirmed[0][0] <= applied_index:
            readers = self._take(heappop(self._confirmed)[1])
            self.count -= len(readers)
            for reader in readers:
                reader(None)

    def fail(self, attempt: int, error: KvraftError) -> None:
        """The time of ``attempt`` is over: answer it, unless that has been done."""
        readers = self._take(attempt)
        self.slow += bool(readers)
        self._fail(readers, error)

    def stop(self, error: KvraftError) -> None:
        """Answer everybody."""
        for attempt in list(self._attempts):
            self._fail(self._take(attempt), error)
        new, self._new = self._new, ([], [])
        self.has_new = False
        self._fail(new[0] + new[1], error)

    def _take(self, attempt: int) -> list[Reader]:
        self._patient.pop(attempt, None)
        return self._attempts.pop(attempt, [])

    def _fail(self, readers: list[Reader], error: KvraftError) -> None:
        self.count -= len(readers)
        self.failed += len(readers)
        for reader in readers:
            reader(error)
