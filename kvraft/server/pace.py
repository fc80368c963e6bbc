"""How much of a member's time a compaction takes: little of it while somebody writes, most of it otherwise.

What a compaction removes is removed on the loop, between two turns, and who writes waits for the piece that is being
done. So a piece ends by the clock, not after some number of changes, whose cost depends on the machine and on what
they changed; and while somebody writes each piece is followed by a pause that is twice as long, from which work that
arrives wakes the loop at once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

STEP_CHANGES = 16
"""Between two looks at the clock: some 0.1 ms."""
BUSY_SECONDS = 0.0005
"""A piece while somebody writes."""
PAUSE_SECONDS = 0.001
"""After such a piece; the loop cannot sleep for less."""
IDLE_SECONDS = 0.004
"""A piece while nobody does."""
QUIET_SECONDS = 0.02
"""So long after the last write nobody writes."""


class Pace:
    """One member's; see the module. The clock is given, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._wrote = clock() - QUIET_SECONDS
        self._resting_until = 0.0

    def wrote(self) -> None:
        """Somebody has written, or wants to."""
        self._wrote = self._clock()

    def spend(self, step: Callable[[int], bool]) -> float | None:
        """Have ``step`` look at changes for a while, if it is time to: it is told how many, and says whether there
        are more. The seconds until the next piece, which may be 0; None when nothing is left."""
        now = self._clock()
        if now < self._resting_until:
            return self._resting_until - now
        busy = now < self._wrote + QUIET_SECONDS
        end = now + (BUSY_SECONDS if busy else IDLE_SECONDS)
        while step(STEP_CHANGES):
            now = self._clock()
            if now >= end:
                self._resting_until = now + PAUSE_SECONDS if busy else now
                return self._resting_until - now
        return None
