"""What requests cost the API server's process: CPU of single ones; CPU, time and memory of lists."""

from __future__ import annotations

import json
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from tests.bench.api import NAMESPACE, local_cluster, make_pods, pod, processes
from tests.bench.http import HttpConnection, open_http, read_kubeconfig

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PODS = 10_000
LISTS = {
    "all, consistent": "",
    "all, from cache": "?resourceVersion=0",
    "a page, `limit=500`": "?limit=500",
    "a label selector that matches 2%": "?labelSelector=app=app-7",
}


def cpu_seconds(pid: int) -> float:
    """What a process has used, in all its threads, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def peak_mib(pid: int, *, reset: bool = False) -> float:
    """The most memory that the process has had since it was last reset."""
    if reset:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


@attrs.frozen
class Target:
    """A server to ask: as a user with a token, whom roles allow everything."""

    url: str
    context: ssl.SSLContext
    token: str
    pid: int

    @classmethod
    def of(cls, directory: Path) -> Target:
        """The API server of the local cluster in the directory."""
        url, _ = read_kubeconfig(directory / "kubeconfig")
        context = ssl.create_default_context(cafile=directory / "pki" / "ca.crt")
        token = (directory / "tokens.csv").read_text().partition(",")[0]
        return cls(url, context, token, processes(directory)["apiserver 1"])


def _operations(http: HttpConnection, stored: dict[str, Any]) -> dict[str, Callable[[int], Awaitable[int]]]:
    """Each asks for one thing, given a running number, and answers the status."""
    path = f"{NAMESPACE}/pods/{stored['metadata']['name']}"

    async def ask(method: str, at: str, body: Any = None, media: str = "application/json") -> int:
        status, _ = await http.request(method, at, b"" if body is None else json.dumps(body).encode(), media)
        return status

    def labelled(number: int) -> dict[str, Any]:
        metadata = {**stored["metadata"], "labels": {"app": "x", "number": str(number)}}
        metadata.pop("resourceVersion")
        return {**stored, "metadata": metadata}

    return {
        "GET": lambda _: ask("GET", path),
        "GET from cache": lambda _: ask("GET", f"{path}?resourceVersion=0"),
        "create": lambda number: ask("POST", f"{NAMESPACE}/pods", pod(1_000_000 + number)),
        "update": lambda number: ask("PUT", path, labelled(number)),
        "patch": lambda number: ask(
            "PATCH", path, {"metadata": {"labels": {"number": str(number)}}}, "application/merge-patch+json"
        ),
    }


async def _single(target: Target, seconds: float) -> list[str]:
    lines = ["| request for a pod, one after the other | CPU us | p50 ms |", "| --- | ---: | ---: |"]
    async with open_http(target.url, target.context, target.token) as http:
        await http.request("POST", f"{NAMESPACE}/pods", json.dumps(pod(999_999)).encode())
        _, answer = await http.request("GET", f"{NAMESPACE}/pods/pod-999999")
        numbers = iter(range(1 << 62))
        for name, operation in _operations(http, json.loads(answer)).items():
            for _ in range(20):
                await operation(next(numbers))
            latencies = []
            before, end = cpu_seconds(target.pid), time.perf_counter() + seconds
            while (started := time.perf_counter()) < end:
                status = await operation(next(numbers))
                if status not in (200, 201):
                    raise RuntimeError(f"{name} answered {status}")
                latencies.append(time.perf_counter() - started)
            used = (cpu_seconds(target.pid) - before) / len(latencies) * 1e6
            lines.append(f"| {name} | {used:,.0f} | {sorted(latencies)[len(latencies) // 2] * 1000:.2f} |")
    return lines


async def _lists(target: Target, seconds: float) -> list[str]:
    lines = [
        f"| LIST of {PODS:,} pods | CPU ms | p50 ms | first byte, p50 ms | MiB above idle |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    await make_pods(target.url, target.context, 0, PODS, target.token)
    async with open_http(target.url, target.context, target.token) as http:
        for name, query in LISTS.items():
            await http.request("GET", f"{NAMESPACE}/pods{query}")
            idle = peak_mib(target.pid, reset=True)
            took: list[tuple[float, float]] = []
            before, end = cpu_seconds(target.pid), time.perf_counter() + seconds
            while (started := time.perf_counter()) < end:
                status, _ = await http.request("GET", f"{NAMESPACE}/pods{query}")
                if status != 200:
                    raise RuntimeError(f"LIST {query} answered {status}")
                took.append((time.perf_counter() - started, http.first_byte_at - started))
            used = (cpu_seconds(target.pid) - before) / len(took) * 1000
            whole, first = (sorted(times)[len(took) // 2] * 1000 for times in zip(*took, strict=True))
            above = peak_mib(target.pid) - idle
            lines.append(f"| {name} | {used:.1f} | {whole:.1f} | {first:.1f} | {above:.0f} |")
    return lines


def run(seconds: float) -> list[str]:
    """Measure and return the tables' lines (Markdown)."""
    with local_cluster(3) as (directory, _):
        target = Target.of(directory)
        return [*trio.run(_single, target, seconds), "", *trio.run(_lists, target, seconds)]
