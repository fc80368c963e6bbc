"""The watch cache: every served resource's objects and recent events, fed by one watch over the whole store.

One stream feeds all resources, so that all of them are at the same revision, and one progress request brings a
quiet resource up to date. Reads wait here for a revision; nothing here knows requests or users.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from apilayer.storage.alarms import Alarms
from apilayer.storage.deliveries import Deliveries
from apilayer.storage.freshness import Freshness
from apilayer.storage.interface import RevisionCompacted, StoreError
from apilayer.storage.prefix import ROOT
from apilayer.storage.resource_cache import ResourceCache

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apilayer.api.resources import Resource
    from apilayer.storage.interface import ChangeBatch, ChangeStream, Record, Store
    from apilayer.storage.watcher import Watcher

LOAD_PAGE_RECORDS = 500
PROGRESS_RETRY_SECONDS = 0.02
FIRST_BACKOFF_SECONDS = 0.05
MAX_BACKOFF_SECONDS = 2.0

log = logging.getLogger("apilayer.storage.watch_cache")


class WatchCache:
    """The caches of all resources at one common revision. `run` must be running for reads to be answered."""

    def __init__(self, store: Store, resources: Iterable[Resource]) -> None:
        self.revision = 0
        """Everything up to this revision has been taken in; 0 until loaded."""
        self.loaded = trio.Event()
        self._store = store
        self._caches = {resource.group_resource: ResourceCache(resource) for resource in resources}
        self._by_prefix = {cache.prefix: cache for cache in self._caches.values()}
        self.alarms = Alarms()
        self.deliveries = Deliveries()
        self.freshness = Freshness(store, self)
        self._advanced = trio.Event()
        self._stream: ChangeStream | None = None
        self._serving = False

    def of(self, resource: Resource) -> ResourceCache:
        """The cache of one resource."""
        return self._caches[resource.group_resource]

    @property
    def synced(self) -> bool:
        """Whether the cache is loaded and follows the store."""
        return self._serving

    def watchers(self) -> list[Watcher]:
        """Every open watcher; `Watcher.close` ends one cleanly."""
        return [watcher for cache in self._caches.values() for watcher in cache.watchers()]

    def statistics(self) -> dict[str, int]:
        """Objects per resource, for metrics and status pages."""
        return {name: len(cache) for name, cache in self._caches.items()}

    # ------------------------------------------------------------------ following the store

    async def run(self) -> None:
        """Loads, then follows the store until cancelled; a store out of reach is asked again."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.alarms.run)
            nursery.start_soon(self.deliveries.run)
            await self._follow_for_ever()

    async def _follow_for_ever(self) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            before = self.revision
            try:
                await self._load_and_follow()
                log.warning("the watch on the store ended; loading anew")
            except RevisionCompacted:
                log.warning("the watch cache fell behind a compaction; loading anew")
            except StoreError as error:
                log.warning("the watch cache cannot reach the store: %s", error)
            finally:
                self._serving = False
                self._stream = None
            if self.revision > before:
                backoff = FIRST_BACKOFF_SECONDS
            await trio.sleep(backoff)
            backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)

    async def _load_and_follow(self) -> None:
        revision = await self._load()
        async with self._store.watch(ROOT, revision + 1) as stream:
            self._stream = stream
            self._serving = True
            self._set_revision(revision)
            self.loaded.set()
            async for batch in stream:
                self._take(batch)

    async def _load(self) -> int:
        """Reads every object of every resource at one revision."""
        page = await self._store.list(ROOT, limit=LOAD_PAGE_RECORDS)
        revision = page.revision
        records: dict[bytes, list[Record]] = {prefix: [] for prefix in self._by_prefix}
        while True:
            for record in page.records:
                owner = self._owner(record.key)
                if owner is not None:
                    records[owner.prefix].append(record)
            if not page.remaining:
                break
            start = page.records[-1].key + b"\0"
            page = await self._store.list(ROOT, start=start, limit=LOAD_PAGE_RECORDS, revision=revision)
        for prefix, cache in self._by_prefix.items():
            cache.load(records[prefix], revision)
            for reason in cache.corrupt.values():
                log.error("a stored object cannot be read: %s", reason)
        return revision

    def _owner(self, key: bytes) -> ResourceCache | None:
        """The cache that a key belongs to: most resources have one path segment, some have two."""
        first = key.find(b"/", len(ROOT)) + 1
        found = self._by_prefix.get(key[:first])
        if found is None:
            found = self._by_prefix.get(key[: key.find(b"/", first) + 1])
        return found

    def _take(self, batch: ChangeBatch) -> None:
        for change in batch.changes:
            cache = self._owner(change.key)
            if cache is not None:
                cache.apply(change)
        self._set_revision(batch.revision)

    def _set_revision(self, revision: int) -> None:
        if revision > self.revision:
            self.revision = revision
        waiting, self._advanced = self._advanced, trio.Event()
        waiting.set()
        self.freshness.advanced()

    # ------------------------------------------------------------------ waiting for it

    def has(self, revision: int) -> bool:
        """Whether the cache has taken in `revision`, so that nobody has to wait for it."""
        return self.revision >= revision and self._serving

    async def wait_for(self, revision: int, timeout_seconds: float) -> bool:
        """Waits until the cache has taken in `revision`; False when that took longer than `timeout_seconds`.

        No checkpoint when it has: a pass of the loop costs as much as all the rest of a small read.
        """
        if self.has(revision):
            return True
        with trio.move_on_after(timeout_seconds):
            await self.loaded.wait()
            while self.revision < revision or not self._serving:
                await self._next_advance()
            return True
        return False

    async def _next_advance(self) -> None:
        """Asks for progress until something arrives: the store answers each request with what it knows then."""
        advanced = self._advanced
        while not advanced.is_set():
            if self._stream is not None:
                await self._stream.request_progress()
            with trio.move_on_after(PROGRESS_RETRY_SECONDS):
                await advanced.wait()
