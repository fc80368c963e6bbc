"""The store's figures: writes and reads, kvraft by its native client, etcd by the leanest gRPC client."""

from __future__ import annotations

import shutil
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import cache, partial
from typing import TYPE_CHECKING, TypeVar

import trio

from kvraft.client import open_client
from tests.bench.clusters import etcd_leader, store_cluster
from tests.bench.etcd_wire import open_etcd, put_message, range_message
from tests.bench.load import Figures, closed_loop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kvraft.client import Client
    from tests.bench.etcd_wire import EtcdConnection

Connected = TypeVar("Connected")

LOADS = ((1, 1), (16, 1), (64, 1), (4, 64))
"""Connections x operations in flight on each."""
KINDS = ("write", "linearizable read", "serializable read")
VALUE = b"v" * 256
KEYS = 10_000
_keys = [b"/bench/%08d" % (number * 7919 % KEYS) for number in range(KEYS)]


def key_of(number: int) -> bytes:
    """The key that the ``number``-th operation touches. Made before: the load has the machine to share with them."""
    return _keys[number % KEYS]


async def measure(
    connect: Callable[[], AbstractAsyncContextManager[Connected]],
    operation: Callable[[str, Connected], Callable[[int], Awaitable[object]]],
    seconds: float,
) -> dict[tuple[str, tuple[int, int]], Figures]:
    """Every kind under every load, on connections that ``connect`` opens."""
    results = {}
    for kind in KINDS:
        for connections, in_flight in LOADS:
            async with AsyncExitStack() as stack:
                opened = [await stack.enter_async_context(connect()) for _ in range(connections)]
                operations = [operation(kind, connected) for connected in opened]
                results[kind, (connections, in_flight)] = await closed_loop(operations, in_flight, seconds)
    return results


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
    """Measure both and return the table's lines (Markdown)."""
    with store_cluster("kvraft") as cluster:
        ours = trio.run(measure, partial(open_client, cluster.urls), of_kvraft, seconds)
        memory = cluster.memory_mib()
    return table(ours, etcd_figures(seconds), memory)


def run_over_grpc(seconds: float) -> list[str]:
    """The same with gRPC spoken to both."""
    ours, memory = _over_grpc("kvraft", seconds)
    return table(ours, etcd_figures(seconds), memory)


FiguresByLoad = dict[tuple[str, tuple[int, int]], Figures]


@cache
def etcd_figures(seconds: float) -> FiguresByLoad:
    """etcd's, measured once; none when it is not installed."""
    installed = shutil.which("etcd") and shutil.which("etcdctl")
    return _over_grpc("etcd", seconds)[0] if installed else {}


def _over_grpc(program: str, seconds: float) -> tuple[FiguresByLoad, list[float]]:
    with store_cluster(program) as cluster:
        leader = etcd_leader(cluster.urls)  # which spares it the forwarding
        figures = trio.run(measure, partial(open_etcd, leader), of_etcd, seconds)
        return figures, cluster.memory_mib()


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
