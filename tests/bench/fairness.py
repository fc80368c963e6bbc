"""Fairness: what one user's requests take while another keeps a thousand lists going, in a process of its own."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from tests.bench.api import NAMESPACE, configmap, local_cluster
from tests.bench.http import HttpConnection, open_http, read_kubeconfig
from tests.bench.load import Figures, closed_loop

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

GREEDY, GOOD = "greedy-token", "good-token"
USERS = f'{GREEDY},greedy,1,"bench"\n{GOOD},good,2,"bench"\n'
OBJECTS = 2_000
READY = b"flooding\n"
REFUSED_SECONDS = 1.0


async def allow(kubeconfig: Path) -> None:
    """Both users may read and write what the bench is about."""
    url, context = read_kubeconfig(kubeconfig)
    binding = (
        b'{"metadata":{"name":"bench"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole",'
        b'"name":"edit"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"Group","name":"bench"}]}'
    )
    async with open_http(url, context) as http:
        status, answer = await http.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
        assert status == 201, answer


async def fill(kubeconfig: Path, objects: int) -> None:
    """What there is to list."""
    url, context = read_kubeconfig(kubeconfig)
    numbers = iter(range(objects))

    async def worker() -> None:
        async with open_http(url, context) as http:
            for number in numbers:
                status, answer = await http.request("POST", f"{NAMESPACE}/configmaps", configmap(f"c-{number:06d}"))
                assert status == 201, answer

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(worker)


async def flood(url: str, context: ssl.SSLContext, connections: int) -> None:
    """Lists again and again on so many connections. Who is refused comes again a second later, as clients do."""

    async def keep_listing(http: HttpConnection) -> None:
        while True:
            status, _ = await http.request("GET", f"{NAMESPACE}/configmaps")
            if status != 200:
                await trio.sleep(REFUSED_SECONDS)

    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        opened = [await stack.enter_async_context(open_http(url, context, GREEDY)) for _ in range(connections)]
        for http in opened:
            nursery.start_soon(keep_listing, http)
        sys.stdout.buffer.write(READY)
        sys.stdout.buffer.flush()


@contextmanager
def flooding(kubeconfig: Path, connections: int) -> Iterator[None]:
    """That, in another process, from when all its connections are there."""
    command = [sys.executable, "-m", "tests.bench.fairness", str(kubeconfig), str(connections)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != READY:
            raise RuntimeError("the flood did not begin")
        yield
    finally:
        process.kill()
        process.wait()


async def _measure(kubeconfig: Path, seconds: float) -> tuple[Figures, Figures]:
    """One connection of the other user each: reads, and writes."""
    url, context = read_kubeconfig(kubeconfig, anonymous=True)
    stamp = time.time_ns()

    async def read(http: HttpConnection) -> None:
        status, answer = await http.request("GET", f"{NAMESPACE}/configmaps/c-000001")
        assert status == 200, answer

    async def write(http: HttpConnection, number: int) -> None:
        status, answer = await http.request("POST", f"{NAMESPACE}/configmaps", configmap(f"s-{stamp}-{number}"))
        assert status == 201, answer

    async with open_http(url, context, GOOD) as first, open_http(url, context, GOOD) as second:
        reads = await closed_loop([lambda _: read(first)], 1, seconds)
        writes = await closed_loop([lambda number: write(second, number)], 1, seconds)
    return reads, writes


def run(seconds: float, connections: int, objects: int = OBJECTS) -> list[str]:
    """Measure and return the table's lines (Markdown)."""
    lines = ["| while another user | GET /s | p50 ms | p99 ms | create p99 ms | failed |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")

    def note(state: str, kubeconfig: Path) -> None:
        reads, writes = trio.run(_measure, kubeconfig, seconds)
        figures = f"{reads.rate:,.0f} | {reads.p50_ms:.1f} | {reads.p99_ms:.1f} | {writes.p99_ms:.1f}"
        lines.append(f"| {state} | {figures} | {reads.failures + writes.failures} |")

    with tempfile.NamedTemporaryFile("w", suffix=".csv") as users:
        users.write(USERS)
        users.flush()
        for enabled in ("true", "false"):
            flags = [f"--token-auth-file={users.name}", f"--enable-priority-and-fairness={enabled}"]
            with local_cluster(1, flags) as (directory, _):
                kubeconfig = directory / "kubeconfig"
                trio.run(allow, kubeconfig)
                trio.run(fill, kubeconfig, objects)
                if enabled == "true":
                    note("does nothing", kubeconfig)
                with flooding(kubeconfig, connections):
                    without = "" if enabled == "true" else ", without priority and fairness"
                    note(f"lists {objects:,} objects on {connections:,} connections{without}", kubeconfig)
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kubeconfig", type=Path)
    parser.add_argument("connections", type=int)
    given = parser.parse_args()
    trio.run(flood, *read_kubeconfig(given.kubeconfig, anonymous=True), given.connections)
