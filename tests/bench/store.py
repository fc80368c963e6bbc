"""The store's figures: writes and reads, kvraft by its native client, etcd by the leanest gRPC client."""

from __future__ import annotations

import shutil
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import cache, partial
from itertools import product
from statistics import median
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
TURNS = 5
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


async def _turn(contender: Contender, kind: str, load: tuple[int, int], seconds: float) -> Figures:
    connections, in_flight = load
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(contender.connect()) for _ in range(connections)]
        return await closed_loop([contender.operation(kind, each) for each in opened], in_flight, seconds)


def of_kvraft(kind: str, client: Client) -> Callable[[int], Awaitable[object]]:
    """One operation through the native client."""
    if kind == "write":
        put, keys, value = client.put, _keys, VALUE
        return lambda number: put(keys[number % KEYS], value)
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
    turns, memory = measured(seconds)
    return table(turns["native"], turns.get("etcd", []), memory)


def run_over_grpc(seconds: float) -> list[str]:
    """The same with gRPC spoken to both."""
    turns, memory = measured(seconds)
    return table(turns["grpc"], turns.get("etcd", []), memory)


@cache
def measured(seconds: float) -> tuple[dict[str, list[FiguresByLoad]], list[float]]:
    """Everybody's turns, measured once, and the memory of kvraft's members; no etcd where it is not installed.

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
    return turns, memory


async def leader(urls: list[str]) -> str:
    """The client URL of kvraft's leader, which spares it the forwarding."""
    async with open_client(urls) as client:
        for url in urls:
            status = await client.status(url)
            if status.leader == status.member_id:
                return url
    raise LookupError("nobody leads")


def table(ours: Sequence[FiguresByLoad], theirs: Sequence[FiguresByLoad], memory: Sequence[float]) -> list[str]:
    """Lines of Markdown: a row for each load, and what is to be said of all. The turns of both stores, none of etcd's
    where it is not installed."""
    lines = [
        "| operation | connections x in flight | kvraft /s | p50 ms | p99 ms | etcd /s | p50 ms | p99 ms | ratio |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for place in ours[0]:
        kind, load = place
        line = f"| {kind} | {load[0]}x{load[1]} | {_cells([turn[place] for turn in ours])} "
        if theirs:
            ratio = median(mine[place].rate / other[place].rate for mine, other in zip(ours, theirs, strict=True))
            line += f"| {_cells([turn[place] for turn in theirs])} | {ratio:.2f} |"
        else:
            line += "| not installed | | | |"
        lines.append(line)
    failures = sum(figures.failures for turn in (*ours, *theirs) for figures in turn.values())
    lines += ["", f"Failed operations: {failures}. Memory of the kvraft members after this load: "]
    lines[-1] += ", ".join(f"{mib:.0f} MiB" for mib in memory) + "."
    return lines


def _cells(turns: Sequence[Figures]) -> str:
    """Of the turn with the middle rate."""
    middle = sorted(turns, key=lambda each: each.rate)[len(turns) // 2]
    return f"{middle.rate:,.0f} | {middle.p50_ms:.2f} | {middle.p99_ms:.2f}"
