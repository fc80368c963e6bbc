"""What a watch lives through over three real members: leaders that crash, compactions, API servers that come and go."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio

from apilayer.registry.bootstrap import bootstrap
from apilayer.registry.registry import Registry
from apilayer.storage.interface import RevisionCompacted, StoreError
from apilayer.storage.kvraft_backend import KvraftStore
from kvraft.client import open_client
from tests.apilayer.informer import Informer, change
from tests.kvraft.members import open_members

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.kvraft.members import Members

WRITES_BETWEEN = 8


@asynccontextmanager
async def serving(members: Members) -> AsyncIterator[tuple[Registry, KvraftStore]]:
    """An API server's registry with a client of its own."""
    async with open_client(members.urls, timeout_seconds=10) as client, trio.open_nursery() as nursery:
        store = KvraftStore(client)
        registry = Registry(store)
        nursery.start_soon(registry.cache.run)
        await registry.cache.loaded.wait()
        await bootstrap(registry)
        yield registry, store
        nursery.cancel_scope.cancel()


async def insist(operation: Callable[[], Awaitable[None]]) -> None:
    """Until the store has a leader that does it; what is unknown may be done twice."""
    while True:
        try:
            return await operation()
        except StoreError:
            await trio.sleep(0.01)


async def write(registry: Registry, rnd: random.Random) -> None:
    for _ in range(WRITES_BETWEEN):
        await insist(lambda: change(registry, rnd))


async def compact(store: KvraftStore) -> None:
    with suppress(RevisionCompacted):
        await store.compact(await store.current_revision())


async def crash_the_leader(members: Members) -> None:
    """It comes back as a follower, with what it had."""
    name = await members.leader()
    await members.crash(name)
    await members.leader()
    members.start(name)


async def follow(informer: Informer, registry: Registry, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
    """Lets the informer, with the copy and the revision that it has, go on at an API server until cancelled."""
    informer.move(registry.of("configmaps"))
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await informer.run_on()


@pytest.mark.slow
async def test_leaders_compactions_and_servers_that_go_show_no_gap(tmp_path: Path, nursery: trio.Nursery) -> None:
    """Two informers stay at one API server, a third moves from one to the next with each round."""
    rnd = random.Random(7)
    with trio.fail_after(60):
        async with (
            open_members(tmp_path, heartbeat_ms=20, election_ms=200) as members,
            serving(members) as (first, store),
        ):
            staying = [Informer(first.of("configmaps")) for _ in range(2)]
            moving = Informer(first.of("configmaps"))
            for informer in staying:
                nursery.start_soon(informer.run)
            leaders = []
            for _ in range(3):
                async with serving(members) as (second, _):
                    scope = await nursery.start(follow, moving, second)
                    await write(first, rnd)
                    leaders.append(await members.leader())
                    await crash_the_leader(members)
                    await write(second, rnd)
                    await insist(lambda: compact(store))
                    await write(first, rnd)
                    scope.cancel()
            nursery.start_soon(follow, moving, first, trio.TASK_STATUS_IGNORED)
            page = await store.list(b"/registry/configmaps/")
            expected = {record.key.decode(): record.revision for record in page.records}
            for informer in (*staying, moving):
                await informer.wait_for(expected)
            assert moving.watches > 3
            assert all(before != after for before, after in pairwise(leaders))
            nursery.cancel_scope.cancel()
