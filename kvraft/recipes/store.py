"""What recipes need of a store, and the waiting that they have in common."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

import trio

from kvraft.errors import KvraftError
from kvraft.types import (
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRangeRequest,
    EventKind,
    PutRequest,
    RangeRequest,
    RangeResponse,
    SortOrder,
    SortTarget,
    prefix_end,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from kvraft.types import DeleteRangeResponse, KeyValue, Operation, TxnResponse, WatchBatch

CLEAN_UP_SECONDS = 5.0
"""For so long a waiter that was cancelled tries to take its key away; its lease does it otherwise."""


class Store(Protocol):
    """A store as its client sees it. Everything raises ``KvraftError``."""

    async def txn(
        self, compare: Sequence[Compare], success: Sequence[Operation], failure: Sequence[Operation] = ()
    ) -> TxnResponse: ...

    async def delete_range(self, key: bytes, range_end: bytes = b"") -> DeleteRangeResponse: ...

    def watch(
        self, key: bytes, range_end: bytes = b"", start_revision: int = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchBatch]]: ...


def own_key(name: bytes, lease_id: int) -> bytes:
    """The key of whoever has ``lease_id``."""
    return b"%s/%x" % (name, lease_id)


def oldest(name: bytes) -> RangeRequest:
    """Asks for the key of ``name`` that was created first: who has it, holds the lock or has been elected."""
    prefix = name + b"/"
    return RangeRequest(prefix, prefix_end(prefix), limit=1, sort_order=SortOrder.ASCEND, sort_target=SortTarget.CREATE)


def created_at(key: bytes, revision: int) -> Compare:
    """Whether ``key`` was created at ``revision`` (0: whether there is none)."""
    return Compare(key, CompareTarget.CREATE, CompareResult.EQUAL, revision)


async def read(store: Store, request: RangeRequest) -> RangeResponse:
    """A linearizable read."""
    (answer,) = (await store.txn((), (request,))).responses
    assert isinstance(answer, RangeResponse)
    return answer


async def enter(store: Store, name: bytes, lease_id: int, value: bytes) -> tuple[int, KeyValue | None, int]:
    """Make the own key, unless it is there: the revision that created it, what was there, and the store's revision."""
    key = own_key(name, lease_id)
    answer = await store.txn((created_at(key, 0),), (PutRequest(key, value, lease_id),), (RangeRequest(key),))
    if answer.succeeded:
        return answer.revision, None, answer.revision
    (found,) = answer.responses
    assert isinstance(found, RangeResponse)
    return found.kvs[0].create_revision, found.kvs[0], answer.revision


async def wait_for_turn(store: Store, name: bytes, revision: int) -> int:
    """Wait until no key of ``name`` is older than ``revision``; returns the store's revision then.

    Each waiter watches the one before it alone, so that an end wakes one, not all.
    """
    prefix = name + b"/"
    before = RangeRequest(
        prefix,
        prefix_end(prefix),
        limit=1,
        keys_only=True,
        sort_order=SortOrder.DESCEND,
        sort_target=SortTarget.CREATE,
        max_create_revision=revision - 1,
    )
    while True:
        answer = await read(store, before)
        if not answer.kvs:
            return answer.revision
        await _wait_for_end(store, answer.kvs[0].key, answer.revision)


async def _wait_for_end(store: Store, key: bytes, revision: int) -> None:
    """Until ``key``, which is there at ``revision``, is deleted; or what happened since is not known any more."""
    async with store.watch(key, start_revision=revision + 1) as batches:
        async for batch in batches:
            if batch.compact_revision or any(event.kind == EventKind.DELETE for event in batch.events):
                return


async def delete_if_created(store: Store, key: bytes, revision: int) -> TxnResponse:
    """Delete ``key`` if it was created at ``revision``."""
    return await store.txn((created_at(key, revision),), (DeleteRangeRequest(key),))


async def leave(store: Store, key: bytes) -> None:
    """Take the own key away, also when cancelled, but not for ever; what goes wrong is left to the lease."""
    with trio.move_on_after(CLEAN_UP_SECONDS, shield=True), contextlib.suppress(KvraftError):
        await store.delete_range(key)
