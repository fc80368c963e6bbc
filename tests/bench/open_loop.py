"""Requests of a greedy user that arrive at a rate, whether or not the former were answered; in a process of its own."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from tests.bench.api import NAMESPACE, configmap
from tests.bench.bad_clients import AGAIN_SECONDS, READY
from tests.bench.fairness import GREEDY
from tests.bench.http import HttpConnection, open_http, read_kubeconfig
from tests.bench.load import closed_loop

if TYPE_CHECKING:
    import ssl

MAX_OUTSTANDING = 500
"""More than the server lets one user wait: it has to refuse some. Arrivals beyond that are told of as held back."""
SATURATING = 32
"""Connections that keep the server busy without end."""
WRITTEN = 100
"""Objects that the writes go to: what is stored does not grow."""
TICK_SECONDS = 0.005
OPENING = 20
"""So many connections are being opened at once."""
COLLECTION = f"{NAMESPACE}/configmaps"


async def one(http: HttpConnection, number: int) -> int:
    """Two of three read a list from which nothing is selected; one writes. The status."""
    if number % 3:
        status, _ = await http.request("GET", f"{COLLECTION}?labelSelector=none%3Dsuch")
    else:
        name = f"l-{number // 3 % WRITTEN:03d}"
        status, _ = await http.request("PUT", f"{COLLECTION}/{name}", configmap(name))
    return status


async def prepare(url: str, context: ssl.SSLContext) -> None:
    """What the writes go to."""
    async with open_http(url, context, GREEDY) as http:
        for number in range(WRITTEN):
            status, answer = await http.request("POST", COLLECTION, configmap(f"l-{number:03d}"))
            if status != 201:
                raise RuntimeError(f"create answered {status}: {answer.decode()}")


async def saturate(url: str, context: ssl.SSLContext, seconds: float) -> float:
    """Requests a second that the server serves at most, as far as this generator can ask."""

    async def ask(http: HttpConnection, number: int) -> None:
        status = await one(http, number)
        if status != 200:
            raise RuntimeError(f"answered {status}")

    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(open_http(url, context, GREEDY)) for _ in range(SATURATING)]
        figures = await closed_loop([partial(ask, http) for http in opened], 1, seconds)
    return figures.rate


class OpenLoop:
    """Arrivals, each on one of `most` connections that is free."""

    def __init__(self, url: str, context: ssl.SSLContext, most: int) -> None:
        self._url, self._context, self._most = url, context, most
        self._give, self._take = trio.open_memory_channel[int](0)
        self._opening = trio.CapacityLimiter(OPENING)
        self.ended: Counter[str] = Counter()

    async def run(self, rate: float, seconds: float) -> None:
        """So many arrivals a second, for so long, once the connections are there."""
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as starting:
                for _ in range(self._most):
                    starting.start_soon(nursery.start, self._work)
            print(READY.decode(), end="", flush=True)
            arrived, start = 0, trio.current_time()
            while (passed := trio.current_time() - start) < seconds:
                while arrived < passed * rate:
                    arrived += 1
                    self._arrive(arrived)
                await trio.sleep(TICK_SECONDS)
            nursery.cancel_scope.cancel()
        self.ended["offered"] = arrived

    def _arrive(self, number: int) -> None:
        try:
            self._give.send_nowait(number)
        except trio.WouldBlock:
            self.ended["held back"] += 1

    async def _work(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """One connection, opened again when it breaks."""
        told = False
        while True:
            try:
                async with AsyncExitStack() as stack:
                    async with self._opening:
                        http = await stack.enter_async_context(open_http(self._url, self._context, GREEDY))
                    if not told:
                        task_status.started()
                        told = True
                    while True:
                        await self._answer(http, await self._take.receive())
            except Exception:
                self.ended["broken"] += 1
                await trio.sleep(AGAIN_SECONDS)

    async def _answer(self, http: HttpConnection, number: int) -> None:
        status = await one(http, number)
        self.ended["served" if status == 200 else "refused" if status == 429 else str(status)] += 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kubeconfig", type=Path)
    parser.add_argument("rate", type=float)
    parser.add_argument("seconds", type=float)
    parser.add_argument("most", type=int)
    given = parser.parse_args()
    loop = OpenLoop(*read_kubeconfig(given.kubeconfig, anonymous=True), given.most)
    trio.run(loop.run, given.rate, given.seconds)
    print(json.dumps(loop.ended))
