"""The store as the API sees it: keys, bytes, revisions, one-key compare-and-swap and an ordered watch.

Interfaces and vocabulary only. A backend translates its own errors into the ones here; nothing above the
backend knows which store it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs
import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

CONFIRM_SECONDS = 2.0
"""For so long `Store.confirm` is waited for."""


class StoreError(Exception):
    """Base of what a store can answer besides success."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or has no leader; nothing was written."""


class OutcomeUnknown(StoreError):
    """A write may or may not have happened; nothing below the client may repeat it."""


class RevisionCompacted(StoreError):
    """The revision asked for is older than what the store keeps."""


class FutureRevision(StoreError):
    """The revision asked for lies ahead of the store's."""


class RequestTooLarge(StoreError):
    """The store refuses a value of this size."""


class KeyExists(StoreError):
    """A create found the key taken; `current` is what is there."""

    def __init__(self, current: Record) -> None:
        super().__init__(f"key exists: {current.key.decode(errors='replace')}")
        self.current = current


class KeyChanged(StoreError):
    """A conditional write found another revision; `current` is what is there, None when the key is gone."""

    def __init__(self, current: Record | None) -> None:
        super().__init__("key changed" if current else "key is gone")
        self.current = current


class Record(msgspec.Struct, frozen=True, gc=False):
    """A value at the revision of its last change. `stale`: the same value would be stored otherwise today."""

    key: bytes
    value: bytes
    revision: int
    stale: bool = False


@attrs.frozen
class Page:
    """Part of a range at one revision. `remaining` counts the keys of the range after the last record."""

    records: Sequence[Record]
    revision: int
    remaining: int


class Change(msgspec.Struct, frozen=True, gc=False):
    """A put (value set) or a delete (value None) at `revision`."""

    key: bytes
    value: bytes | None
    revision: int


class ChangeBatch(msgspec.Struct, frozen=True):
    """Whole revisions in order: everything up to and including `revision` has now been delivered."""

    revision: int
    changes: Sequence[Change]


class ChangeStream(Protocol):
    """An open watch. Iterating raises RevisionCompacted when what it needs next is gone."""

    def __aiter__(self) -> AsyncIterator[ChangeBatch]: ...

    async def request_progress(self) -> None:
        """Asks for a batch, perhaps an empty one, that carries the store's current revision."""


class Store(Protocol):
    """One-key operations and a range watch. All raise StoreUnavailable; writes also OutcomeUnknown."""

    async def get(self, key: bytes) -> tuple[Record | None, int]:
        """The key's latest value (linearizable) and the store's revision."""

    async def list(self, prefix: bytes, *, start: bytes = b"", limit: int = 0, revision: int = 0) -> Page:
        """Records under `prefix` from `start` on, in key order, at `revision` (0: latest, linearizable).

        Raises RevisionCompacted or FutureRevision.
        """

    async def create(self, key: bytes, value: bytes) -> int:
        """Puts a key that must not exist, answers the new revision. Raises KeyExists, RequestTooLarge."""

    async def update(self, key: bytes, value: bytes, revision: int) -> int:
        """Replaces the key if it is still at `revision`. Raises KeyChanged, RequestTooLarge."""

    async def delete(self, key: bytes, revision: int) -> int:
        """Deletes the key if it is still at `revision`. Raises KeyChanged."""

    async def current_revision(self) -> int:
        """The store's latest revision, linearizable."""

    def confirm(self, then: Callable[[int], None]) -> bool:
        """As `current_revision`, without a task: `then` is called once, later, in whose turn it may be.

        With 0 when the store has not answered well within `CONFIRM_SECONDS`. It must not raise. False: nobody can be
        asked at the moment, and it is not called.
        """

    def watch(self, prefix: bytes, from_revision: int) -> AbstractAsyncContextManager[ChangeStream]:
        """Every change under `prefix` at or after `from_revision`, in order, without gap or duplicate."""

    async def compact(self, revision: int) -> None:
        """Drops history older than `revision`. Raises RevisionCompacted when that has happened already."""
