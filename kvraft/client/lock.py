"""A distributed lock on a lease that the client keeps alive; see ``kvraft.recipes.lock``."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from kvraft.recipes.lock import Holding, acquire, acquire_nowait, release
from kvraft.recipes.store import leave

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kvraft.client.client import Client

__all__ = ["Holding", "acquire", "acquire_nowait", "hold", "release"]


@asynccontextmanager
async def hold(client: Client, name: bytes, ttl: int, *, wait: bool = True) -> AsyncIterator[Holding]:
    """See ``Client.lock``."""
    async with client.lease(ttl) as lease:
        holding = await (acquire if wait else acquire_nowait)(client, name, lease.lease_id)
        try:
            yield holding
        finally:
            await leave(client, holding.key)
