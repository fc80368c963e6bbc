"""Leases that the client keeps alive: renewed in the background, and their loss reported."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from kvraft.errors import KvraftError, LeaseNotFound
from kvraft.types import LeaseKeepAliveRequest, LeaseKeepAliveResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kvraft.client.client import Client

RENEWALS_PER_TTL = 3
RETRY_SECONDS = 0.5
"""After a renewal that failed; or a tenth of the TTL, if that is less."""


class KeptLease:
    """A lease that is kept alive. ``lost`` is set when it has ended, or may have: then nothing on it is sure."""

    def __init__(self, client: Client, lease_id: int, ttl: float, *, cancels: bool) -> None:
        self.lease_id = lease_id
        self.ttl = ttl
        """What it was granted for, in seconds."""
        self.lost = trio.Event()
        self._client = client
        self._alive_until = trio.current_time() + ttl
        self._body = trio.CancelScope() if cancels else None
        self._renewing = trio.CancelScope()

    @classmethod
    @asynccontextmanager
    async def open(cls, client: Client, lease_id: int, *, cancel_on_loss: bool) -> AsyncIterator[KeptLease]:
        """See ``Client.keep_alive``."""
        begun = trio.current_time()
        ttl = (await client.lease_keep_alive_once(lease_id)).ttl
        kept = cls(client, lease_id, ttl, cancels=cancel_on_loss)
        kept._alive_until = begun + ttl
        client.start_soon(kept._run)
        try:
            if kept._body is None:
                yield kept
                return
            with kept._body:
                yield kept
            if kept._body.cancelled_caught:
                raise LeaseNotFound
        finally:
            kept._renewing.cancel()

    async def _run(self) -> None:
        with self._renewing:
            while trio.current_time() < self._alive_until:
                if not await self._renew():
                    break
            self.lost.set()
            if self._body is not None:
                self._body.cancel()

    async def _renew(self) -> bool:
        """Wait for the time, and renew; False when the lease is gone."""
        await trio.sleep_until(self._alive_until - self.ttl * (1 - 1 / RENEWALS_PER_TTL))
        while True:
            begun = trio.current_time()
            with trio.move_on_at(self._alive_until):
                try:
                    answer = await self._client.lease_keep_alive_once(self.lease_id)
                except LeaseNotFound:
                    return False
                except KvraftError:
                    await trio.sleep(min(RETRY_SECONDS, self.ttl / 10))
                    continue
                self._alive_until = begun + answer.ttl
                return True
            return False


async def keep_alive_once(client: Client, lease_id: int) -> LeaseKeepAliveResponse:
    """Renew a lease. Raises ``LeaseNotFound`` when there is none any more."""
    answer = await client.repeatable(LeaseKeepAliveRequest(lease_id), LeaseKeepAliveResponse)
    if not answer.ttl:
        raise LeaseNotFound
    return answer
