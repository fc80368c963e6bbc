"""A leader that is killed under load: how long until a write that was sent afterwards is acknowledged."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from kvraft.client import open_client
from kvraft.errors import KvraftError
from tests.kvraft.processes import start_processes

if TYPE_CHECKING:
    from kvraft.client import Client
    from tests.kvraft.processes import Processes

WRITERS = 16
VALUE = b"v" * 256
PATIENCE_SECONDS = 60.0
SETTLE_WRITES = 200


class Writers:
    """Clients of their own that put one key after the other; ``acknowledged`` is when each put was sent."""

    def __init__(self) -> None:
        self.acknowledged: list[float] = []
        self.unknown = 0
        self.over = False
        self.news = trio.Event()

    async def write(self, urls: list[str], place: int) -> None:
        """Until ``over``."""
        async with open_client(urls) as client:
            number = 0
            while not self.over:
                number += 1
                sent = time.perf_counter()
                try:
                    await client.put(b"/kills/%d/%d" % (place, number % 1000), VALUE)
                except KvraftError as error:
                    self.unknown += not error.definite
                    await trio.lowlevel.checkpoint()
                else:
                    self.acknowledged.append(sent)
                    self.news.set()
                    self.news = trio.Event()

    async def sent_after(self, moment: float) -> None:
        """Wait for an acknowledged write that was sent after ``moment``."""
        while not self.acknowledged or max(self.acknowledged[-WRITERS:]) <= moment:
            await self.news.wait()

    async def more(self, count: int) -> None:
        """Wait for so many further ones."""
        goal = len(self.acknowledged) + count
        while len(self.acknowledged) < goal:
            await self.news.wait()


async def _kill_leader(processes: Processes, client: Client, writers: Writers) -> float:
    """The seconds; the member is back when this returns."""
    leader = await processes.leader(client)
    killed = time.perf_counter()
    processes.kill(leader)
    await writers.sent_after(killed)
    seconds = time.perf_counter() - killed
    processes.start(leader)
    async with open_client([processes.client_urls[leader]], timeout_seconds=PATIENCE_SECONDS) as restarted:
        await restarted.range(b"\0", count_only=True)  # linearizable: it has caught up
    await writers.more(SETTLE_WRITES)
    return seconds


async def measure(kills: int) -> tuple[list[float], Writers]:
    """The seconds after each kill, and what the writers have to tell."""
    writers = Writers()
    outages = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-kills-") as directory,
        start_processes(Path(directory), flags=()) as processes,
    ):
        async with open_client(processes.urls, timeout_seconds=PATIENCE_SECONDS) as client:
            await client.put(b"/kills", b"")
            async with trio.open_nursery() as nursery:
                for place in range(WRITERS):
                    nursery.start_soon(writers.write, processes.urls, place)
                await writers.more(SETTLE_WRITES)
                for _ in range(kills):
                    with trio.fail_after(2 * PATIENCE_SECONDS):
                        outages.append(await _kill_leader(processes, client, writers))
                writers.over = True
    return outages, writers


def run(kills: int) -> list[str]:
    """The table's lines."""
    outages, writers = trio.run(measure, kills)
    return [
        "| leader killed (`kill -9`) until the next acknowledged write | s |",
        "| --- | ---: |",
        f"| median of {kills} | {statistics.median(outages):.2f} |",
        f"| best | {min(outages):.2f} |",
        f"| worst | {max(outages):.2f} |",
        "",
        f"{len(writers.acknowledged):,} writes acknowledged meanwhile; of {writers.unknown:,} the outcome is unknown.",
    ]
