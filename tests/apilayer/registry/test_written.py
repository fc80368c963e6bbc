"""Writes that follow each other before the cache has heard of the first start from what was written, not from old."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import trio

from apilayer.api.status import StatusError
from apilayer.registry import store as stores
from apilayer.registry.options import WriteOptions
from apilayer.registry.registry import Registry
from tests.apilayer.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from apilayer.storage.interface import Record

PLAIN = WriteOptions()
KEY = b"/registry/configmaps/default/c"


class Counting(MemoryStore):
    """Counts reads of single keys."""

    reads = 0

    async def get(self, key: bytes) -> tuple[Record | None, int]:
        self.reads += 1
        return await super().get(key)


@asynccontextmanager
async def deaf(store: MemoryStore) -> AsyncIterator[Registry]:
    """A registry whose cache hears of nothing once it is loaded."""
    registry = Registry(store)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(registry.cache.run)
        await registry.cache.loaded.wait()
        registry.cache._take = lambda batch: None  # type: ignore[method-assign]
        yield registry
        nursery.cancel_scope.cancel()


def labelled(name: str) -> Any:
    def apply(old: dict[str, Any]) -> dict[str, Any]:
        labels = old["metadata"].get("labels") or {}
        return {**old, "metadata": {**old["metadata"], "labels": {**labels, name: "1"}}}

    return apply


async def test_nothing_is_read_for_what_was_just_written() -> None:
    store = Counting()
    async with deaf(store) as registry:
        api = registry.of("configmaps")
        await api.store.create("default", {"metadata": {"name": "c"}}, PLAIN)
        for name in "abc":
            entry = await api.store.patch("default", "c", labelled(name), PLAIN)
        assert entry.object()["metadata"]["labels"] == {"a": "1", "b": "1", "c": "1"}
        assert store.reads == 0


async def test_what_another_wrote_meanwhile_is_kept() -> None:
    store = Counting()
    async with deaf(store) as registry:
        api = registry.of("configmaps")
        entry = await api.store.create("default", {"metadata": {"name": "c"}}, PLAIN)
        theirs = orjson.loads(store._latest[KEY].value)
        theirs["data"] = {"theirs": "1"}
        await store.update(KEY, orjson.dumps(theirs), entry.revision)
        kept = (await api.store.patch("default", "c", labelled("a"), PLAIN)).object()
        assert kept["data"] == {"theirs": "1"}
        assert kept["metadata"]["labels"] == {"a": "1"}
        await store.delete(KEY, store._latest[KEY].revision)
        with pytest.raises(StatusError) as caught:
            await api.store.patch("default", "c", labelled("b"), PLAIN)
        assert caught.value.code == 404


async def test_only_so_much_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "MAX_WRITTEN", 2)
    async with deaf(MemoryStore()) as registry:
        api = registry.of("configmaps")
        for number in range(4):
            await api.store.create("default", {"metadata": {"name": f"c{number}"}}, PLAIN)
        assert len(api.store._written) == 2
