"""Compaction: one turn at a time, several servers over one store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from apilayer.storage.compactor import compact_once, run_compactor
from apilayer.storage.interface import RevisionCompacted, StoreUnavailable
from tests.apilayer.memory_store import MemoryStore

if TYPE_CHECKING:
    from trio.testing import MockClock

    from apilayer.storage.interface import Record
    from apilayer.storage.kvraft_backend import KvraftStore


async def test_history_of_the_interval_before_goes(store: KvraftStore) -> None:
    old = await store.create(b"a", b"1")
    seen, target = await compact_once(store, None, 0)
    assert (seen, target) == (None, old)
    recent = await store.update(b"a", b"2", old)
    seen, target = await compact_once(store, seen, target)
    assert target > recent
    with pytest.raises(RevisionCompacted):
        await store.list(b"a", revision=old - 1)
    assert (await store.list(b"a", revision=recent)).records[0].value == b"2"


async def test_the_server_that_was_slower_waits_for_its_next_turn(store: KvraftStore) -> None:
    await store.create(b"a", b"1")
    mine = await compact_once(store, None, 0)
    theirs = await compact_once(store, None, 0)
    theirs = await compact_once(store, *theirs)
    mine = await compact_once(store, *mine)
    assert mine[0] is not None
    assert mine[0] == theirs[0]
    moved = await compact_once(store, *mine)
    assert moved[0] is not None
    assert moved[0].revision > mine[0].revision


async def test_interval_zero_never_compacts(store: KvraftStore) -> None:
    await run_compactor(store, 0)


class Ailing(MemoryStore):
    """Out of reach when it is told to be; knows when it was compacted."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.compactions: list[float] = []

    async def get(self, key: bytes) -> tuple[Record | None, int]:
        if self.away:
            raise StoreUnavailable("no leader")
        return await super().get(key)

    async def compact(self, revision: int) -> None:
        self.compactions.append(trio.current_time())
        await super().compact(revision)


async def test_after_an_outage_an_interval_passes_before_history_goes(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Other servers may have lost the store as well: they go on watching at the revision where they were."""
    store = Ailing()
    await store.create(b"a", b"1")
    start = trio.current_time()
    nursery.start_soon(run_compactor, store, 10)
    await trio.sleep(25)
    assert store.compactions == [start + 20]
    store.away = True
    await trio.sleep(10)
    store.away = False
    await trio.sleep(24)
    assert store.compactions == [start + 20, start + 50]
    nursery.cancel_scope.cancel()
