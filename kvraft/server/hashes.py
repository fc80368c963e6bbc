"""Hashes of this member's state, made in a thread, a piece at a time."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import trio

from kvraft.errors import Compacted, FutureRevision, TooManyRequests, Unavailable
from kvraft.mvcc.hashing import KvHash, StateHash
from kvraft.storage.errors import SnapshotClosed
from kvraft.types import HashKVResponse, HashResponse

if TYPE_CHECKING:
    from kvraft.apply.machine import StateMachine
    from kvraft.server.observe.counters import Counters
    from kvraft.storage.view import StateView

PIECE = 500
"""Changes hashed between two looks at the clock: some 2 ms."""
MAX_WAITING = 16
"""Hashes asked for and not made yet; past it: TooManyRequests."""
REST_SHARE = 1.0
"""A hash that nobody types rests so much of the time that its pieces took: clients come first."""
NEVER_COMPACTED = -1
"""etcd's word for it."""


class Hashes:
    """One at a time of those that somebody waits for, and one of the others; the last one is remembered, because
    everybody compares at the same revision."""

    def __init__(self, machine: StateMachine, counters: Counters) -> None:
        self._machine = machine
        self._counters = counters
        self._hurried, self._unhurried = trio.Lock(), trio.Lock()
        self._waiting = 0
        self._thread = trio.CapacityLimiter(1)
        self._last: HashKVResponse | None = None

    async def kv(self, revision: int, *, hurry: bool = False) -> HashKVResponse:
        """The hash of the keys up to ``revision`` (0: now), the same on every member.

        ``hurry``: somebody waits for it. Raises Compacted, FutureRevision, TooManyRequests, Unavailable.
        """
        if self._waiting >= MAX_WAITING:
            raise TooManyRequests
        self._waiting += 1
        try:
            async with self._hurried if hurry else self._unhurried:
                return await self._kv(revision, rest_share=0 if hurry else REST_SHARE)
        finally:
            self._waiting -= 1

    async def _kv(self, revision: int, rest_share: float) -> HashKVResponse:
        machine, last = self._machine, self._last
        reached, compacted = machine.revision, machine.compacted_revision
        if revision > reached:
            raise FutureRevision
        if 0 < revision < compacted:
            raise Compacted
        upto = revision if revision > 0 else reached
        shown = compacted or NEVER_COMPACTED
        if last is not None and (last.hash_revision, last.compact_revision) == (upto, shown):
            return HashKVResponse(reached, last.hash, shown, upto)
        view = machine.view()
        try:
            hashed = KvHash(view.tables, compacted, upto)
            with self._counters.hash_kv_seconds.time():
                await self._finish(view, hashed, rest_share)
        finally:
            view.close()
        self._last = HashKVResponse(reached, hashed.value, shown, upto)
        return self._last

    async def state(self) -> HashResponse:
        """The hash of everything, of this member alone. Raises TooManyRequests, Unavailable."""
        if self._waiting >= MAX_WAITING:
            raise TooManyRequests
        self._waiting += 1
        try:
            async with self._hurried:
                return await self._state()
        finally:
            self._waiting -= 1

    async def _state(self) -> HashResponse:
        revision, view = self._machine.revision, self._machine.view()
        try:
            hashed = StateHash(view.tables.txn, view.tables.databases)
            with self._counters.hash_seconds.time():
                await self._finish(view, hashed, 0)
        finally:
            view.close()
        return HashResponse(revision, hashed.value)

    async def _finish(self, view: StateView, hashed: KvHash | StateHash, rest_share: float) -> None:
        step = partial(view.run, partial(hashed.step, PIECE))
        try:
            while True:
                began = time.perf_counter()
                if await trio.to_thread.run_sync(step, limiter=self._thread):
                    return
                await trio.sleep(rest_share * (time.perf_counter() - began))
        except SnapshotClosed as error:
            raise Unavailable("etcdserver: the state was replaced while it was hashed") from error
