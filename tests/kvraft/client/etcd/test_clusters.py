"""Three members, of etcd and of kvraft, one of which is killed again and again: no gap, no duplicate, nothing twice."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from kvraft.errors import KvraftError
from kvraft.types import prefix_end
from tests.kvraft.client.etcd.stores import PROGRAMS, connect, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kvraft.client import Client
    from tests.kvraft.processes import Processes

pytestmark = pytest.mark.slow
PREFIX = (b"w/", prefix_end(b"w/"))
KILLS = {"etcd": 2, "kvraft": 1}
"""kvraft is killed often enough elsewhere; here it is about what the protocol says then."""


class Traffic:
    """One writer and one watcher, each with what it knows."""

    def __init__(self) -> None:
        self.acknowledged: dict[bytes, int] = {}
        self.unknown: set[bytes] = set()
        self.seen: list[tuple[int, bytes]] = []
        self.grew = trio.Event()

    async def write(self, client: Client) -> None:
        """New keys, each once, until cancelled."""
        for number in range(1 << 30):
            key = b"w/%06d" % number
            try:
                self.acknowledged[key] = (await client.put(key, b"v")).revision
            except KvraftError as error:
                if not error.definite:
                    self.unknown.add(key)
            self._grow()

    async def watch(self, client: Client) -> None:
        """Everything from the start on, until cancelled."""
        async with client.watch(*PREFIX, start_revision=1) as stream:
            async for batch in stream:
                self.seen += [(event.kv.mod_revision, event.kv.key) for event in batch.events]
                self._grow()

    def _grow(self) -> None:
        self.grew.set()
        self.grew = trio.Event()

    async def until_more(self, count: int) -> None:
        """So many writes more are acknowledged, and seen."""
        written, seen = len(self.acknowledged) + count, len(self.seen) + count
        with trio.fail_after(60):
            while len(self.acknowledged) < written or len(self.seen) < seen:
                await self.grew.wait()


@contextmanager
def cluster(program: str, directory: Path) -> Iterator[Processes]:
    yield from start(program, directory, 3)


@pytest.mark.parametrize("program", PROGRAMS)
async def test_kills_of_the_leader_and_of_the_member_that_is_asked(program: str, tmp_path: Path) -> None:
    traffic = Traffic()
    with cluster(program, tmp_path) as processes:
        async with connect(processes.urls) as writing, connect(processes.urls) as watching:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(traffic.write, writing)
                nursery.start_soon(traffic.watch, watching)
                await traffic.until_more(20)
                for number in range(KILLS[program]):
                    asked = next(name for name, url in processes.client_urls.items() if url == watching.answering)
                    victim = await processes.leader(writing) if number % 2 else asked
                    processes.kill(victim)
                    await traffic.until_more(20)
                    processes.start(victim)
                nursery.cancel_scope.cancel()
            stored = (await writing.range(*PREFIX)).kvs
            seen = await _rest(watching, traffic, stored[-1].mod_revision)
    assert seen == sorted((kv.mod_revision, kv.key) for kv in stored), "the watch has a gap or a duplicate"
    assert all(kv.version == 1 for kv in stored), "a write was done twice"
    found = {kv.key: kv.mod_revision for kv in stored}
    assert found.items() >= traffic.acknowledged.items()
    assert set(found) <= traffic.acknowledged.keys() | traffic.unknown | {max(found)}


async def _rest(client: Client, traffic: Traffic, last: int) -> list[tuple[int, bytes]]:
    """What was seen, and what came after the watch was ended."""
    seen = list(traffic.seen)
    newest = seen[-1][0]
    if newest < last:
        async with client.watch(*PREFIX, start_revision=newest + 1) as stream:
            while newest < last:
                seen += [(event.kv.mod_revision, event.kv.key) for event in (await anext(stream)).events]
                newest = seen[-1][0]
    return seen
