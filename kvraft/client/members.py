"""The client's operations on the members of the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.client.failover import Failover
from kvraft.types import (
    MemberAddRequest,
    MemberAddResponse,
    MemberListRequest,
    MemberListResponse,
    MemberPromoteRequest,
    MemberRemoveRequest,
    MemberUpdateRequest,
    MoveLeaderRequest,
    MoveLeaderResponse,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


class MemberOperations(Failover):
    """A part of ``Client``."""

    async def member_add(self, peer_urls: Sequence[str], *, learner: bool = False) -> MemberAddResponse:
        """Make room for a member with these peer URLs, which is started afterwards. Raises what etcd refuses with."""
        return await self._write(MemberAddRequest(tuple(peer_urls), learner), MemberAddResponse)

    async def member_remove(self, member_id: int) -> MemberListResponse:
        """Remove a member. Once this has returned nothing waits for it any more, and it may be stopped."""
        return await self._write(MemberRemoveRequest(member_id), MemberListResponse)

    async def member_update(self, member_id: int, peer_urls: Sequence[str]) -> MemberListResponse:
        """Give a member other peer URLs."""
        return await self._write(MemberUpdateRequest(member_id, tuple(peer_urls)), MemberListResponse)

    async def member_promote(self, member_id: int) -> MemberListResponse:
        """Make a learner a voter. Raises ``LearnerNotReady`` before it has caught up."""
        return await self._write(MemberPromoteRequest(member_id), MemberListResponse)

    async def member_list(self, *, linearizable: bool = True) -> MemberListResponse:
        """The members, in the order of their ids."""
        return await self._read(MemberListRequest(linearizable), MemberListResponse)

    async def move_leader(self, target_id: int) -> MoveLeaderResponse:
        """Hand leadership to a voting member; returns when it leads."""
        return await self._write(MoveLeaderRequest(target_id), MoveLeaderResponse)
