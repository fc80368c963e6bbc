"""Compaction: one turn at a time, several servers over one store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from apilayer.storage.compactor import compact_once, run_compactor
from apilayer.storage.interface import RevisionCompacted

if TYPE_CHECKING:
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
