"""A watch that survives its connection: it knows the next revision that it owes its reader."""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import trio

from kvraft.channel import WakeUp
from kvraft.errors import KvraftError, OutcomeUnknown, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kvraft.client.client import Client
    from kvraft.client.connection import Connection
    from kvraft.types import WatchBatch, WatchRequest

MAX_QUEUED_EVENTS = 100_000
"""More than this unread: the watch lets go and asks again from there once its reader has caught up."""
MAX_QUEUED_BYTES = 64 << 20
"""The same in bytes of the protocol."""
FIRST_BACKOFF_SECONDS = 0.01
MAX_BACKOFF_SECONDS = 0.5


class WatchStream:
    """Iterate it: ``WatchBatch`` after ``WatchBatch``. One with ``compact_revision`` is the last.

    Batches without events tell progress: everything up to their revision has been seen.
    """

    def __init__(self, client: Client, request: WatchRequest) -> None:
        self._client = client
        self._request = request
        self._next_revision = max(request.start_revision, 0)
        self._queue: deque[tuple[WatchBatch, int]] = deque()
        self._queued_events = 0
        self._queued_bytes = 0
        self._backoff = FIRST_BACKOFF_SECONDS
        self._arrived = WakeUp()
        self._connection: Connection | None = None
        self._watch_id = b""
        self._token = ""
        self._failure: KvraftError | None = None
        self._over = False

    @classmethod
    @asynccontextmanager
    async def open(cls, client: Client, request: WatchRequest) -> AsyncIterator[WatchStream]:
        """The stream. From a start revision it may begin before a member can be reached; see ``Client.watch``."""
        stream = cls(client, request)
        await stream._attach()
        try:
            if request.start_revision <= 0:
                await stream._find_start()
            yield stream
        finally:
            stream._detach()

    def __aiter__(self) -> WatchStream:
        return self

    async def __anext__(self) -> WatchBatch:
        while not self._queue:
            if self._over:
                raise StopAsyncIteration
            await self._go_on()
        batch, size = self._queue.popleft()
        self._queued_events -= len(batch.events)
        self._queued_bytes -= size
        return batch

    async def _find_start(self) -> None:
        """Wait for the revision at which the watch starts: a change after this may be missed no more."""
        reason: KvraftError | None = self._failure
        with trio.move_on_after(self._client.timeout_seconds):
            while not self._next_revision:
                await self._go_on()
                reason = self._failure or reason
        if not self._next_revision:
            raise Unavailable(f"the watch could not be established in time: {reason or 'no answer'}")

    async def _go_on(self) -> None:
        """Attach where need be, or wait for something to arrive. Raises a failure that is for good."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            if not isinstance(failure, (Unavailable, OutcomeUnknown)) and not await self._logged_in(failure):
                self._over = True
                raise failure
            await trio.sleep(self._backoff)
            self._backoff = min(self._backoff * 2, MAX_BACKOFF_SECONDS)
        if self._connection is None:
            await self._attach()
        else:
            await self._arrived.wait()

    async def _logged_in(self, failure: KvraftError) -> bool:
        """Whether ``failure`` was about a token, and there is a new one."""
        try:
            deadline = trio.current_time() + self._client.timeout_seconds
            return await self._client.log_in(failure, self._token, deadline)
        except (Unavailable, OutcomeUnknown) as error:
            self._failure = error
            return True

    async def request_progress(self) -> bool:
        """Ask for a batch that tells how far this watch is, once it has caught up with its member.

        False when that member is an old etcd whose word on this cannot be believed, and is therefore not asked.
        """
        await trio.lowlevel.checkpoint()
        if self._connection is None:
            return True
        self._connection.request_progress(self._watch_id)
        return self._connection.tells_progress

    async def _attach(self) -> None:
        try:
            connection = await self._client.any_connection()
            request = msgspec.structs.replace(self._request, start_revision=self._next_revision)
            self._token = self._client.token
            self._watch_id = connection.watch(request, self._take)
            self._connection = connection
        except Unavailable as error:
            self._failure = error

    def _detach(self) -> None:
        if self._connection is not None:
            self._connection.cancel_watch(self._watch_id)
            self._connection = None

    def _take(self, arrived: WatchBatch | KvraftError, size: int) -> None:
        if isinstance(arrived, KvraftError):
            self._failure = arrived
            self._client.turn_away(self._connection)
            self._connection = None
        else:
            self._queue.append((arrived, size))
            self._queued_events += len(arrived.events)
            self._queued_bytes += size
            self._next_revision = max(self._next_revision, arrived.revision + 1)
            self._backoff = FIRST_BACKOFF_SECONDS
            if arrived.compact_revision:
                self._over = True
                self._detach()
            elif self._queued_events > MAX_QUEUED_EVENTS or self._queued_bytes > MAX_QUEUED_BYTES:
                self._detach()
        self._arrived.set()
