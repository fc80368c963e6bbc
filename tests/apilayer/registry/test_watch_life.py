"""What a watch lives through over three real members: members that crash, compactions, API servers that come and go."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager, suppress
from functools import partial
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


async def follow(informer: Informer, registry: Registry, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
    """Lets the informer, with the copy and the revision that it has, go on at an API server until cancelled."""
    informer.move(registry.of("configmaps"))
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await informer.run_on()


async def crash(members: Members, name: str, meanwhile: Callable[[], Awaitable[None]]) -> None:
    """The member goes at once, and comes back with what it had; the others go on with or without an election."""
    await members.crash(name)
    await meanwhile()
    await members.start(name).ready.wait()


@pytest.mark.slow
async def test_members_compactions_and_servers_that_go_show_no_gap(tmp_path: Path, nursery: trio.Nursery) -> None:
    """One informer stays at one API server; one goes to and fro between two, and to a new one in each round.

    Every member crashes once, so both the leader and whoever the watches came from.
    """
    rnd = random.Random(7)
    with trio.fail_after(60):
        async with (
            open_members(tmp_path, heartbeat_ms=20, election_ms=200) as members,
            serving(members) as (first, store),
            serving(members) as (second, _),
        ):
            staying, moving = (Informer(first.of("configmaps")) for _ in range(2))
            nursery.start_soon(staying.run)
            for name in list(members.running):
                async with serving(members) as (new, _):
                    for registry in (first, second, new, second):
                        scope = await nursery.start(follow, moving, registry)
                        if registry is second:
                            await crash(members, name, partial(write, first, rnd))
                        await write(registry, rnd)
                        scope.cancel()
                        await write(first, rnd)  # nobody tells the one that is on its way
                await insist(partial(compact, store))
            nursery.start_soon(follow, moving, first, trio.TASK_STATUS_IGNORED)
            page = await store.list(b"/registry/configmaps/")
            expected = {record.key.decode(): record.revision for record in page.records}
            for informer in (staying, moving):
                await informer.wait_for(expected)
            assert moving.watches > 9
            nursery.cancel_scope.cancel()
