"""The store at size: a million keys, one member of each. Restart, memory, ranges, compaction under load."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from kvraft.client import open_client
from tests.bench.clusters import free_ports
from tests.bench.etcd_wire import open_etcd, put_message, range_message
from tests.bench.load import Figures, closed_loop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

VALUE = b"v" * 256
PAGE_KEYS = 1000
IN_FLIGHT = 64
LOAD_IN_FLIGHT = 4
"""Writers beside the compaction."""
COUNTED_KEYS = 4000
START_SECONDS = 120.0
PREFIX = b"/size/"


def key_of(number: int) -> bytes:
    """Keys in the order of their numbers."""
    return PREFIX + b"%09d" % number


@attrs.define
class Sizes:
    """What one store gave; None: not measured."""

    restart_seconds: float = 0.0
    memory_mib: float = 0.0
    memory_after_range_mib: float = 0.0
    range_seconds: float = 0.0
    count_ms: float = 0.0
    before: Figures | None = None
    during: Figures | None = None
    compaction_seconds: float = 0.0
    file_mib: float = 0.0


class Process:
    """One member that can be started again on its files."""

    def __init__(self, program: str, directory: Path) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in free_ports(2))
        command = [sys.executable, "-m", "kvraft.cli.main", "serve"] if program == "kvraft" else ["etcd"]
        self.url = client
        self.directory = directory
        self._log = directory / "log"
        self._command = [
            *command, "--name", "m1", "--data-dir", str(directory / "m1"), "--quota-backend-bytes", str(8 << 30),
            "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
            "--initial-advertise-peer-urls", peer, "--initial-cluster", f"m1={peer}",
        ]  # fmt: skip
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it; the seconds until it serves."""
        began = time.perf_counter()
        with self._log.open("wb") as log:
            self._running = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ})
        while b"ready to serve client requests" not in self._log.read_bytes():
            if self._running.poll() is not None or time.perf_counter() - began > START_SECONDS:
                raise RuntimeError(f"it did not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.005)
        return time.perf_counter() - began

    def stop(self) -> None:
        """SIGTERM, and wait."""
        if self._running is not None:
            self._running.send_signal(signal.SIGTERM)
            self._running.wait(60)
            self._running = None

    def memory_mib(self) -> float:
        """Resident memory without what is mapped from files, which is the page cache's."""
        assert self._running is not None
        for line in Path(f"/proc/{self._running.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def file_mib(self) -> float:
        """What its data takes on the disk."""
        files = (path for path in (self.directory / "m1").rglob("*") if path.is_file())
        return sum(path.stat().st_blocks * 512 for path in files) / (1 << 20)


@contextmanager
def _process(program: str) -> Iterator[Process]:
    directory = Path(tempfile.mkdtemp(prefix=f"bench-size-{program}-"))
    process = Process(program, directory)
    try:
        yield process
    finally:
        process.stop()
        shutil.rmtree(directory, ignore_errors=True)


class Kvraft:
    """What is done with kvraft, through its client."""

    connect = staticmethod(lambda url: open_client([url], timeout_seconds=300))

    def __init__(self, client: Any, url: str) -> None:
        self._client = client

    async def put(self, number: int) -> None:
        await self._client.put(key_of(number), VALUE)

    async def page(self, number: int) -> None:
        await self._client.range(key_of(number), PREFIX + b"~", limit=PAGE_KEYS)

    async def count(self, low: int, high: int) -> None:
        await self._client.range(key_of(low), key_of(high), count_only=True)

    async def compact(self) -> None:
        await self._client.compact(await self._client.revision(), physical=True)


class Etcd:
    """The same with etcd, through the leanest client; compactions by etcdctl."""

    connect = staticmethod(open_etcd)

    def __init__(self, connection: Any, url: str) -> None:
        self._connection = connection
        self._url = url

    async def put(self, number: int) -> None:
        await self._connection.call("Put", put_message(key_of(number), VALUE))

    async def page(self, number: int) -> None:
        message = range_message(key_of(number), serializable=False, range_end=PREFIX + b"~", limit=PAGE_KEYS)
        await self._connection.call("Range", message)

    async def count(self, low: int, high: int) -> None:
        message = range_message(key_of(low), serializable=False, range_end=key_of(high), count_only=True)
        await self._connection.call("Range", message)

    async def compact(self) -> None:
        etcdctl = ["etcdctl", "--endpoints", self._url, "--command-timeout", "600s"]
        environment = {**os.environ, "ETCDCTL_API": "3"}
        status = await trio.run_process(
            [*etcdctl, "endpoint", "status", "-w", "fields"], env=environment, capture_stdout=True
        )
        (revision,) = [
            line.split(b":")[1].strip().decode()
            for line in status.stdout.splitlines()
            if line.startswith(b'"Revision"')
        ]
        await trio.run_process([*etcdctl, "compaction", revision, "--physical"], env=environment, capture_stdout=True)


async def _put_all(store: Any, keys: int) -> None:
    numbers = iter(range(keys))

    async def worker() -> None:
        for number in numbers:
            await store.put(number)

    async with trio.open_nursery() as nursery:
        for _ in range(IN_FLIGHT):
            nursery.start_soon(worker)


async def _with(kind: Any, url: str, work: Callable[[Any], Awaitable[None]]) -> None:
    async with kind.connect(url) as connected:
        await work(kind(connected, url))


async def _ranges(sizes: Sizes, process: Process, keys: int, store: Any) -> None:
    began = time.perf_counter()
    for number in range(0, keys, PAGE_KEYS):
        await store.page(number)
    sizes.range_seconds = time.perf_counter() - began
    sizes.memory_after_range_mib = process.memory_mib()
    times = []
    for start in range(0, min(keys, 20 * COUNTED_KEYS), COUNTED_KEYS):
        began = time.perf_counter()
        await store.count(start, start + COUNTED_KEYS)
        times.append(time.perf_counter() - began)
    sizes.count_ms = sorted(times)[len(times) // 2] * 1000


async def _compaction(sizes: Sizes, keys: int, seconds: float, store: Any) -> None:
    await _put_all(store, keys)  # every key once more: as many revisions to remove as there are keys
    sizes.before = await closed_loop([store.put], LOAD_IN_FLIGHT, seconds)
    done = trio.Event()

    async def compact() -> None:
        began = time.perf_counter()
        await store.compact()
        sizes.compaction_seconds = time.perf_counter() - began
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(compact)
        sizes.during = await closed_loop([store.put], LOAD_IN_FLIGHT, seconds)
        await done.wait()


def measure(program: str, kind: Any, keys: int, seconds: float) -> Sizes:
    """Fill one member of ``program`` with ``keys`` keys and look at it."""
    sizes = Sizes()
    with _process(program) as process:
        process.start()
        trio.run(_with, kind, process.url, lambda store: _put_all(store, keys))
        process.stop()
        sizes.restart_seconds = process.start()
        sizes.memory_mib = process.memory_mib()
        trio.run(_with, kind, process.url, partial(_ranges, sizes, process, keys))
        trio.run(_with, kind, process.url, partial(_compaction, sizes, keys, seconds))
        sizes.file_mib = process.file_mib()
    return sizes


def run(seconds: float, keys: int) -> list[str]:
    """Measure both and return the table's lines (Markdown)."""
    ours = measure("kvraft", Kvraft, keys, seconds)
    theirs = None
    if shutil.which("etcd") and shutil.which("etcdctl"):
        theirs = measure("etcd", Etcd, keys, seconds)
    rows: list[tuple[str, Callable[[Sizes], float | None]]] = [
        ("restart, s", lambda sizes: sizes.restart_seconds),
        ("memory without the page cache after it, MiB", lambda sizes: sizes.memory_mib),
        (f"all keys in pages of {PAGE_KEYS:,}, s", lambda sizes: sizes.range_seconds),
        ("memory after that, MiB", lambda sizes: sizes.memory_after_range_mib),
        (f"count of a range of {COUNTED_KEYS:,}, first time, ms", lambda sizes: sizes.count_ms),
        (f"write p99, {LOAD_IN_FLIGHT} in flight, ms", lambda sizes: sizes.before and sizes.before.p99_ms),
        ("write p99 while compacting, ms", lambda sizes: sizes.during and sizes.during.p99_ms),
        ("writes /s", lambda sizes: sizes.before and sizes.before.rate),
        ("writes /s while compacting", lambda sizes: sizes.during and sizes.during.rate),
        (f"compaction of {keys:,} revisions under that load, s", lambda sizes: sizes.compaction_seconds),
        ("data on disk after it, MiB", lambda sizes: sizes.file_mib),
    ]
    lines = ["| figure | kvraft | etcd |", "| --- | ---: | ---: |"]
    for name, figure in rows:
        cells = [f"{figure(sizes) or 0:,.2f}" if sizes is not None else "not installed" for sizes in (ours, theirs)]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    return lines
