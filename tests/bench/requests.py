"""What requests cost the API server's process: CPU of single ones; CPU, time and memory of lists."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from tests.bench.api import NAMESPACE, make_pods
from tests.bench.http import open_http
from tests.bench.single import single_requests
from tests.bench.target import cpu_seconds, served

if TYPE_CHECKING:
    from tests.bench.target import Target

PODS = 10_000
LISTS = {
    "all, consistent": "",
    "all, from cache": "?resourceVersion=0",
    "a page, `limit=500`": "?limit=500",
    "a label selector that matches 2%": "?labelSelector=app=app-7",
}


def peak_mib(pid: int, *, reset: bool = False) -> float:
    """The most memory that the process has had since it was last reset."""
    if reset:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


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
    with served() as target:
        return [*trio.run(single_requests, target, seconds), "", *trio.run(_lists, target, seconds)]
