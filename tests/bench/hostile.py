"""Hostile: more load than the server can serve, bad clients mixed in; memory, what good clients get, what is lost."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from tests.bench.api import NAMESPACE, configmap, local_cluster, processes
from tests.bench.clusters import resident_mib
from tests.bench.fairness import GOOD, GREEDY, USERS, allow, fill
from tests.bench.http import HttpConnection, open_http, read_kubeconfig
from tests.bench.load import Figures

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterator

OBJECTS = 300
EACH = 10
"""Bad clients of each kind."""
LOADERS = 60
"""Connections that list and create as fast as they are answered: several times what one server does."""
SAMPLE_SECONDS = 1.0
BODY_BYTES = 64 * 1024 * 1024
READY = b"attacking\n"
AGAIN_SECONDS = 0.2


async def _raw(url: str, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
    parts = urlsplit(url)
    assert parts.hostname
    tcp = await trio.open_tcp_stream(parts.hostname, parts.port or 443)
    return trio.SSLStream(tcp, context, server_hostname=parts.hostname, https_compatible=True)


async def _trickling_head(url: str, context: ssl.SSLContext) -> None:
    stream = await _raw(url, context)
    await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
    while True:
        await stream.send_all(b"x")
        await trio.sleep(1.0)


async def _trickling_handshake(url: str, _: ssl.SSLContext) -> None:
    parts = urlsplit(url)
    assert parts.hostname
    tcp = await trio.open_tcp_stream(parts.hostname, parts.port or 443)
    for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64):
        await tcp.send_all(bytes([byte]))
        await trio.sleep(1.0)


async def _garbage(url: str, context: ssl.SSLContext) -> None:
    stream = await _raw(url, context)
    await stream.send_all(os.urandom(random.randrange(1, 4096)))
    while await stream.receive_some(4096):
        pass
    await trio.sleep(AGAIN_SECONDS)


async def _huge_body(url: str, context: ssl.SSLContext) -> None:
    stream = await _raw(url, context)
    head = f"POST {NAMESPACE}/configmaps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {GREEDY}\r\n"
    await stream.send_all(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(BODY_BYTES // 65536):
        await stream.send_all(b"10000\r\n" + b"x" * 65536 + b"\r\n")


async def _never_reads(url: str, context: ssl.SSLContext, query: str) -> None:
    stream = await _raw(url, context)
    head = f"GET {NAMESPACE}/configmaps{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {GREEDY}\r\n\r\n"
    await stream.send_all(head.encode())
    await trio.sleep(30.0)


async def _never_watches(url: str, context: ssl.SSLContext) -> None:
    await _never_reads(url, context, "?watch=1")


async def _never_lists(url: str, context: ssl.SSLContext) -> None:
    await _never_reads(url, context, "")


async def _loads(url: str, context: ssl.SSLContext) -> None:
    async with open_http(url, context, GREEDY) as http:
        for number in range(1_000):
            if number % 3:
                status, _ = await http.request("GET", f"{NAMESPACE}/configmaps?labelSelector=none%3Dsuch")
            else:
                name = f"l-{time.time_ns()}-{random.randrange(10**6)}"
                status, _ = await http.request("POST", f"{NAMESPACE}/configmaps", configmap(name))
            if status == 429:
                await trio.sleep(AGAIN_SECONDS)


KINDS = (_trickling_head, _trickling_handshake, _garbage, _huge_body, _never_watches, _never_lists)


async def attack(url: str, context: ssl.SSLContext) -> None:
    """All of them at once, each again when the server has had enough of it."""

    async def keep_on(what: Callable[[str, ssl.SSLContext], Awaitable[None]]) -> None:
        while True:
            with contextlib.suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError, Exception):
                await what(url, context)
            await trio.sleep(AGAIN_SECONDS)

    async with trio.open_nursery() as nursery:
        for kind in KINDS:
            for _ in range(EACH):
                nursery.start_soon(keep_on, kind)
        for _ in range(LOADERS):
            nursery.start_soon(keep_on, _loads)
        sys.stdout.buffer.write(READY)
        sys.stdout.buffer.flush()


@contextmanager
def attacking(kubeconfig: Path) -> Iterator[None]:
    """That, in another process."""
    command = [sys.executable, "-m", "tests.bench.hostile", str(kubeconfig)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != READY:
            raise RuntimeError("the attack did not begin")
        yield
    finally:
        process.kill()
        process.wait()


class GoodClient:
    """Creates and reads, one after the other; what was acknowledged is remembered."""

    def __init__(self) -> None:
        self.acknowledged: list[str] = []
        self.failed = 0
        self.latencies: list[float] = []

    async def run(self, url: str, context: ssl.SSLContext, seconds: float) -> None:
        """For so long."""
        end = trio.current_time() + seconds
        async with open_http(url, context, GOOD) as http:
            number = 0
            while trio.current_time() < end:
                number += 1
                name = f"good-{time.time_ns()}-{number}"
                all_of_them = f"{NAMESPACE}/configmaps"
                for path, body in ((all_of_them, configmap(name)), (f"{all_of_them}/c-000001", b"")):
                    started = time.perf_counter()
                    status, _ = await http.request("POST" if body else "GET", path, body)
                    self.latencies.append(time.perf_counter() - started)
                    if status == 201:
                        self.acknowledged.append(name)
                    elif status != 200:
                        self.failed += 1

    async def lost(self, http: HttpConnection) -> int:
        """How many of those that were acknowledged are not there."""
        missing = 0
        for name in self.acknowledged:
            status, _ = await http.request("GET", f"{NAMESPACE}/configmaps/{name}")
            missing += status != 200
        return missing


async def _sample(pid: int, found: list[float]) -> None:
    while True:
        found.append(resident_mib(pid))
        await trio.sleep(SAMPLE_SECONDS)


async def _under_attack(kubeconfig: Path, pid: int, seconds: float) -> tuple[GoodClient, list[float]]:
    url, context = read_kubeconfig(kubeconfig, anonymous=True)
    good, memory = GoodClient(), list[float]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_sample, pid, memory)
        await good.run(url, context, seconds)
        nursery.cancel_scope.cancel()
    return good, memory


async def _lost(kubeconfig: Path, good: GoodClient) -> int:
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(open_http(*read_kubeconfig(kubeconfig)))
        return await good.lost(http)


def run(minutes: float) -> list[str]:
    """Measure and return the table's lines (Markdown)."""
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as users:
        users.write(USERS)
        users.flush()
        with local_cluster(1, [f"--token-auth-file={users.name}"]) as (directory, _):
            kubeconfig = directory / "kubeconfig"
            trio.run(allow, kubeconfig)
            trio.run(fill, kubeconfig, OBJECTS)
            pid = next(iter(processes(directory).values()))
            before = resident_mib(pid)
            with attacking(kubeconfig):
                good, memory = trio.run(_under_attack, kubeconfig, pid, minutes * 60)
            lost = trio.run(_lost, kubeconfig, good)
    if lost or good.failed:
        raise RuntimeError(f"{lost} acknowledged creates are lost, {good.failed} requests were refused or failed")
    figures = Figures.of(good.latencies, minutes * 60)
    half = memory[len(memory) // 2]
    return [
        "| figure | value |",
        "| --- | ---: |",
        f"| memory before, MiB | {before:,.0f} |",
        f"| memory after half of the time, MiB | {half:,.0f} |",
        f"| memory at the end, MiB | {memory[-1]:,.0f} |",
        f"| memory at most, MiB | {max(memory):,.0f} |",
        f"| requests of the good client | {len(good.latencies):,} |",
        f"| p50 ms | {figures.p50_ms:.1f} |",
        f"| p99 ms | {figures.p99_ms:.1f} |",
        "| refused or failed | 0 |",
        f"| creates acknowledged | {len(good.acknowledged):,} |",
        "| of these lost | 0 |",
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kubeconfig", type=Path)
    given = parser.parse_args()
    trio.run(attack, *read_kubeconfig(given.kubeconfig, anonymous=True))
