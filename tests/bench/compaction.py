"""A compaction of a million revisions beside writes, one member of each: what the writers feel while it goes on."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import attrs
import trio

from tests.bench.load import ClosedLoop, Figures
from tests.bench.size import both, one_member, put_all, table, with_store

KEYS = 10_000
"""Each is put so often that there are as many revisions as are asked for."""
IN_FLIGHT = 4
WARM_UP_SECONDS = 1.0
LEAST_SECONDS = 1.0
"""A shorter compaction is looked at for so long."""


@attrs.frozen
class Compaction:
    """Writers before, while it went on, and how long that was."""

    before: Figures
    during: Figures
    seconds: float


async def _compact(revisions: int, seconds: float, found: list[Compaction], store: Any) -> None:
    for _ in range(max(1, revisions // KEYS) + 1):
        await put_all(store, KEYS)
    load = ClosedLoop([lambda number: store.put(number % KEYS)], IN_FLIGHT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load.run)
        await trio.sleep(WARM_UP_SECONDS)
        begin = time.perf_counter()
        await trio.sleep(seconds)
        start = time.perf_counter()
        await store.compact()
        done = time.perf_counter()
        await trio.sleep(max(0.0, LEAST_SECONDS - (done - start)))
        end = time.perf_counter()
        load.over = True
    found.append(Compaction(load.figures(begin, start), load.figures(start, end), done - start))


def measure(program: str, kind: Any, revisions: int, seconds: float) -> Compaction:
    """Fill one member of ``program``, and compact it under load."""
    found: list[Compaction] = []
    with one_member(program) as process:
        process.start()
        trio.run(with_store, kind, process.url, partial(_compact, revisions, seconds, found))
    return found[0]


def run(seconds: float, revisions: int) -> list[str]:
    """Measure both and return the table's lines (Markdown)."""
    return table(
        both(lambda program, kind: measure(program, kind, revisions, seconds)),
        [
            (f"write p50, {IN_FLIGHT} in flight, ms", lambda each: each.before.p50_ms),
            ("write p99, ms", lambda each: each.before.p99_ms),
            ("write p50 while compacting, ms", lambda each: each.during.p50_ms),
            ("write p99 while compacting, ms", lambda each: each.during.p99_ms),
            ("slowest write while compacting, ms", lambda each: each.during.max_ms),
            ("writes /s", lambda each: each.before.rate),
            ("writes /s while compacting", lambda each: each.during.rate),
            (f"compaction of {revisions:,} revisions under that load, s", lambda each: each.seconds),
        ],
    )
