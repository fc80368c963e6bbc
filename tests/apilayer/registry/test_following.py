"""Who lists and watches, as informers do, sees everything once and in order, whatever happens to the store's watch."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio

from apilayer.registry.bootstrap import bootstrap
from apilayer.registry.registry import Registry
from apilayer.storage import watch_cache
from apilayer.storage.interface import RevisionCompacted, StoreUnavailable
from tests.apilayer.informer import Informer, change

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from apilayer.storage.interface import ChangeBatch, ChangeStream
    from apilayer.storage.kvraft_backend import KvraftStore


class BreakingStore:
    """A real store whose watch can be cut off, as by a leader that goes or by a compaction."""

    def __init__(self, store: KvraftStore) -> None:
        self._store = store
        self._cut = trio.Event()
        self._reason: Exception = StoreUnavailable("cut")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def cut(self, reason: Exception) -> None:
        """Ends the open watch with this error."""
        self._reason = reason
        self._cut.set()
        self._cut = trio.Event()

    @asynccontextmanager
    async def watch(self, prefix: bytes, from_revision: int) -> AsyncIterator[BreakingStream]:
        async with self._store.watch(prefix, from_revision) as stream:
            yield BreakingStream(self, stream, self._cut)


class BreakingStream:
    """The stream of a `BreakingStore`."""

    def __init__(self, store: BreakingStore, stream: ChangeStream, cut: trio.Event) -> None:
        self._store = store
        self._stream = stream
        self._cut = cut
        self._iterator = stream.__aiter__()

    def __aiter__(self) -> BreakingStream:
        return self

    async def __anext__(self) -> ChangeBatch:
        found: list[ChangeBatch] = []

        async def take(scope: trio.CancelScope) -> None:
            found.append(await anext(self._iterator))
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, nursery.cancel_scope)
            await self._cut.wait()
            nursery.cancel_scope.cancel()
        if not found:
            raise self._store._reason
        return found[0]

    async def request_progress(self) -> None:
        await self._stream.request_progress()


@pytest.mark.parametrize("seed", range(4))
async def test_cuts_and_compactions_show_no_gap_and_no_duplicate(
    store: KvraftStore, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(watch_cache, "FIRST_BACKOFF_SECONDS", 0.001)
    rnd = random.Random(seed)
    breaking = BreakingStore(store)
    registry = Registry(breaking)
    nursery.start_soon(registry.cache.run)
    await registry.cache.loaded.wait()
    await bootstrap(registry)
    informers = [Informer(registry.of("configmaps")) for _ in range(3)]
    for informer in informers:
        nursery.start_soon(informer.run)
    with trio.fail_after(30):
        for _ in range(60):
            await change(registry, rnd)
            if rnd.random() < 0.1:
                with suppress(RevisionCompacted):
                    await store.compact(await store.current_revision())
            if rnd.random() < 0.1:
                breaking.cut(rnd.choice([StoreUnavailable("leader lost"), RevisionCompacted("compacted")]))
        page = await store.list(b"/registry/configmaps/")
        expected = {record.key.decode(): record.revision for record in page.records}
        for informer in informers:
            await informer.wait_for(expected)
    assert all(informer.watches > 1 for informer in informers), "nothing was cut off: the test shows nothing"
    nursery.cancel_scope.cancel()
