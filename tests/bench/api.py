"""The API server's figures over the local cluster: GET, LIST, create; memory; how soon it is ready."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from tests.bench import starting
from tests.bench.clusters import resident_mib
from tests.bench.http import HttpConnection, open_http, read_kubeconfig
from tests.bench.load import Figures, closed_loop
from tests.ports import free_ports

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterator, Sequence

NAMESPACE = "/api/v1/namespaces/default"
LIST_SIZES = (1_000, 10_000)
STARTS = 3


@contextmanager
def local_cluster(nodes: int, flags: Sequence[str] = ()) -> Iterator[tuple[Path, float]]:
    """``apilayer up --detach`` in a directory that goes away: the directory, and the seconds until it was ready.

    ``flags`` are the API server's.
    """
    directory = Path(tempfile.mkdtemp(prefix="bench-up-"))
    command = [sys.executable, "-m", "apilayer.cli.main"]
    try:
        started = time.perf_counter()
        subprocess.run(
            [*command, "up", "--detach", "--nodes", str(nodes), "--data-dir", str(directory),
             "--port-base", str(_port_base(4 * nodes)), *(f"--apiserver-arg={flag}" for flag in flags)],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        yield directory, time.perf_counter() - started
    finally:
        subprocess.run([*command, "down", "--data-dir", str(directory)], check=False, stdout=subprocess.DEVNULL)
        shutil.rmtree(directory, ignore_errors=True)


def _port_base(count: int) -> int:
    """A port with ``count`` free ones behind it, as far as one look can tell."""
    return next(port for port in free_ports(8) if port + count < 65_536)


def pod(number: int) -> dict[str, Any]:
    """A pod of about the usual size."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"pod-{number:06d}", "labels": {"app": f"app-{number % 50}", "tier": "web"}},
        "spec": {
            "containers": [
                {
                    "name": "main",
                    "image": "registry.example/team/image:v1.2.3",
                    "ports": [{"containerPort": 8080}],
                    "env": [{"name": f"NAME_{i}", "value": f"value-{i}"} for i in range(5)],
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                }
            ]
        },
    }


def configmap(name: str) -> bytes:
    """A config map with a 256-byte value."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": "v" * 256}}
    return json.dumps(body).encode()


async def measure(kubeconfig: Path, seconds: float) -> dict[str, Figures]:
    """Every figure of requests, by name."""
    url, context = read_kubeconfig(kubeconfig)
    results: dict[str, Figures] = {}
    async with open_http(url, context) as first:
        status, answer = await first.request("POST", f"{NAMESPACE}/configmaps", configmap("bench"))
        if status != 201:
            raise RuntimeError(f"create answered {status}: {answer.decode()}")
    for connections in (1, 16):
        results[f"GET configmap, {connections} connections"] = await _load(
            url, context, connections, seconds, lambda http: lambda _: _get(http, f"{NAMESPACE}/configmaps/bench")
        )
        results[f"create configmap, {connections} connections"] = await _load(
            url,
            context,
            connections,
            seconds,
            lambda http, c=connections: lambda number: _create(http, f"c{c}-{number}"),
        )
    made = 0
    for size in LIST_SIZES:
        await make_pods(url, context, made, size)
        made = size
        for query, label in (("", "consistent"), ("?resourceVersion=0", "from cache")):
            results[f"LIST {size:,} pods, {label}"] = await _load(
                url, context, 1, seconds, lambda http, q=query: lambda _: _get(http, f"{NAMESPACE}/pods{q}")
            )
    return results


async def _load(
    url: str,
    context: ssl.SSLContext,
    connections: int,
    seconds: float,
    make: Callable[[HttpConnection], Callable[[int], Awaitable[object]]],
) -> Figures:
    async with AsyncExitStack() as stack:
        operations = [make(await stack.enter_async_context(open_http(url, context))) for _ in range(connections)]
        return await closed_loop(operations, 1, seconds)


async def _get(http: HttpConnection, path: str) -> None:
    status, _ = await http.request("GET", path)
    if status != 200:
        raise RuntimeError(f"GET {path} answered {status}")


async def _create(http: HttpConnection, name: str) -> None:
    await _post(http, f"{NAMESPACE}/configmaps", configmap(name))


async def _post(http: HttpConnection, path: str, body: bytes) -> None:
    status, _ = await http.request("POST", path, body)
    if status != 201:
        raise RuntimeError(f"POST {path} answered {status}")


async def make_pods(url: str, context: ssl.SSLContext, start: int, end: int, token: str = "") -> None:
    """Creates the pods of these numbers, eight at a time."""
    numbers = iter(range(start, end))

    async def worker() -> None:
        async with open_http(url, context, token) as http:
            for number in numbers:
                await _post(http, f"{NAMESPACE}/pods", json.dumps(pod(number)).encode())

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(worker)


def processes(directory: Path) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-m", "apilayer.cli.main", "status", "-o", "json", "--data-dir", str(directory)],
        check=True, capture_output=True,
    )  # fmt: skip
    status = json.loads(done.stdout)
    found = {member["name"]: member["pid"] for member in status["members"]}
    return found | {f"apiserver {number}": server["pid"] for number, server in enumerate(status["apiservers"], 1)}


def run(seconds: float) -> list[str]:
    """Measure and return the tables' lines (Markdown)."""
    starts: dict[int, list[float]] = {1: [], 3: []}
    for nodes, times in starts.items():
        for _ in range(STARTS):
            with local_cluster(nodes) as (_, ready):
                times.append(ready)
    with local_cluster(3) as (directory, _):
        idle = {name: resident_mib(pid) for name, pid in processes(directory).items()}
        results = trio.run(measure, directory / "kubeconfig", seconds)
        loaded = {name: resident_mib(pid) for name, pid in processes(directory).items()}
    lines = ["| request | per second | p50 ms | p99 ms |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {name} | {f.rate:,.1f} | {f.p50_ms:.2f} | {f.p99_ms:.2f} |" for name, f in results.items()]
    failures = sum(figure.failures for figure in results.values())
    lines += [
        "",
        f"Failed requests: {failures}.",
        "",
        "| process | idle MiB | after the load MiB |",
        "| --- | ---: | ---: |",
    ]
    lines += [f"| {name} | {mib:.0f} | {loaded[name]:.0f} |" for name, mib in idle.items()]
    lines += ["", "| start of the local cluster | median s | worst s |", "| --- | ---: | ---: |"]
    lines += [
        f"| `--nodes {nodes}` | {sorted(times)[len(times) // 2]:.2f} | {max(times):.2f} |"
        for nodes, times in starts.items()
    ]
    return [*lines, "", *starting.run()]
