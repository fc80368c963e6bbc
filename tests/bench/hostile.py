"""Hostile: twice the load that the server can serve, bad clients mixed in; memory, what good clients get, what is lost.

What the server serves at most is measured first. Then a process offers twice that, one has bad clients, and good ones
go on here. What they were told is done is looked for at the end.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import trio

from kvraft.channel import Closed
from tests.bench import open_loop
from tests.bench.api import NAMESPACE, configmap, local_cluster, processes
from tests.bench.bad_clients import READY
from tests.bench.clusters import own_mib
from tests.bench.fairness import GOOD, USERS, allow, fill
from tests.bench.http import HttpConnection, open_http, read_kubeconfig
from tests.bench.load import Figures

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

OBJECTS = 300
GOOD_CLIENTS = 4
TURN_SECONDS = 0.2
"""A good client does its three requests so often."""
KEPT = 50
"""So many objects each good client keeps: it deletes older ones."""
TIMES = 2.0
SAMPLE_SECONDS = 1.0
MAX_FAILED = 0.001
"""So large a part of good requests may be refused or fail."""
MAX_GROWTH = 1.25
MAX_GROWTH_MIB = 64.0
"""Memory in the second half of the time may be so much more than in the first."""
COLLECTION = f"{NAMESPACE}/configmaps"


class GoodClient:
    """Creates, reads, deletes; what was acknowledged is remembered."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.there: list[str] = []
        self.gone: set[str] = set()
        self.acknowledged = 0
        self.failures: list[str] = []
        self.latencies: list[float] = []

    async def run(self, url: str, context: ssl.SSLContext, seconds: float) -> None:
        """For so long. A connection that breaks is a failure, and is opened again."""
        end = trio.current_time() + seconds
        while trio.current_time() < end:
            try:
                async with open_http(url, context, GOOD) as http:
                    while trio.current_time() < end:
                        turn = trio.current_time()
                        await self._turn(http)
                        await trio.sleep_until(turn + TURN_SECONDS)
            except (OSError, trio.BrokenResourceError, Closed) as error:
                self.failures.append(repr(error))

    async def _turn(self, http: HttpConnection) -> None:
        name = f"good-{self._name}-{time.time_ns()}"
        if await self._ask(http, "POST", "", 201, configmap(name)):
            self.there.append(name)
            self.acknowledged += 1
        await self._ask(http, "GET", "/c-000001", 200)
        if len(self.there) > KEPT:
            oldest = self.there.pop(0)
            if await self._ask(http, "DELETE", f"/{oldest}", 200):
                self.gone.add(oldest)
                self.acknowledged += 1

    async def _ask(self, http: HttpConnection, method: str, path: str, expected: int, body: bytes = b"") -> bool:
        started = time.perf_counter()
        status, answer = await http.request(method, COLLECTION + path, body)
        self.latencies.append(time.perf_counter() - started)
        if status != expected:
            self.failures.append(f"{method} {path}: {status} {answer[:200].decode(errors='replace')}")
        return status == expected

    def lost(self, names: set[str]) -> int:
        """How many acknowledged writes are not among what there is: creates that are missing, deletes undone."""
        return len(set(self.there) - names) + len(self.gone & names)


async def _names(kubeconfig: Path) -> set[str]:
    """Every object, page by page."""
    found: set[str] = set()
    async with open_http(*read_kubeconfig(kubeconfig)) as http:
        following = ""
        while True:
            status, body = await http.request("GET", f"{COLLECTION}?limit=500&continue={following}")
            if status != 200:
                raise RuntimeError(f"list answered {status}")
            page: dict[str, Any] = json.loads(body)
            found.update(item["metadata"]["name"] for item in page["items"])
            following = page["metadata"].get("continue", "")
            if not following:
                return found


