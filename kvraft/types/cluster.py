"""The members of a cluster, and the requests that change them."""

from __future__ import annotations

import msgspec


class MemberInfo(msgspec.Struct, frozen=True, array_like=True):
    """A member. One that has not started yet has no name and no client URLs."""

    member_id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False


class MemberAddRequest(msgspec.Struct, frozen=True, array_like=True, tag=30):
    """``member_id`` 0, as clients send it: the leader makes one before it proposes."""

    peer_urls: tuple[str, ...]
    is_learner: bool = False
    member_id: int = 0


class MemberRemoveRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=31):
    member_id: int


class MemberUpdateRequest(msgspec.Struct, frozen=True, array_like=True, tag=32):
    member_id: int
    peer_urls: tuple[str, ...]


class MemberPromoteRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=33):
    """Make a learner a voter; it must have caught up."""

    member_id: int


class MemberListRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=34):
    linearizable: bool = True


class MemberPublishRequest(msgspec.Struct, frozen=True, array_like=True, tag=35):
    """Internal: a member that has started tells its name and client URLs."""

    member_id: int
    name: str
    client_urls: tuple[str, ...]


class MemberAddResponse(msgspec.Struct, frozen=True, array_like=True, tag=30):
    revision: int
    member: MemberInfo
    members: list[MemberInfo]


class MemberListResponse(msgspec.Struct, frozen=True, array_like=True, tag=34):
    """The members in the order of their ids; also the answer to remove, update and promote."""

    revision: int
    members: list[MemberInfo]


MembershipCommand = (
    MemberAddRequest | MemberRemoveRequest | MemberUpdateRequest | MemberPromoteRequest | MemberPublishRequest
)
"""What a CONFIGURATION entry of the log holds."""
