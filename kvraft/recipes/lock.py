"""A lock: whoever has made its key first holds it, until that key is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from kvraft.errors import Locked, SessionExpired
from kvraft.recipes.store import enter, leave, oldest, own_key, read, wait_for_turn
from kvraft.types import RangeRequest

if TYPE_CHECKING:
    from kvraft.recipes.store import Store


@attrs.frozen
class Holding:
    """A lock that is held: as long as ``key`` is there with ``created`` as its create revision.

    ``revision`` is the store's when the lock was got. Work that must not be done without it goes in a transaction
    that compares ``key``'s create revision with ``created``.
    """

    key: bytes
    created: int
    revision: int


async def acquire(store: Store, name: bytes, lease_id: int) -> Holding:
    """Wait for the lock ``name`` and hold it with ``lease_id``. Held already with that lease: returns at once.

    Cancelled, or failed: the place in the queue is given up. Raises ``LeaseNotFound``; ``SessionExpired`` when the
    lease ended while waiting; any other ``KvraftError``.
    """
    key = own_key(name, lease_id)
    try:
        created, _, _ = await enter(store, name, lease_id, b"")
        await wait_for_turn(store, name, created)
        mine = await read(store, RangeRequest(key))
    except BaseException:
        await leave(store, key)
        raise
    if not mine.kvs or mine.kvs[0].create_revision != created:
        raise SessionExpired
    return Holding(key, created, mine.revision)


async def acquire_nowait(store: Store, name: bytes, lease_id: int) -> Holding:
    """As ``acquire``; raises ``Locked`` when somebody else holds it."""
    key = own_key(name, lease_id)
    try:
        created, _, revision = await enter(store, name, lease_id, b"")
        first = await read(store, oldest(name))
    except BaseException:
        await leave(store, key)
        raise
    if first.kvs and first.kvs[0].create_revision < created:
        await leave(store, key)
        raise Locked
    return Holding(key, created, revision)


async def release(store: Store, key: bytes) -> int:
    """Let go of a lock, or of the place in its queue; the store's revision. It need not be held any more."""
    return (await store.delete_range(key)).revision