class Memory:
    """Memory of processes, second by second, without what is mapped from files."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = {pid: name for name, pid in pids.items()}  # one process may have two names
        self.samples: dict[str, list[float]] = {name: [own_mib(pid)] for pid, name in self._pids.items()}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.sleep(SAMPLE_SECONDS)
            self.look()

    def look(self) -> None:
        """Takes a sample."""
        for pid, name in self._pids.items():
            self.samples[name].append(own_mib(pid))

    def rows(self) -> Iterator[str]:
        """Lines of the table. Raises RuntimeError when memory goes on growing."""
        for name, found in self.samples.items():
            half = len(found) // 2
            before, after = max(found[: half + 1]), max(found[half:])
            if after > before * MAX_GROWTH + MAX_GROWTH_MIB:
                raise RuntimeError(
                    f"{name}: memory grows: {before:.0f} MiB in the first half, {after:.0f} in the second"
                )
            for what, value in (
                ("at the start", found[0]),
                ("after half of the time", found[half]),
                ("at most", max(found)),
                ("at the end", found[-1]),
            ):
                yield f"| {name}: memory {what}, MiB | {value:,.0f} |"


@contextmanager
def _process(module: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", module, *words], stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def _good(kubeconfig: Path, memory: Memory, seconds: float) -> list[GoodClient]:
    url, context = read_kubeconfig(kubeconfig, anonymous=True)
    clients = [GoodClient(str(number)) for number in range(GOOD_CLIENTS)]
    async with trio.open_nursery() as sampling:
        sampling.start_soon(memory.run)
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(client.run, url, context, seconds)
        memory.look()
        sampling.cancel_scope.cancel()
    return clients


def _attacked(
    kubeconfig: Path, memory: Memory, rate: float, seconds: float, most: int
) -> tuple[list[GoodClient], dict[str, int], int]:
    """Good clients, what came of the offered load, and how often bad clients began."""
    with (
        _process("tests.bench.bad_clients", str(kubeconfig)) as bad,
        _process("tests.bench.open_loop", str(kubeconfig), str(rate), str(seconds), str(most)) as load,
    ):
        assert bad.stdout is not None
        assert load.stdout is not None
        if bad.stdout.readline() != READY or load.stdout.readline() != READY:
            raise RuntimeError("the attack did not begin")
        clients = trio.run(_good, kubeconfig, memory, seconds)
        ended: dict[str, int] = json.loads(load.stdout.readline())
        if bad.poll() is not None:
            raise RuntimeError("the bad clients gave up")
        bad.kill()
        return clients, ended, int(bad.stdout.read().split()[-1])


def run(minutes: float) -> list[str]:
    """Measure and return the table's lines (Markdown). Raises RuntimeError when something does not hold."""
    seconds = minutes * 60
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as users:
        users.write(USERS)
        users.flush()
        with local_cluster(1, [f"--token-auth-file={users.name}"]) as (directory, _):
            kubeconfig = directory / "kubeconfig"
            trio.run(allow, kubeconfig)
            trio.run(fill, kubeconfig, OBJECTS)
            greedy = read_kubeconfig(kubeconfig, anonymous=True)
            trio.run(open_loop.prepare, *greedy)
            served = trio.run(open_loop.saturate, *greedy, min(10.0, max(1.0, seconds / 10)))
            memory = Memory(processes(directory))
            most = min(open_loop.MAX_OUTSTANDING, max(50, int(seconds * 10)))
            clients, ended, bad = _attacked(kubeconfig, memory, served * TIMES, seconds, most)
            names = trio.run(_names, kubeconfig)
    failures = [failure for client in clients for failure in client.failures]
    lost = sum(client.lost(names) for client in clients)
    latencies = [latency for client in clients for latency in client.latencies]
    if lost or len(failures) > len(latencies) * MAX_FAILED:
        raise RuntimeError(
            f"{lost} acknowledged writes are lost; {len(failures)} of {len(latencies)} failed: {failures[:5]}"
        )
    figures = Figures.of(latencies, seconds)
    return [
        "| figure | value |",
        "| --- | ---: |",
        f"| served at saturation, /s | {served:,.0f} |",
        f"| offered, /s | {ended['offered'] / seconds:,.0f} |",
        *(
            f"| {what}, /s | {ended.get(key, 0) / seconds:,.0f} |"
            for key, what in (
                ("served", "of these served"),
                ("refused", "of these refused with 429"),
                ("broken", "of these on connections that broke"),
                ("held back", f"of these held back, {most} being under way"),
            )
        ),
        f"| bad clients, each beginning counted | {bad:,} |",
        *memory.rows(),
        f"| requests of good clients | {len(latencies):,} |",
        f"| p50 ms | {figures.p50_ms:.1f} |",
        f"| p99 ms | {figures.p99_ms:.1f} |",
        f"| refused or failed | {len(failures):,} |",
        f"| writes acknowledged | {sum(client.acknowledged for client in clients):,} |",
        "| of these lost | 0 |",
    ]
