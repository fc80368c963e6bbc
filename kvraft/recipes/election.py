"""An election: whoever has made its key first leads, until that key is gone; its value is what the leader proclaims."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self

import attrs

from kvraft.errors import NobodyElected, NotElected, SessionExpired
from kvraft.recipes.store import (
    created_at,
    delete_if_created,
    enter,
    leave,
    oldest,
    own_key,
    read,
    wait_for_turn,
)
from kvraft.types import EventKind, PutRequest, RangeRequest, prefix_end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from kvraft.recipes.store import Store
    from kvraft.types import KeyValue, WatchBatch


@attrs.frozen
class Leadership:
    """What proves that somebody leads: its key, and the revision that created it."""

    name: bytes
    key: bytes
    created: int
    lease_id: int


@attrs.frozen
class Seen:
    """A leader's key, with what it proclaims, and the store's revision when it was seen."""

    kv: KeyValue
    revision: int


async def campaign(store: Store, name: bytes, lease_id: int, value: bytes) -> tuple[Leadership, int]:
    """Run for ``name`` with ``value`` until elected; also the store's revision. With the same lease again: proclaims.

    Cancelled, or failed: the candidacy is withdrawn. Raises ``LeaseNotFound``; ``SessionExpired`` when the lease
    ended while waiting; any other ``KvraftError``.
    """
    key = own_key(name, lease_id)
    try:
        created, known, revision = await enter(store, name, lease_id, value)
        mine = Leadership(name, key, created, lease_id)
        if known is not None and known.value != value:
            revision = await proclaim(store, mine, value)
        await wait_for_turn(store, name, created)
        found = await read(store, RangeRequest(key, keys_only=True))
    except BaseException:
        await leave(store, key)
        raise
    if not found.kvs or found.kvs[0].create_revision != created:
        raise SessionExpired
    return mine, revision


async def proclaim(store: Store, mine: Leadership, value: bytes) -> int:
    """Let the leader say something new; the store's revision. Raises ``NotElected`` when it is not leader any more."""
    put = PutRequest(mine.key, value, mine.lease_id)
    answer = await store.txn((created_at(mine.key, mine.created),), (put,))
    if not answer.succeeded:
        raise NotElected
    return answer.revision


async def resign(store: Store, mine: Leadership) -> int:
    """Give leadership up, if it is still there; the store's revision."""
    return (await delete_if_created(store, mine.key, mine.created)).revision


async def leader(store: Store, name: bytes) -> Seen:
    """Who leads. Raises ``NobodyElected``."""
    found = await read(store, oldest(name))
    if not found.kvs:
        raise NobodyElected
    return Seen(found.kvs[0], found.revision)


class Observation:
    """Who leads and what it proclaims, from now on, in order: iterate it, within ``async with``.

    Somebody who leads for a moment only may be left out. Nobody leads: it waits.
    """

    def __init__(self, store: Store, name: bytes) -> None:
        self._store = store
        self._name = name
        self._found: deque[Seen] = deque()
        self._leader = b""
        self._watch: AbstractAsyncContextManager[AsyncIterator[WatchBatch]] | None = None
        self._batches: AsyncIterator[WatchBatch] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop_watching()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Seen:
        while not self._found:
            if self._batches is None:
                await self._look()
            else:
                await self._follow(self._batches)
        return self._found.popleft()

    async def _look(self) -> None:
        """Whoever leads now, and what comes after."""
        found = await read(self._store, oldest(self._name))
        prefix = self._name + b"/"
        if found.kvs:
            self._leader = found.kvs[0].key
            self._found.append(Seen(found.kvs[0], found.revision))
            watch = self._store.watch(self._leader, start_revision=found.revision + 1)
        else:
            self._leader = b""
            watch = self._store.watch(prefix, prefix_end(prefix), start_revision=found.revision + 1)
        self._batches = await watch.__aenter__()
        self._watch = watch

    async def _follow(self, batches: AsyncIterator[WatchBatch]) -> None:
        batch = await anext(batches, None)
        if batch is None or batch.compact_revision:
            await self._stop_watching()
            return
        for event in batch.events:
            if bool(self._leader) is (event.kind == EventKind.DELETE):  # the leader has gone, or there is one at last
                await self._stop_watching()
                return
            if self._leader:
                self._found.append(Seen(event.kv, batch.revision))

    async def _stop_watching(self) -> None:
        watch, self._watch, self._batches = self._watch, None, None
        if watch is not None:
            await watch.__aexit__(None, None, None)
