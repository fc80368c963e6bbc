"""Linearizable reads of one member between the asking and the reading (ReadIndex; Raft thesis, section 6.4)."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvraft.errors import KvraftError
    from kvraft.raft.messages import ReadState
    from kvraft.server.contracts import Reader


class PendingReads:
    """All reads of a turn are one attempt, which the leader confirms; they may be done once its index is applied."""

    def __init__(self) -> None:
        self._new: list[Reader] = []
        self._attempts: dict[int, list[Reader]] = {}
        self._confirmed: list[tuple[int, int]] = []  # heap of (index, attempt) that await apply
        self._last_attempt = 0
        self.count = 0
        """How many have no answer."""
        self.failed = 0

    @property
    def has_new(self) -> bool:
        """Whether some belong to no attempt yet."""
        return bool(self._new)

    def add(self, reader: Reader) -> None:
        """One more; it goes with the next attempt."""
        self.count += 1
        self._new.append(reader)

    def begin(self) -> int:
        """Make an attempt of the new ones; its id, never used before."""
        self._last_attempt += 1
        self._attempts[self._last_attempt], self._new = self._new, []
        return self._last_attempt

    def confirm(self, states: Iterable[ReadState]) -> None:
        """The core has confirmed these attempts."""
        for state in states:
            heappush(self._confirmed, (state.index, state.request_id))

    def release(self, applied_index: int) -> None:
        """Let those read whose index has been applied."""
        while self._confirmed and self._confirmed[0][0] <= applied_index:
            readers = self._attempts.pop(heappop(self._confirmed)[1], [])
            self.count -= len(readers)
            for reader in readers:
                reader(None)

    def fail(self, attempt: int, error: KvraftError) -> None:
        """Answer ``attempt``, unless that has been done."""
        self._fail(self._attempts.pop(attempt, []), error)

    def stop(self, error: KvraftError) -> None:
        """Answer everybody."""
        for attempt in list(self._attempts):
            self.fail(attempt, error)
        new, self._new = self._new, []
        self._fail(new, error)

    def _fail(self, readers: list[Reader], error: KvraftError) -> None:
        self.count -= len(readers)
        self.failed += len(readers)
        for reader in readers:
            reader(error)
