"""What requests cost the API server's process: CPU of single ones; CPU, time and memory of lists."""

from __future__ import annotations

import json
import secrets
import ssl
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from tests.bench.api import NAMESPACE, local_cluster, make_pods, pod, processes
from tests.bench.bare import bare_server
from tests.bench.http import HttpConnection, open_http, read_kubeconfig

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

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


USER = "bench"
BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": USER},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
}


@attrs.frozen
class Target:
    """A server to ask: as a user with a token, whom roles allow everything."""

    url: str
    context: ssl.SSLContext
    token: str
    pid: int
    store_pids: tuple[int, ...]
    pki: Path


@contextmanager
def served(group: str = "") -> Iterator[Target]:
    """The API server of a local cluster that knows the user, who belongs to a group."""
    token = secrets.token_urlsafe(32)
    with tempfile.NamedTemporaryFile("w") as users:
        users.write(f"{token},{USER},{USER},{group}\n")
        users.flush()
        with local_cluster(3, (f"--token-auth-file={users.name}",)) as (directory, _):
            url, admin = read_kubeconfig(directory / "kubeconfig")
            trio.run(_allow, url, admin)
            pki = directory / "pki"
            context = ssl.create_default_context(cafile=pki / "ca.crt")
            pids = processes(directory)
            server = pids.pop("apiserver 1")
            yield Target(url, context, token, server, tuple(pids.values()), pki)


async def _allow(url: str, admin: ssl.SSLContext) -> None:
    async with open_http(url, admin) as http:
        path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
        status, answer = await http.request("POST", path, json.dumps(BINDING).encode())
        if status != 201:
            raise RuntimeError(f"the binding was answered {status}: {answer.decode()}")


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
    lines = [
        "| request for a pod, one after the other | CPU us | times the bare server's | p50 ms |",
        "| --- | ---: | ---: | ---: |",
    ]
    async with open_http(target.url, target.context, target.token) as http:
        await http.request("POST", f"{NAMESPACE}/pods", json.dumps(pod(999_999)).encode())
        _, answer = await http.request("GET", f"{NAMESPACE}/pods/pod-999999")
        bare = await _bare(target, answer, seconds)
        lines.append(f"| the bare server's answer of the same size | {bare:,.0f} | 1.00 | |")
        numbers = iter(range(1 << 62))
        for name, operation in _operations(http, json.loads(answer)).items():
            used, median = await _measured(name, operation, numbers, target.pid, seconds)
            lines.append(f"| {name} | {used:,.0f} | {used / bare:.2f} | {median:.2f} |")
    return lines


async def _bare(target: Target, answer: bytes, seconds: float) -> float:
    """The CPU, in microseconds, of a request to a server that does nothing else than the protocols."""
    with bare_server(target.pki / "apiserver.crt", target.pki / "apiserver.key", answer) as (url, pid):
        async with open_http(url, target.context, target.token) as http:
            operation = _operations(http, json.loads(answer))["GET"]
            used, _ = await _measured("the bare server", operation, iter(range(1 << 62)), pid, seconds)
    return used


async def _measured(
    name: str, operation: Callable[[int], Awaitable[int]], numbers: Iterator[int], pid: int, seconds: float
) -> tuple[float, float]:
    """What each takes of the process's CPU, in microseconds, and of time in the middle of them all, in milliseconds."""
    for _ in range(20):
        await operation(next(numbers))
    latencies = []
    before, end = cpu_seconds(pid), time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        status = await operation(next(numbers))
        if status not in (200, 201):
            raise RuntimeError(f"{name} answered {status}")
        latencies.append(time.perf_counter() - started)
    used = (cpu_seconds(pid) - before) / len(latencies) * 1e6
    return used, sorted(latencies)[len(latencies) // 2] * 1000


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
        return [*trio.run(_single, target, seconds), "", *trio.run(_lists, target, seconds)]
