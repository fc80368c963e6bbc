"""A closed-loop load: so many connections, so many operations in flight on each, for so many seconds."""

from __future__ import annotations

import time
from array import array
from itertools import pairwise
from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

WARM_UP_SECONDS = 0.5


@attrs.frozen
class Figures:
    """What one load gave: operations per second, latencies in milliseconds, and how many failed."""

    rate: float
    p50_ms: float
    p99_ms: float
    failures: int
    max_ms: float = 0.0

    @classmethod
    def of(cls, latencies: Sequence[float], seconds: float, failures: int = 0) -> Figures:
        """From latencies in seconds, gathered in ``seconds``."""
        if not latencies:
            return cls(0.0, 0.0, 0.0, failures)
        ordered = sorted(latencies)
        return cls(
            len(ordered) / seconds,
            ordered[len(ordered) // 2] * 1000,
            ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1000,
            failures,
            ordered[-1] * 1000,
        )


class ClosedLoop:
    """Tasks that start the next operation when the last one is done, until ``over``. What they saw is kept."""

    def __init__(self, operations: Sequence[Callable[[int], Awaitable[object]]], in_flight: int) -> None:
        self._operations = operations
        self._in_flight = in_flight
        self._numbers = iter(range(1 << 62))
        self._ends: list[array[float]] = []
        """When each of a task's operations ended, which is when its next one began; a new array after a failure."""
        self.failures = 0
        self.over = False

    async def run(self) -> None:
        """Drive each of the operations (one per connection, given a running number) with ``in_flight`` tasks."""
        async with trio.open_nursery() as nursery:
            for operation in self._operations:
                for _ in range(self._in_flight):
                    nursery.start_soon(self._work, operation)

    async def _work(self, operation: Callable[[int], Awaitable[object]]) -> None:
        """As lean as can be: the load has the machine to share with whom it loads."""
        clock, numbers = time.perf_counter, self._numbers
        note_end = self._begin(clock())
        while not self.over:
            try:
                await operation(next(numbers))
            except Exception:
                self.failures += 1
                await trio.sleep(0.01)
                note_end = self._begin(clock())
            else:
                note_end(clock())

    def _begin(self, now: float) -> Callable[[float], None]:
        self._ends.append(array("d", (now,)))
        return self._ends[-1].append

    def figures(self, begin: float, end: float) -> Figures:
        """Of the operations that were started from ``begin`` until ``end``, by ``time.perf_counter``."""
        latencies = [
            ended - started for ends in self._ends for started, ended in pairwise(ends) if begin <= started < end
        ]
        return Figures.of(latencies, end - begin, self.failures)

    def forget(self) -> None:
        """Keep nothing of what has been, for loads of many minutes."""
        for ends in self._ends:
            del ends[:-1]


async def closed_loop(
    operations: Sequence[Callable[[int], Awaitable[object]]], in_flight: int, seconds: float
) -> Figures:
    """Such a load, for so long after it has warmed up."""
    load = ClosedLoop(operations, in_flight)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load.run)
        await trio.sleep(WARM_UP_SECONDS)
        begin = time.perf_counter()
        await trio.sleep(seconds)
        end = time.perf_counter()
        load.over = True
    return load.figures(begin, end)
