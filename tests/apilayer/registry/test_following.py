"""Who lists and watches, as informers do, sees everything once and in order, whatever happens to the store's watch."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio

from apilayer.api.status import StatusError
from apilayer.registry.bootstrap import bootstrap
from apilayer.registry.options import DeleteOptions, ListOptions, WriteOptions
from apilayer.registry.registry import Registry
from apilayer.storage import watch_cache
from apilayer.storage.interface import RevisionCompacted, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from apilayer.registry.registry import ResourceApi
    from apilayer.storage.interface import ChangeBatch, ChangeStream
    from apilayer.storage.kvraft_backend import KvraftStore

PLAIN = WriteOptions()


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


class Informer:
    """Keeps a copy of a resource as client-go's reflector does, and holds every event against it."""

    def __init__(self, api: ResourceApi) -> None:
        self._api = api
        self.copy: dict[str, int] = {}
        self.revision = 0
        self.watches = 0
        self.changed = trio.Event()

    async def run(self) -> None:
        while True:
            try:
                await self._list()
                while await self._watch():
                    pass
            except StatusError as error:
                assert error.code in (503, 504), error  # the cache is being loaded
            await trio.lowlevel.checkpoint()

    async def _list(self) -> None:
        listing = await self._api.lists.list("", ListOptions(resource_version=str(self.revision)))
        assert listing.revision >= self.revision, "a list never goes back"
        self.revision = listing.revision
        self.copy = {entry.key.decode(): entry.revision for entry in listing.entries}
        self.changed.set()

    async def _watch(self) -> bool:
        """Follows until the watch ends; False when the revision is too old."""
        self.watches += 1
        options = ListOptions(watch=True, resource_version=str(self.revision), allow_bookmarks=True)
        watch = await self._api.watches.open("", "", options)
        try:
            if watch.failure is not None:
                assert watch.failure.code == 410
                return False
            while (batch := await watch.next_batch()) is not None:
                for event_type, event in batch:
                    self._take(event_type, event.key.decode(), event.shown(event_type).revision)
            return True
        finally:
            watch.close()

    def _take(self, event_type: str, key: str, revision: int) -> None:
        assert revision > self.revision, f"{event_type} {key} at {revision} comes after {self.revision}"
        assert (event_type == "ADDED") == (key not in self.copy), f"a gap or a duplicate: {event_type} {key}"
        self.revision = revision
        if event_type == "DELETED":
            del self.copy[key]
        else:
            self.copy[key] = revision
        self.changed.set()

    async def wait_for(self, expected: dict[str, int]) -> None:
        """Returns once the copy is this."""
        while self.copy != expected:
            self.changed = trio.Event()
            await self.changed.wait()


async def change(registry: Registry, rnd: random.Random) -> None:
    """One random write."""
    api = registry.of("configmaps")
    name = f"c{rnd.randrange(6)}"
    try:
        if rnd.random() < 0.4:
            await api.store.delete("default", name, DeleteOptions())
        elif rnd.random() < 0.5:
            await registry.create(api, "default", {"metadata": {"name": name}}, PLAIN)
        else:
            data = {"k": str(rnd.random())}
            await api.store.patch("default", name, lambda old: {**old, "data": data}, PLAIN)
    except StatusError as error:
        assert error.code in (404, 409), error


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
