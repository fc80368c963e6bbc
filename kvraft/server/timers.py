"""Deadlines: one heap for all of them, swept with the member's tick. Most are cancelled long before they are due."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MIN_SWEEP = 256
"""Fewer cancelled timers than this are left until they are due."""


class Timer:
    """What is called once its time has come, unless it is cancelled before."""

    __slots__ = ("_timers", "call")

    def __init__(self, timers: Timers, call: Callable[[], None]) -> None:
        self._timers = timers
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Forget it; again is fine."""
        if self.call is not None:
            self.call = None
            self._timers.cancelled()


class Timers:
    """All timers of a member. Times are the loop's clock in seconds."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._numbers = count()
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, when: float, call: Callable[[], None]) -> Timer:
        """Have ``call`` called at ``when`` or soon after. It must not raise."""
        timer = Timer(self, call)
        heappush(self._heap, (when, next(self._numbers), timer))
        return timer

    def run(self, now: float) -> None:
        """Call what is due."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            timer = heappop(heap)[2]
            call, timer.call = timer.call, None
            if call is None:
                self._cancelled -= 1
            else:
                call()

    def cancelled(self) -> None:
        """One more is of no use: once most are, they are thrown out, so that they do not hold memory until due."""
        self._cancelled += 1
        if self._cancelled > MIN_SWEEP and self._cancelled * 2 > len(self._heap):
            self._heap[:] = [entry for entry in self._heap if entry[2].call is not None]  # in place: see run
            heapify(self._heap)
            self._cancelled = 0
