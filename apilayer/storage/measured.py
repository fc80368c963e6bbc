"""A store that times what is asked of the one below it, by operation and resource."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from apilayer.storage.encryption.counts import SealingCounts
    from apilayer.storage.interface import ChangeStream, Page, Record, Store

STORE_BUCKETS = (
    *(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0),
    *(10.0, 15.0, 20.0, 30.0, 45.0, 60.0),
)
"""Upper bounds in seconds, as kube-apiserver's."""


class MeasuredStore:
    """As `Store`. `timings` holds (operation, key prefix of the resource) -> [number, seconds in all, by bucket...]."""

    def __init__(self, store: Store, sealing: SealingCounts | None = None) -> None:
        """`sealing`: what the store below has sealed and opened."""
        self.sealing = sealing
        self._store = store
        self.timings: dict[tuple[str, bytes], list[float]] = {}

    def _took(self, operation: str, key: bytes, start: float) -> None:
        seconds = perf_counter() - start
        label = (operation, key[: key.find(b"/", key.find(b"/", 1) + 1) + 1])
        timing = self.timings.get(label)
        if timing is None:
            timing = self.timings[label] = [0.0] * (len(STORE_BUCKETS) + 2)
        timing[0] += 1
        timing[1] += seconds
        for index, bound in enumerate(STORE_BUCKETS, 2):
            if seconds <= bound:
                timing[index] += 1
                return

    async def get(self, key: bytes) -> tuple[Record | None, int]:
        """See `Store.get`."""
        start = perf_counter()
        found = await self._store.get(key)
        self._took("get", key, start)
        return found

    async def list(self, prefix: bytes, *, start: bytes = b"", limit: int = 0, revision: int = 0) -> Page:
        """See `Store.list`."""
        began = perf_counter()
        page = await self._store.list(prefix, start=start, limit=limit, revision=revision)
        self._took("list", prefix, began)
        return page

    async def create(self, key: bytes, value: bytes) -> int:
        """See `Store.create`."""
        start = perf_counter()
        revision = await self._store.create(key, value)
        self._took("create", key, start)
        return revision

    async def update(self, key: bytes, value: bytes, revision: int) -> int:
        """See `Store.update`."""
        start = perf_counter()
        new = await self._store.update(key, value, revision)
        self._took("update", key, start)
        return new

    async def delete(self, key: bytes, revision: int) -> int:
        """See `Store.delete`."""
        start = perf_counter()
        new = await self._store.delete(key, revision)
        self._took("delete", key, start)
        return new

    async def current_revision(self) -> int:
        """See `Store.current_revision`."""
        start = perf_counter()
        revision = await self._store.current_revision()
        self._took("getCurrentResourceRevision", b"", start)
        return revision

    def watch(self, prefix: bytes, from_revision: int) -> AbstractAsyncContextManager[ChangeStream]:
        """See `Store.watch`."""
        return self._store.watch(prefix, from_revision)

    async def compact(self, revision: int) -> None:
        """See `Store.compact`."""
        await self._store.compact(revision)
