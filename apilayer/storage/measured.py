"""A store that times what is asked of the one below it, by operation and resource."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from apilayer.storage.interface import KeyChanged, KeyExists, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from apilayer.storage.encryption.counts import SealingCounts
    from apilayer.storage.interface import ChangeStream, Page, Record, Store

STORE_BUCKETS = (
    *(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0),
    *(10.0, 15.0, 20.0, 30.0, 45.0, 60.0),
)
"""Upper bounds in seconds, as kube-apiserver's."""
_REVISION = ("getCurrentResourceRevision", b"")

T = TypeVar("T")


class MeasuredStore:
    """As `Store`. `timings` holds (operation, key prefix of the resource) -> [number, seconds in all, by bucket...].

    `errors` are those of them that got no answer.
    """

    def __init__(self, store: Store, sealing: SealingCounts | None = None) -> None:
        """`sealing`: what the store below has sealed and opened."""
        self.sealing = sealing
        self._store = store
        self.timings: dict[tuple[str, bytes], list[float]] = {}
        self.errors: dict[tuple[str, bytes], int] = {}

    async def _timed(self, operation: str, key: bytes, call: Coroutine[Any, Any, T]) -> T:
        label = (operation, key[: key.find(b"/", key.find(b"/", 1) + 1) + 1])
        start = perf_counter()
        try:
            return await call
        except StoreError as error:
            if not isinstance(error, (KeyChanged, KeyExists)):  # these are answers like others
                self.errors[label] = self.errors.get(label, 0) + 1
            raise
        finally:
            self._took(label, perf_counter() - start)

    def _took(self, label: tuple[str, bytes], seconds: float) -> None:
        timing = self.timings.get(label)
        if timing is None:
            timing = self.timings[label] = [0.0] * (len(STORE_BUCKETS) + 2)
        timing[0] += 1
        timing[1] += seconds
        for index, bound in enumerate(STORE_BUCKETS, 2):
            if seconds <= bound:
                timing[index] += 1
                return

    def get(self, key: bytes) -> Coroutine[Any, Any, tuple[Record | None, int]]:
        """See `Store.get`."""
        return self._timed("get", key, self._store.get(key))

    def list(
        self, prefix: bytes, *, start: bytes = b"", limit: int = 0, revision: int = 0
    ) -> Coroutine[Any, Any, Page]:
        """See `Store.list`."""
        found = self._store.list(prefix, start=start, limit=limit, revision=revision)
        return self._timed("list", prefix, found)

    def create(self, key: bytes, value: bytes) -> Coroutine[Any, Any, int]:
        """See `Store.create`."""
        return self._timed("create", key, self._store.create(key, value))

    def update(self, key: bytes, value: bytes, revision: int) -> Coroutine[Any, Any, int]:
        """See `Store.update`."""
        return self._timed("update", key, self._store.update(key, value, revision))

    def delete(self, key: bytes, revision: int) -> Coroutine[Any, Any, int]:
        """See `Store.delete`."""
        return self._timed("delete", key, self._store.delete(key, revision))

    def current_revision(self) -> Coroutine[Any, Any, int]:
        """See `Store.current_revision`."""
        return self._timed(*_REVISION, self._store.current_revision())

    def confirm(self, then: Callable[[int], None]) -> bool:
        """See `Store.confirm`."""
        start = perf_counter()

        def heard(revision: int) -> None:
            self._took(_REVISION, perf_counter() - start)
            if not revision:
                self.errors[_REVISION] = self.errors.get(_REVISION, 0) + 1
            then(revision)

        return self._store.confirm(heard)

    def watch(self, prefix: bytes, from_revision: int) -> AbstractAsyncContextManager[ChangeStream]:
        """See `Store.watch`."""
        return self._store.watch(prefix, from_revision)

    async def compact(self, revision: int) -> None:
        """See `Store.compact`."""
        await self._store.compact(revision)
