"""Single requests: what each costs, as a multiple of what the bare server needs in the same moment.

A machine that others use is faster now and slower then, so the two take turns, and the middle one of the turns counts.
"""

from __future__ import annotations

import json
import time
from contextlib import AsyncExitStack
from itertools import count
from statistics import median
from typing import TYPE_CHECKING, Any

import attrs
import trio

from tests.bench.api import NAMESPACE, pod
from tests.bench.bare import bare_server
from tests.bench.http import open_http
from tests.bench.instructions import counted
from tests.bench.target import cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from tests.bench.http import HttpConnection
    from tests.bench.target import Target

    Operation = Callable[[int], Awaitable[int]]

TURNS = 5
CLIENTS = 8
WARM_UP = 20
POD = "pod-999999"
BARE = "the bare server's answer of the same size"


def _operations(http: HttpConnection, stored: dict[str, Any]) -> dict[str, Operation]:
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


@attrs.frozen
class Asked:
    """One kind of request, from some clients at once, and what its turns have come to."""

    name: str
    clients: Sequence[Operation]
    pid: int
    bare: Asked | None = None
    """What it is compared with."""
    cpu_us: list[float] = attrs.Factory(list)
    instructions: list[float] = attrs.Factory(list)
    latencies_ms: list[float] = attrs.Factory(list)

    async def turn(self, numbers: Iterator[int], seconds: float) -> None:
        """Asks for so long, and notes what each request took of the process."""
        answered = 0

        async def ask(operation: Operation) -> None:
            nonlocal answered
            while (started := time.perf_counter()) < end:
                status = await operation(next(numbers))
                if status not in (200, 201):
                    raise RuntimeError(f"{self.name} answered {status}")
                self.latencies_ms.append((time.perf_counter() - started) * 1000)
                answered += 1

        with counted(self.pid) as instructions:
            before, end = cpu_seconds(self.pid), time.perf_counter() + seconds
            async with trio.open_nursery() as nursery:
                for operation in self.clients:
                    nursery.start_soon(ask, operation)
            used = cpu_seconds(self.pid) - before
        self.cpu_us.append(used / answered * 1e6)
        if instructions:
            self.instructions.append(instructions[0] / answered)

    def row(self) -> str:
        """Of the table."""
        times = [
            _ratio(getattr(self, figure), getattr(self.bare or self, figure)) for figure in ("cpu_us", "instructions")
        ]
        cells = (
            self.name,
            str(len(self.clients)),
            f"{median(self.cpu_us):,.0f}",
            *times,
            f"{median(self.latencies_ms):.2f}",
        )
        return f"| {' | '.join(cells)} |"


def _ratio(mine: Sequence[float], bare: Sequence[float]) -> str:
    """The middle one of the turns, "-" where nothing was counted."""
    return f"{median(map(float.__truediv__, mine, bare)):.2f}" if mine else "-"


async def single_requests(target: Target, seconds: float) -> list[str]:
    """The table's lines (Markdown); everything is measured for so long in all its turns together."""
    async with AsyncExitStack() as stack:
        alone = await stack.enter_async_context(open_http(target.url, target.context, target.token))
        await alone.request("POST", f"{NAMESPACE}/pods", json.dumps(pod(999_999)).encode())
        _, answer = await alone.request("GET", f"{NAMESPACE}/pods/{POD}")
        certificate, key = target.pki / "apiserver.crt", target.pki / "apiserver.key"
        url, pid = stack.enter_context(bare_server(certificate, key, answer))

        async def clients(at: str) -> list[dict[str, Operation]]:
            opened = [
                await stack.enter_async_context(open_http(at, target.context, target.token)) for _ in range(CLIENTS)
            ]
            return [_operations(http, json.loads(answer)) for http in opened]

        ours, theirs = await clients(target.url), await clients(url)
        kinds: list[Asked] = []
        for number, names in ((1, tuple(ours[0])), (CLIENTS, ("GET", "GET from cache"))):
            bare = Asked(BARE, [client["GET"] for client in theirs[:number]], pid)
            kinds += (
                bare,
                *(Asked(name, [client[name] for client in ours[:number]], target.pid, bare) for name in names),
            )
        numbers = count()
        for kind in kinds:
            for _ in range(WARM_UP):
                await kind.clients[0](next(numbers))
        for _ in range(TURNS):
            for kind in kinds:
                await kind.turn(numbers, seconds / TURNS)
    head = "| request for a pod | clients | CPU us | times the bare server's | its instructions, times | p50 ms |"
    return [head, "| --- | ---: | ---: | ---: | ---: | ---: |", *(kind.row() for kind in kinds)]
