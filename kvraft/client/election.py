"""Leader election on a lease that the client keeps alive; see ``kvraft.recipes.election``."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from kvraft.recipes import election
from kvraft.recipes.election import Observation, Seen, leader
from kvraft.recipes.store import leave

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kvraft.client.client import Client

__all__ = ["Elected", "Observation", "Seen", "leader", "run_for"]


class Elected:
    """A won election: ``key`` was created at ``created``; while it is there this process leads."""

    def __init__(self, client: Client, mine: election.Leadership) -> None:
        self.key = mine.key
        self.created = mine.created
        self._client = client
        self._mine = mine

    async def proclaim(self, value: bytes) -> None:
        """Say something new as the leader. Raises ``NotElected`` when that is over."""
        await election.proclaim(self._client, self._mine, value)


@asynccontextmanager
async def run_for(client: Client, name: bytes, value: bytes, ttl: int) -> AsyncIterator[Elected]:
    """See ``Client.campaign``."""
    async with client.lease(ttl) as lease:
        mine, _ = await election.campaign(client, name, lease.lease_id, value)
        try:
            yield Elected(client, mine)
        finally:
            await leave(client, mine.key)
