"""A closed-loop load: so many connections, so many operations in flight on each, for so many seconds."""

from __future__ import annotations

import time
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
        )


async def closed_loop(
    operations: Sequence[Callable[[int], Awaitable[object]]], in_flight: int, seconds: float
) -> Figures:
    """Drive each of ``operations`` (one per connection, given a running number) with ``in_flight`` tasks."""
    latencies: list[float] = []
    failures = 0
    numbers = iter(range(1 << 62))
    begin = time.perf_counter() + WARM_UP_SECONDS
    end = begin + seconds

    async def worker(operation: Callable[[int], Awaitable[object]]) -> None:
        nonlocal failures
        clock, append = time.perf_counter, latencies.append
        while (started := clock()) < end:
            try:
                await operation(next(numbers))
            except Exception:
                failures += 1
                await trio.sleep(0.01)
            else:
                if started >= begin:
                    append(clock() - started)

    async with trio.open_nursery() as nursery:
        for operation in operations:
            for _ in range(in_flight):
                nursery.start_soon(worker, operation)
    return Figures.of(latencies, seconds, failures)
