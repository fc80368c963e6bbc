"""A store in memory that keeps the contract of `apilayer.storage.interface`, for tests that need thousands of them.

`tests/apilayer/storage` holds it to what it holds the real ones to.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from apilayer.storage.interface import (
    Change,
    ChangeBatch,
    FutureRevision,
    KeyChanged,
    KeyExists,
    Page,
    Record,
    RevisionCompacted,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class MemoryStore:
    """Every change in order. The state at a revision is read by going through them."""

    def __init__(self) -> None:
        self.revision = 1
        self.compacted = 0
        self.history: list[Change] = []
        self._latest: dict[bytes, Record] = {}
        self._changed = trio.Event()
        self._cuts = 0

    def cut(self) -> None:
        """Ends every open watch, as a leader that goes does."""
        self._cuts += 1
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    def _write(self, key: bytes, value: bytes | None) -> int:
        self.revision += 1
        self.history.append(Change(key, value, self.revision))
        if value is None:
            del self._latest[key]
        else:
            self._latest[key] = Record(key, value, self.revision)
        self._wake()
        return self.revision

    def _at(self, revision: int) -> dict[bytes, Record]:
        found: dict[bytes, Record] = {}
        for change in self.history:
            if change.revision > revision:
                break
            if change.value is None:
                del found[change.key]
            else:
                found[change.key] = Record(change.key, change.value, change.revision)
        return found

    def _check(self, revision: int) -> None:
        if revision > self.revision:
            raise FutureRevision("required revision is a future revision")
        if revision < self.compacted:
            raise RevisionCompacted("required revision has been compacted")

    async def get(self, key: bytes) -> tuple[Record | None, int]:
        await trio.lowlevel.checkpoint()
        return self._latest.get(key), self.revision

    async def list(self, prefix: bytes, *, start: bytes = b"", limit: int = 0, revision: int = 0) -> Page:
        await trio.lowlevel.checkpoint()
        if revision:
            self._check(revision)
        state = self._at(revision) if revision else self._latest
        found = [state[key] for key in sorted(state) if key.startswith(prefix) and key >= start]
        shown = found[: limit or None]
        return Page(shown, revision or self.revision, len(found) - len(shown))

    async def create(self, key: bytes, value: bytes) -> int:
        await trio.lowlevel.checkpoint()
        if key in self._latest:
            raise KeyExists(self._latest[key])
        return self._write(key, value)

    async def update(self, key: bytes, value: bytes, revision: int) -> int:
        return await self._swap(key, value, revision)

    async def delete(self, key: bytes, revision: int) -> int:
        return await self._swap(key, None, revision)

    async def _swap(self, key: bytes, value: bytes | None, revision: int) -> int:
        await trio.lowlevel.checkpoint()
        current = self._latest.get(key)
        if current is None or current.revision != revision:
            raise KeyChanged(current)
        return self._write(key, value)

    async def current_revision(self) -> int:
        await trio.lowlevel.checkpoint()
        return self.revision

    def confirm(self, then: Callable[[int], None]) -> bool:
        trio.lowlevel.current_trio_token().run_sync_soon(lambda: then(self.revision))
        return True

    @asynccontextmanager
    async def watch(self, prefix: bytes, from_revision: int) -> AsyncIterator[MemoryStream]:
        yield MemoryStream(self, prefix, from_revision)

    async def compact(self, revision: int) -> None:
        await trio.lowlevel.checkpoint()
        if revision <= self.compacted:
            raise RevisionCompacted("required revision has been compacted")
        self._check(revision)
        self.compacted = revision


class MemoryStream:
    """An open watch of a `MemoryStore`."""

    def __init__(self, store: MemoryStore, prefix: bytes, from_revision: int) -> None:
        self._store = store
        self._prefix = prefix
        self._next = from_revision
        self._position = 0
        self._asked = False
        self._cuts = store._cuts

    def __aiter__(self) -> MemoryStream:
        return self

    async def __anext__(self) -> ChangeBatch:
        await trio.lowlevel.checkpoint()
        store = self._store
        if self._next < store.compacted:
            raise RevisionCompacted(f"compacted at {store.compacted}")
        while True:
            if self._cuts != store._cuts:
                raise StoreUnavailable("cut")
            found = []
            while self._position < len(store.history):
                change = store.history[self._position]
                self._position += 1
                if change.revision >= self._next and change.key.startswith(self._prefix):
                    found.append(change)
            self._next = max(self._next, store.revision + 1)
            if found or self._asked:
                self._asked = False
                return ChangeBatch(store.revision, found)
            await store._changed.wait()

    async def request_progress(self) -> None:
        await trio.lowlevel.checkpoint()
        self._asked = True
        self._store._wake()
