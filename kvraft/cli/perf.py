"""``kvraft check perf``: write at a given rate for a minute, and judge how the store bore it."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import TYPE_CHECKING

import attrs
import trio

from kvraft.cli.call import describe
from kvraft.cli.checks import clean_up, clients_of, error_lines, free_prefix, load_of
from kvraft.cli.failures import CommandError
from kvraft.cli.progress import ProgressBar
from kvraft.errors import KvraftError

if TYPE_CHECKING:
    from kvraft.cli.call import Call
    from kvraft.client import Client

KEY_BYTES, VALUE_BYTES = 256, 1024
LEAST_SHARE = 0.9
"""Of the rate that was aimed at."""
MAX_SLOWEST_SECONDS = 0.5
MAX_DEVIATION_SECONDS = 0.1


@attrs.frozen
class Load:
    """So many writes a second, by so many connections, for so long."""

    writes_per_second: int
    clients: int
    seconds: int = 60


LOADS = {"s": Load(150, 50), "m": Load(1000, 200), "l": Load(8000, 500), "xl": Load(15000, 1000)}


@attrs.define
class Measured:
    """How long each write took that succeeded, in seconds, and how often each error came."""

    latencies: list[float] = attrs.field(factory=list)
    errors: Counter[str] = attrs.field(factory=Counter)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Writes per second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    @property
    def deviation(self) -> float:
        """The standard deviation of the latencies."""
        if not self.latencies:
            return 0.0
        mean = sum(self.latencies) / len(self.latencies)
        return math.sqrt(sum((latency - mean) ** 2 for latency in self.latencies) / len(self.latencies))


async def perf(call: Call, client: Client) -> None:
    """Check, clean up, and say how it went. Raises ``CommandError`` when it did not go well."""
    load = load_of(call, LOADS)
    prefix = await free_prefix(call, client)
    measured = await _measure(call, prefix, load)
    await clean_up(call, prefix)
    lines, passed = verdict(measured, load)
    call.say(*lines)
    if not passed:
        raise CommandError("")


async def _measure(call: Call, prefix: bytes, load: Load) -> Measured:
    measured = Measured()
    due, turns = trio.open_memory_channel[None](load.clients)
    async with clients_of(call, load.clients) as clients:
        bar = ProgressBar(call.stdout, load.seconds)
        began = trio.current_time()
        async with bar.drawn(), trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(_write, client, prefix, turns, measured)
            nursery.start_soon(_pass_time, bar, load.seconds)
            async with due:
                await _give_turns(due, load)
        measured.seconds = trio.current_time() - began
    return measured


async def _give_turns(due: trio.MemorySendChannel[None], load: Load) -> None:
    """One turn to write after the other, at the rate; when nobody is free, later ones are not made up for."""
    end = trio.current_time() + load.seconds
    at = trio.current_time()
    while at < end:
        await trio.sleep_until(at)
        with trio.move_on_at(end):
            await due.send(None)
        at = max(at + 1 / load.writes_per_second, trio.current_time() - 1 / load.writes_per_second)


async def _write(client: Client, prefix: bytes, turns: trio.MemoryReceiveChannel[None], measured: Measured) -> None:
    value = bytes(VALUE_BYTES)
    async for _ in turns:
        key = prefix + random.randbytes(KEY_BYTES)
        began = trio.current_time()
        try:
            await client.put(key, value)
        except KvraftError as error:
            measured.errors[describe(error)] += 1
        else:
            measured.latencies.append(trio.current_time() - began)


async def _pass_time(bar: ProgressBar, seconds: int) -> None:
    for _ in range(seconds):
        await trio.sleep(1)
        bar.add()


def verdict(measured: Measured, load: Load) -> tuple[list[str], bool]:
    """What is said about it, and whether it is good enough."""
    slowest = max(measured.latencies, default=0.0)
    checks = [
        (
            measured.rate > LEAST_SHARE * load.writes_per_second,
            f"PASS: Throughput is {int(measured.rate) + 1} writes/s",
            f"FAIL: Throughput too low: {int(measured.rate) + 1} writes/s",
        ),
        (
            slowest <= MAX_SLOWEST_SECONDS,
            f"PASS: Slowest request took {slowest:f}s",
            f"Slowest request took too long: {slowest:f}s",
        ),
        (
            measured.deviation <= MAX_DEVIATION_SECONDS,
            f"PASS: Stddev is {measured.deviation:f}s",
            f"Stddev too high: {measured.deviation:f}s",
        ),
    ]
    lines = error_lines(measured.errors)
    lines += [good if holds else bad for holds, good, bad in checks]
    passed = not measured.errors and all(holds for holds, _, _ in checks)
    return [*lines, "PASS" if passed else "FAIL"], passed
