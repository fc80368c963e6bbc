"""What a store is asked is timed and counted, whatever comes of it."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from apilayer.storage.interface import FutureRevision, KeyExists
from apilayer.storage.measured import MeasuredStore
from tests.apilayer.memory_store import MemoryStore

KEY = b"/registry/configmaps/default/a"
PREFIX = b"/registry/configmaps/"


async def test_answers_and_errors() -> None:
    store = MeasuredStore(MemoryStore())
    revision = await store.create(KEY, b"1")
    with pytest.raises(KeyExists):
        await store.create(KEY, b"2")
    with pytest.raises(FutureRevision):
        await store.list(PREFIX, revision=revision + 100)
    record, _ = await store.get(KEY)
    assert record is not None
    assert await store.delete(KEY, await store.update(KEY, b"3", record.revision)) == await store.current_revision()
    told: list[int] = []
    assert store.confirm(told.append)
    await trio.testing.wait_all_tasks_blocked()
    assert told == [await store.current_revision()]
    numbers = {label: timing[0] for label, timing in store.timings.items()}
    assert numbers == {
        ("create", PREFIX): 2,
        ("list", PREFIX): 1,
        ("get", PREFIX): 1,
        ("update", PREFIX): 1,
        ("delete", PREFIX): 1,
        ("getCurrentResourceRevision", b""): 3,
    }
    assert all(sum(timing[2:]) == timing[0] for timing in store.timings.values())
    assert store.errors == {("list", PREFIX): 1}, "that a key is taken is an answer"
