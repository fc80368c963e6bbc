"""Minutes at full load: nobody may want to be leader who is not, and nothing may grow."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from kvraft.client import open_client
from tests.bench.clusters import Cluster, store_cluster
from tests.bench.load import ClosedLoop, Figures
from tests.bench.store import VALUE, key_of

if TYPE_CHECKING:
    from kvraft.client import Client

CONNECTIONS, IN_FLIGHT = 4, 64
WINDOW_SECONDS = 10.0
FLAGS = ("--auto-compaction-mode", "periodic", "--auto-compaction-retention", "10s")
"""By revision it would be every five minutes: in that time such a load writes three times the quota."""


@attrs.define
class Steady:
    """What the minutes gave: figures of each window after the first; terms and memory before and after."""

    windows: list[Figures]
    terms: tuple[int, int]
    memory_mib: tuple[list[float], list[float]]


async def _term(client: Client, urls: list[str]) -> int:
    return max([(await client.status(url)).term for url in urls])


async def measure(cluster: Cluster, seconds: float) -> Steady:
    """Writes at full load for so long, after a window to warm up."""
    windows = []
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(open_client(cluster.urls)) for _ in range(CONNECTIONS)]
        load = ClosedLoop([partial(_put, each) for each in clients], IN_FLIGHT)
        await clients[0].put(b"/steady", b"")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run)
            await trio.sleep(WINDOW_SECONDS)
            terms, memory = await _term(clients[0], cluster.urls), cluster.memory_mib()
            for _ in range(max(1, round(seconds / WINDOW_SECONDS))):
                load.forget()
                begin = time.perf_counter()
                await trio.sleep(WINDOW_SECONDS)
                windows.append(load.figures(begin, time.perf_counter()))
            load.over = True
        return Steady(windows, (terms, await _term(clients[0], cluster.urls)), (memory, cluster.memory_mib()))


async def _put(client: Client, number: int) -> None:
    await client.put(key_of(number), VALUE)


def run(minutes: float) -> list[str]:
    """The table's lines."""
    with store_cluster("kvraft", flags=FLAGS) as cluster:
        steady = trio.run(measure, cluster, minutes * 60)
    worst = max(steady.windows, key=lambda figures: figures.p99_ms)
    rows = (("first", steady.windows[0]), ("last", steady.windows[-1]), ("the one with the worst p99", worst))
    before, after = (", ".join(f"{mib:.0f}" for mib in memory) for memory in steady.memory_mib)
    elections = steady.terms[1] - steady.terms[0]
    return [
        f"| {WINDOW_SECONDS:.0f} s of writes | /s | p50 ms | p99 ms | slowest ms |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(
            f"| {name} | {each.rate:,.0f} | {each.p50_ms:.1f} | {each.p99_ms:.1f} | {each.max_ms:.0f} |"
            for name, each in rows
        ),
        "",
        f"Elections within {len(steady.windows) * WINDOW_SECONDS:.0f} seconds of {CONNECTIONS}x{IN_FLIGHT} writes in "
        f"flight: {elections}. Failed writes: {steady.windows[-1].failures}. "
        f"Memory of the members: {before} MiB before, {after} MiB after.",
    ]
