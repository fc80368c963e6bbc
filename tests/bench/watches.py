"""Watches: what many cost when something happens, and when nothing does; and what the cache of objects takes."""

from __future__ import annotations

import json
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import trio

from tests.bench.api import NAMESPACE, configmap, make_pods
from tests.bench.clusters import resident_mib
from tests.bench.http import HttpConnection, open_http
from tests.bench.requests import Target, cpu_seconds, served

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

WATCHERS, EVENTS = 500, 300
WRITERS = 16
IDLE_WATCHES = 5_000
PODS = 10_000
CONFIGMAPS = f"{NAMESPACE}/configmaps"
STALLED_SECONDS = 120.0
EVENT = b'{"type":"ADDED"'


async def _opened(stack: AsyncExitStack, target: Target, count: int) -> list[HttpConnection]:
    """So many open watches, each of which has been answered."""
    found: list[HttpConnection] = []
    async with open_http(target.url, target.context, target.token) as first:
        _, listed = await first.request("GET", CONFIGMAPS)
    revision = json.loads(listed)["metadata"]["resourceVersion"]

    async def one() -> None:
        http = await stack.enter_async_context(open_http(target.url, target.context, target.token))
        await http.send("GET", f"{CONFIGMAPS}?watch=true&resourceVersion={revision}")
        await http.receive()
        found.append(http)

    numbers = iter(range(count))

    async def some() -> None:
        for _ in numbers:
            await one()

    await _together([some] * 8)
    return found


async def _together(tasks: list[Callable[[], Awaitable[None]]]) -> None:
    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(task)


async def _fan_out(target: Target) -> list[str]:
    async with AsyncExitStack() as stack:
        watches = await _opened(stack, target, WATCHERS)
        numbers = iter(range(EVENTS))

        async def follow(http: HttpConnection) -> None:
            seen, cut_off = 0, b""
            while seen < EVENTS:
                data = cut_off + await http.receive()
                seen += data.count(EVENT)
                cut_off = data[1 - len(EVENT) :]  # too short for a whole one

        async def write() -> None:
            async with open_http(target.url, target.context, target.token) as http:
                for number in numbers:
                    status, _ = await http.request("POST", CONFIGMAPS, configmap(f"watched-{number}"))
                    if status != 201:
                        raise RuntimeError(f"create answered {status}")

        started, before = time.perf_counter(), cpu_seconds(target.pid)
        with trio.fail_after(STALLED_SECONDS):
            async with trio.open_nursery() as nursery:
                for http in watches:
                    nursery.start_soon(follow, http)
                for _ in range(WRITERS):
                    nursery.start_soon(write)
        seconds, used = time.perf_counter() - started, cpu_seconds(target.pid) - before
    delivered = WATCHERS * EVENTS
    return [
        f"| events /s to {WATCHERS} watchers of {EVENTS} creates | {delivered / seconds:,.0f} |",
        f"| events of these for each second of the server's CPU | {delivered / used:,.0f} |",
    ]


async def _idle(target: Target) -> list[str]:
    before = resident_mib(target.pid)
    async with AsyncExitStack() as stack:
        await _opened(stack, target, IDLE_WATCHES)
        after = resident_mib(target.pid)
    return [f"| memory of {IDLE_WATCHES:,} idle watches on as many connections, MiB | {after - before:.0f} |"]


async def _cached(target: Target) -> list[str]:
    before = resident_mib(target.pid)
    await make_pods(target.url, target.context, 0, PODS, target.token)
    taken = (resident_mib(target.pid) - before) * 2**20
    async with open_http(target.url, target.context, target.token) as http:
        _, answer = await http.request("GET", f"{NAMESPACE}/pods?resourceVersion=0")
    encoded = sum(len(json.dumps(item, separators=(",", ":"))) for item in json.loads(answer)["items"])
    return [
        f"| memory for each of {PODS:,} pods, KiB | {taken / PODS / 1024:.1f} |",
        f"| the same in relation to a pod's size as JSON | {taken / encoded:.2f} |",
    ]


def run() -> list[str]:
    """Measure and return the table's lines (Markdown)."""
    lines = ["| figure | |", "| --- | ---: |"]
    for part in (_idle, _fan_out, _cached):  # each in a server that has done nothing yet: what is freed stays resident
        with served() as target:
            lines += trio.run(part, target)
    return lines
