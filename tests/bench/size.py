"""The store at size: a million keys, one member of each. Restart, memory, ranges."""

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
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import trio

from kvraft.client import open_client
from kvraft.types import PutRequest
from tests.bench.clusters import own_mib
from tests.bench.etcd_wire import open_etcd, put_message, range_message, txn_message
from tests.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

T = TypeVar("T")

VALUE = b"v" * 256
PAGE_KEYS = 1000
TXN_PUTS, TXNS_IN_FLIGHT = 50, 3
"""The store is filled by so large transactions: one fits into a frame of HTTP/2, all fit into its first window."""
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
        """Resident memory without what is mapped from files."""
        assert self._running is not None
        return own_mib(self._running.pid)

    def file_mib(self) -> float:
        """What its data takes on the disk."""
        files = (path for path in (self.directory / "m1").rglob("*") if path.is_file())
        return sum(path.stat().st_blocks * 512 for path in files) / (1 << 20)


@contextmanager
def one_member(program: str) -> Iterator[Process]:
    """A process that has not been started yet, with a directory that goes away."""
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

    async def put_many(self, numbers: range) -> None:
        await self._client.txn((), [PutRequest(key_of(number), VALUE) for number in numbers])

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

    async def put_many(self, numbers: range) -> None:
        await self._connection.call("Txn", txn_message((key_of(number), VALUE) for number in numbers))

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


async def put_all(store: Any, keys: int) -> None:
    """Put keys 0 to ``keys``, in transactions."""
    batches = iter(range(0, keys, TXN_PUTS))

    async def worker() -> None:
        for first in batches:
            await store.put_many(range(first, min(first + TXN_PUTS, keys)))

    async with trio.open_nursery() as nursery:
        for _ in range(TXNS_IN_FLIGHT):
            nursery.start_soon(worker)


async def with_store(kind: Any, url: str, work: Callable[[Any], Awaitable[None]]) -> None:
    """Do ``work`` with a store of ``kind`` that is open meanwhile."""
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


def measure(program: str, kind: Any, keys: int) -> Sizes:
    """Fill one member of ``program`` with ``keys`` keys and look at it."""
    sizes = Sizes()
    with one_member(program) as process:
        process.start()
        trio.run(with_store, kind, process.url, lambda store: put_all(store, keys))
        process.stop()
        sizes.restart_seconds = process.start()
        sizes.memory_mib = process.memory_mib()
        trio.run(with_store, kind, process.url, partial(_ranges, sizes, process, keys))
        sizes.file_mib = process.file_mib()
    return sizes


def both(measure: Callable[[str, Any], T]) -> tuple[T, T | None]:
    """Measure kvraft, and etcd if it is installed."""
    ours = measure("kvraft", Kvraft)
    return ours, measure("etcd", Etcd) if shutil.which("etcd") and shutil.which("etcdctl") else None


def table(figures: tuple[T, T | None], rows: Sequence[tuple[str, Callable[[T], float]]]) -> list[str]:
    """Lines of Markdown: a row for each figure."""
    lines = ["| figure | kvraft | etcd |", "| --- | ---: | ---: |"]
    for name, figure in rows:
        cells = [f"{figure(each):,.2f}" if each is not None else "not installed" for each in figures]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    return lines


def run(keys: int) -> list[str]:
    """Measure both and return the table's lines (Markdown)."""
    return table(
        both(lambda program, kind: measure(program, kind, keys)),
        [
            ("restart, s", lambda sizes: sizes.restart_seconds),
            ("memory without the page cache after it, MiB", lambda sizes: sizes.memory_mib),
            (f"all keys in pages of {PAGE_KEYS:,}, s", lambda sizes: sizes.range_seconds),
            ("memory after that, MiB", lambda sizes: sizes.memory_after_range_mib),
            (f"count of a range of {COUNTED_KEYS:,}, first time, ms", lambda sizes: sizes.count_ms),
            ("data on disk, MiB", lambda sizes: sizes.file_mib),
        ],
    )
