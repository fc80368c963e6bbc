"""When a watcher that has asked for it is told how far it is, although nothing has happened."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from kvraft.watch.watcher import WatcherState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvraft.watch.watcher import Watcher

INTERVAL_SECONDS = 600.0
"""etcd's ``--experimental-watch-progress-notify-interval``."""
JITTER_SHARE = 0.1
MAX_ENDED = 64
MAX_DUE = 1000
"""Watchers that are told in one go."""


class PeriodicProgress:
    """Every watcher in it comes due once in an interval and up to a tenth more; ``chance`` gives that share."""

    def __init__(self, interval_seconds: float, chance: Callable[[], float]) -> None:
        self._interval_seconds = interval_seconds
        self._chance = chance
        self._due: list[tuple[float, int, Watcher]] = []
        self._added = 0
        self._ended = 0

    def __len__(self) -> int:
        return len(self._due)

    def add(self, watcher: Watcher, now: float) -> None:
        """``now`` in seconds of any clock that goes steadily."""
        self._added += 1  # keeps watchers out of the comparison
        due = now + self._interval_seconds * (1 + JITTER_SHARE * self._chance())
        heappush(self._due, (due, self._added, watcher))

    def ended(self) -> None:
        """A watcher in here is over: it leaves with others of its kind."""
        self._ended += 1
        if self._ended > MAX_ENDED and 2 * self._ended > len(self._due):
            self._due = [entry for entry in self._due if entry[2].state is not WatcherState.OVER]
            heapify(self._due)
            self._ended = 0

    def due(self, now: float) -> Iterator[Watcher]:
        """Those whose time has come, the longest due first, up to a bound; they start anew. Ended ones leave."""
        for _ in range(MAX_DUE):
            if not self._due or self._due[0][0] > now:
                return
            watcher = heappop(self._due)[2]
            if watcher.state is WatcherState.OVER:
                self._ended -= 1
            else:
                self.add(watcher, now)
                yield watcher
