"""Watches: what many cost when something happens, and when nothing does; and what the cache of objects takes."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from tests.bench.api import NAMESPACE, configmap, make_pods
from tests.bench.clusters import resident_mib
from tests.bench.fan_out import FanOut, Peer, check, fan_out
from tests.bench.http import HttpConnection, open_http
from tests.bench.target import Target, cpu_seconds, served

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

WATCHERS, EVENTS = 500, 300
WRITERS = 16
IDLE_WATCHES = 5_000
PODS = 10_000
CONFIGMAPS = f"{NAMESPACE}/configmaps"


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


def _fan_out(target: Target) -> list[str]:
    """By an administrator, whom flow control leaves alone."""
    alone, watched = _both(target)
    delivered = WATCHERS * EVENTS
    sending = (watched.server_seconds - alone.server_seconds) / delivered * 1e6
    own = watched.out.own_cpu_seconds / delivered * 1e6
    return [
        f"| events /s to {WATCHERS} watchers of {EVENTS} creates | {delivered / watched.out.seconds:,.0f} |",
        f"| events of these for each second of the server's CPU | {delivered / watched.server_seconds:,.0f} |",
        f"| CPU of the server for an event to one watcher, without the creates, us | {sending:.1f} |",
        f"| the same of the one that creates and watches | {own:.1f} |",
        f"| CPU of the server for the {EVENTS} creates that nobody watches, s | {alone.server_seconds:.2f} |",
        f"| CPU of the three members for them, s | {alone.store_seconds:.2f} |",
    ]


def _held_back(target: Target) -> list[str]:
    """By a user of whom flow control takes a seat for each ten watchers of what he creates, for a while."""
    _, watched = _both(target)
    rate = WATCHERS * EVENTS / watched.out.seconds
    return [f"| events /s to as many of creates that flow control holds back | {rate:,.0f} |"]


def _both(target: Target) -> tuple[_Measured, _Measured]:
    """Creates that nobody watches, and as many that are watched, of which each watcher has been told."""
    with ExitStack() as stack:
        writing = [_peer(stack, target) for _ in range(WRITERS)]
        alone = _measured(target, [], writing, "alone")
        listed = json.loads(writing[0].ask(_request(target, "GET", f"{CONFIGMAPS}?limit=1")))
        revision = listed["metadata"]["resourceVersion"]
        watching = [_peer(stack, target) for _ in range(WATCHERS)]
        for peer in watching:
            peer.send(_request(target, "GET", f"{CONFIGMAPS}?watch=true&resourceVersion={revision}"))
            while not peer.receive():
                pass
        watched = _measured(target, watching, writing, "watched")
    check(watched.out.received, {f"watched-{number}" for number in range(EVENTS)})
    return alone, watched


@attrs.frozen
class _Measured:
    out: FanOut
    server_seconds: float
    store_seconds: float
    """Of CPU, as the server's."""


def _measured(target: Target, watching: list[Peer], writing: list[Peer], name: str) -> _Measured:
    creates = [_request(target, "POST", CONFIGMAPS, configmap(f"{name}-{number}")) for number in range(EVENTS)]
    server, store = cpu_seconds(target.pid), sum(map(cpu_seconds, target.store_pids))
    out = fan_out(watching, writing, creates)
    return _Measured(out, cpu_seconds(target.pid) - server, sum(map(cpu_seconds, target.store_pids)) - store)


def _peer(stack: ExitStack, target: Target) -> Peer:
    peer = Peer(target.url, target.context)
    stack.callback(peer.close)
    return peer


def _request(target: Target, method: str, path: str, body: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {target.token}\r\n"
    framing = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    return f"{head}{framing}\r\n".encode() + body


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
    parts: tuple[tuple[Callable[[Target], list[str]], str], ...] = (
        (partial(trio.run, _idle), ""),
        (_fan_out, "system:masters"),
        (_held_back, ""),
        (partial(trio.run, _cached), ""),
    )
    for part, group in parts:  # each in a server that has done nothing yet: what is freed stays resident
        with served(group) as target:
            lines += part(target)
    return lines
