"""One timer for all watches: a cancel scope for each time that one waits would cost more than what it waits for."""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import TYPE_CHECKING
from weakref import ref

import trio

if TYPE_CHECKING:
    from apilayer.storage.watcher import Watcher


class Alarms:
    """Wakes watchers at times of trio's clock, late by nothing but the loop. Those that are gone are forgotten."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, ref[Watcher]]] = []
        self._numbers = count()
        self._sooner = trio.Event()

    def at(self, when: float, watcher: Watcher) -> None:
        """Has `watcher` woken at `when`, whatever has been asked for before."""
        if not self._heap or when < self._heap[0][0]:
            self._sooner.set()
        heappush(self._heap, (when, next(self._numbers), ref(watcher)))

    async def run(self) -> None:
        """Keeps the time until cancelled."""
        while True:
            self._sooner = trio.Event()
            with trio.move_on_at(self._heap[0][0] if self._heap else inf):
                await self._sooner.wait()
            now = trio.current_time()
            while self._heap and self._heap[0][0] <= now:
                watcher = heappop(self._heap)[2]()
                if watcher is not None:
                    watcher.wake()
