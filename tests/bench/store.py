"""The store's figures: writes and reads, kvraft by its native client, etcd by the leanest gRPC client."""

from __future__ import annotations

import shutil
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import cache, partial
from itertools import product
from typing import TYPE_CHECKING, Any

import attrs
import trio

from kvraft.client import open_client
from tests.bench.clusters import etcd_leader, store_cluster
from tests.bench.etcd_wire import open_etcd, put_message, range_message
from tests.bench.load import Figures, closed_loop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from kvraft.client import Client
    from tests.bench.etcd_wire import EtcdConnection

FiguresByLoad = dict[tuple[str, tuple[int, int]], Figures]

LOADS = ((1, 1), (16, 1), (64, 1), (4, 64))
"""Connections x operations in flight on each."""
KINDS = ("write", "linearizable read", "serializable read")
TURNS = 3
FILL_SECONDS = 2.0
"""At some 5,000 writes a second, of which etcd is capable here, every key is there after that."""
VALUE = b"v" * 256
KEYS = 10_000
_keys = [b"/bench/%08d" % (number * 7919 % KEYS) for number in range(KEYS)]


def key_of(number: int) -> bytes:
    """The key that the ``number``-th operation touches. Made before: the load has the machine to share with them."""
    return _keys[number % KEYS]


@attrs.frozen
class Contender:
    """Who is measured: how a connection is opened, and the operation of a kind on one."""

    connect: Callable[[], AbstractAsyncContextManager[Any]]
    operation: Callable[[str, Any], Callable[[int], Awaitable[object]]]


async def measure(contenders: Mapping[str, Contender], seconds: float) -> dict[str, FiguresByLoad]:
    """Every kind under every load, once, of a store that has all the keys and is warm."""
    results: dict[str, FiguresByLoad] = {name: {} for name in contenders}
    await _turn(next(iter(contenders.values())), "write", LOADS[-1], FILL_SECONDS)
    for kind, load in product(KINDS, LOADS):
        for name, contender in contenders.items():
            results[name][kind, load] = await _turn(contender, kind, load, seconds)
    return results


def middle(turns: Sequence[FiguresByLoad]) -> FiguresByLoad:
    """Of each figure's turns the one with the middle rate."""
    return {
        place: sorted((turn[place] for turn in turns), key=lambda each: each.rate)[TURNS // 2] for place in turns[0]
    }


async def _turn(contender: Contender, kind: str, load: tuple[int, int], seconds: float) -> Figures:
    connections, in_flight = load
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(contender.connect()) for _ in range(connections)]
        return await closed_loop([contender.operation(kind, each) for each in opened], in_flight, seconds)


def of_kvraft(kind: str, client: Client) -> Callable[[int], Awaitable[object]]:
    """One operation through the native client."""
    if kind == "write":
        return lambda number: client.put(key_of(number), VALUE)
    serializable = kind == "serializable read"
    return lambda number: client.range(key_of(number), serializable=serializable)


def of_etcd(kind: str, etcd: EtcdConnection) -> Callable[[int], Awaitable[object]]:
    """One operation over gRPC."""
    if kind == "write":
        return lambda number: etcd.call("Put", put_message(key_of(number), VALUE))
    serializable = kind == "serializable read"
    return lambda number: etcd.call("Range", range_message(key_of(number), serializable=serializable))


def run(seconds: float) -> list[str]:
    """The table's lines (Markdown) for the native client."""
    figures, memory = measured(seconds)
    return table(figures["native"], figures.get("etcd", {}), memory)


def run_over_grpc(seconds: float) -> list[str]:
    """The same with gRPC spoken to both."""
    figures, memory = measured(seconds)
    return table(figures["grpc"], figures.get("etcd", {}), memory)


@cache
def measured(seconds: float) -> tuple[dict[str, FiguresByLoad], list[float]]:
    """Everybody's figures, measured once, and the memory of kvraft's members; no etcd where it is not installed.

    The stores take turns, since machines have good and bad moments, each with the machine to itself: members that
    nobody asks anything have heartbeats and timers nevertheless.
    """
    turns: dict[str, list[FiguresByLoad]] = {}
    memory: list[float] = []
    for _ in range(TURNS):
        with store_cluster("kvraft") as cluster:
            contenders = {
                "native": Contender(partial(open_client, cluster.urls), of_kvraft),
                "grpc": Contender(partial(open_etcd, trio.run(leader, cluster.urls)), of_etcd),
            }
            found = trio.run(measure, contenders, seconds)
            memory = cluster.memory_mib()
        if shutil.which("etcd") and shutil.which("etcdctl"):
            with store_cluster("etcd") as cluster:
                contenders = {"etcd": Contender(partial(open_etcd, etcd_leader(cluster.urls)), of_etcd)}
                found |= trio.run(measure, contenders, seconds)
        for name, figures in found.items():
            turns.setdefault(name, []).append(figures)
    return {name: middle(figures) for name, figures in turns.items()}, memory


async def leader(urls: list[str]) -> str:
    """The client URL of kvraft's leader, which spares it the forwarding."""
    async with open_client(urls) as client:
        for url in urls:
            status = await client.status(url)
            if status.leader == status.member_id:
                return url
    raise LookupError("nobody leads")


def table(ours: FiguresByLoad, theirs: FiguresByLoad, memory: list[float]) -> list[str]:
    """Lines of Markdown: a row for each load, and what is to be said of all."""
    lines = [
        "| operation | connections x in flight | kvraft /s | p50 ms | p99 ms | etcd /s | p50 ms | p99 ms | ratio |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (kind, load), mine in ours.items():
        name = f"{load[0]}x{load[1]}"
        line = f"| {kind} | {name} | {mine.rate:,.0f} | {mine.p50_ms:.2f} | {mine.p99_ms:.2f} "
        other = theirs.get((kind, load))
        if other is None:
            line += "| not installed | | | |"
        else:
            line += f"| {other.rate:,.0f} | {other.p50_ms:.2f} | {other.p99_ms:.2f} | {mine.rate / other.rate:.2f} |"
        lines.append(line)
    failures = sum(figure.failures for figure in (*ours.values(), *theirs.values()))
    lines += ["", f"Failed operations: {failures}. Memory of the kvraft members after this load: "]
    lines[-1] += ", ".join(f"{mib:.0f} MiB" for mib in memory) + "."
    return lines
