"""The Lock and Election services: recipes that a member runs for its clients, in the tasks of their calls.

Cancel the task, and the caller's key goes. As with etcd every error here is of the gRPC code Unknown, with the text
that it has elsewhere.
"""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Self, TypeVar

import trio

from kvraft.channel import WakeUp
from kvraft.errors import KvraftError, LeaderKeyMissing, OutcomeUnknown
from kvraft.recipes import election
from kvraft.recipes import lock as locks
from kvraft.types import (
    DeleteRangeRequest,
    DeleteRangeResponse,
    LeaseGrantRequest,
    LeaseGrantResponse,
    TxnRequest,
    TxnResponse,
    WatchBatch,
    WatchRequest,
)
from kvraft.wire import native

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from kvraft.recipes.election import Leadership, Seen
    from kvraft.recipes.lock import Holding
    from kvraft.server.member import Member
    from kvraft.server.service import Caller
    from kvraft.types import Compare, Operation, Response
    from kvraft.watch.watcher import Watcher

    T = TypeVar("T", bound=Response)

DEFAULT_TTL_SECONDS = 60
"""Of the lease that a caller without one gets. Nobody keeps it alive."""
MAX_QUEUED_BATCHES = 100


class ConcurrencyError(KvraftError):
    """Whatever went wrong in one of these services."""


class LocalStore:
    """This member as the recipes' ``Store``, on behalf of ``caller``."""

    def __init__(self, member: Member, caller: Caller) -> None:
        self._member = member
        self._caller = caller

    async def txn(
        self, compare: Sequence[Compare], success: Sequence[Operation], failure: Sequence[Operation] = ()
    ) -> TxnResponse:
        """See ``Client.txn``."""
        return await self.call(TxnRequest(tuple(compare), tuple(success), tuple(failure)), TxnResponse)

    async def delete_range(self, key: bytes, range_end: bytes = b"") -> DeleteRangeResponse:
        """See ``Client.delete_range``."""
        return await self.call(DeleteRangeRequest(key, range_end), DeleteRangeResponse)

    async def lease(self, lease_id: int) -> int:
        """The lease of that id; 0: a new one."""
        if lease_id:
            return lease_id
        return (await self.call(LeaseGrantRequest(DEFAULT_TTL_SECONDS), LeaseGrantResponse)).lease_id

    async def call(self, request: native.Request, kind: type[T]) -> T:
        """Ask the service and wait. Cancelled, the request goes on."""
        done = trio.Event()
        found: list[object] = []

        def answer(given: object) -> None:
            found.append(given)
            done.set()

        self._member.service.start(request, native.encode_body(request), self._caller, answer)
        self._member.wake.set()
        await done.wait()
        if isinstance(found[0], KvraftError):
            raise found[0]
        if not isinstance(found[0], kind):
            raise OutcomeUnknown
        return found[0]

    @asynccontextmanager
    async def watch(
        self, key: bytes, range_end: bytes = b"", start_revision: int = 0
    ) -> AsyncIterator[AsyncIterator[WatchBatch]]:
        """See ``Client.watch``."""
        hub, batches = self._member.machine.watch, _Batches(self._member)
        request = WatchRequest(key, range_end, start_revision)
        watcher = self._member.service.watch(request, batches, self._caller)
        self._member.wake.set()
        try:
            yield batches
        finally:
            hub.cancel(watcher)


class _Batches:
    """What a watcher has got and nobody has taken yet."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._queue: deque[WatchBatch] = deque()
        self._blocked: Watcher | None = None
        self._arrived = WakeUp()

    def deliver(self, watcher: Watcher, batch: WatchBatch) -> bool:
        """Queue it; False when too much is queued already."""
        if len(self._queue) >= MAX_QUEUED_BATCHES:
            self._blocked = watcher
            return False
        self._queue.append(batch)
        self._arrived.set()
        return True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchBatch:
        while not self._queue:
            await self._arrived.wait()
        batch = self._queue.popleft()
        if self._blocked is not None and not self._queue:
            blocked, self._blocked = self._blocked, None
            self._member.machine.watch.resume(blocked)
            self._member.wake.set()
        return batch


@contextmanager
def _as_unknown() -> Iterator[None]:
    try:
        yield
    except KvraftError as error:
        raise ConcurrencyError(str(error)) from error


async def lock(member: Member, caller: Caller, name: bytes, lease_id: int) -> Holding:
    """Wait for the lock and hold it as long as the lease lives (0: a new one, of a minute)."""
    store = LocalStore(member, caller)
    with _as_unknown():
        return await locks.acquire(store, name, await store.lease(lease_id))


async def unlock(member: Member, caller: Caller, key: bytes) -> int:
    """Let go of ``key``; the store's revision."""
    with _as_unknown():
        return await locks.release(LocalStore(member, caller), key)


async def campaign(member: Member, caller: Caller, name: bytes, lease_id: int, value: bytes) -> tuple[Leadership, int]:
    """Run until elected; also the store's revision. ``lease_id`` 0: a new one, of a minute."""
    store = LocalStore(member, caller)
    with _as_unknown():
        return await election.campaign(store, name, await store.lease(lease_id), value)


async def proclaim(member: Member, caller: Caller, mine: Leadership | None, value: bytes) -> int:
    """See ``election.proclaim``. ``mine`` is None when the request does not say who leads."""
    with _as_unknown():
        return await election.proclaim(LocalStore(member, caller), _given(mine), value)


async def resign(member: Member, caller: Caller, mine: Leadership | None) -> int:
    """See ``election.resign``; ``mine`` as in ``proclaim``."""
    with _as_unknown():
        return await election.resign(LocalStore(member, caller), _given(mine))


async def leader(member: Member, caller: Caller, name: bytes) -> Seen:
    """See ``election.leader``."""
    with _as_unknown():
        return await election.leader(LocalStore(member, caller), name)


async def observe(member: Member, caller: Caller, name: bytes) -> AsyncIterator[Seen]:
    """See ``election.Observation``. Close the iterator, by ``contextlib.aclosing``, when it is not wanted any more."""
    with _as_unknown():
        async with election.Observation(LocalStore(member, caller), name) as seen:
            async for one in seen:
                yield one


def _given(mine: Leadership | None) -> Leadership:
    if mine is None:
        raise LeaderKeyMissing
    return mine
