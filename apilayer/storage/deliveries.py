"""Sends events from one task: to wake a task for each of many watchers would cost more than what it has to send."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from apilayer.storage.watcher import Watcher

AT_ONCE = 64
"""After so many watchers others get their turn; who comes later is sent more together."""


class Deliveries:
    """The watchers that have something to deliver, first come, first served."""

    def __init__(self) -> None:
        self._due: deque[Watcher] = deque()
        self._more = trio.Event()

    def add(self, watcher: Watcher) -> None:
        """Has `watcher` deliver what it has by then."""
        if not self._due:
            self._more.set()
        self._due.append(watcher)

    async def run(self) -> None:
        """Delivers until cancelled."""
        due = self._due
        while True:
            if not due:
                self._more = trio.Event()
            await self._more.wait()
            for _ in range(min(AT_ONCE, len(due))):
                due.popleft().deliver()
