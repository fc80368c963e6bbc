"""What must hold for a request to begin at all: those that no command and no range carries to the checks of apply.

As in etcd since 3.6.11: maintenance and membership are root's; looking at the members, their status and alarms, and
having leases, is for every user; the rest is checked where it takes effect. Every kind of request stands in one of the
three lists: one that stands in none is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.errors import PermissionDenied
from kvraft.types import (
    AlarmAction,
    AlarmRequest,
    AuthDisableRequest,
    AuthEnableRequest,
    AuthenticateRequest,
    AuthStatusRequest,
    CompactRequest,
    DefragmentRequest,
    DeleteRangeRequest,
    DowngradeRequest,
    HashKVRequest,
    HashRequest,
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseLeasesRequest,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
    MemberAddRequest,
    MemberListRequest,
    MemberPromoteRequest,
    MemberRemoveRequest,
    MemberUpdateRequest,
    MoveLeaderRequest,
    PutRequest,
    RangeRequest,
    RoleAddRequest,
    RoleDeleteRequest,
    RoleGetRequest,
    RoleGrantPermissionRequest,
    RoleListRequest,
    RoleRevokePermissionRequest,
    SnapshotRequest,
    StatusRequest,
    TxnRequest,
    UserAddRequest,
    UserChangePasswordRequest,
    UserDeleteRequest,
    UserGetRequest,
    UserGrantRoleRequest,
    UserListRequest,
    UserRevokeRoleRequest,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvraft.auth.access import Access
    from kvraft.auth.identity import Identity

FOR_ROOT = frozenset(
    {
        DefragmentRequest,
        DowngradeRequest,
        HashKVRequest,
        HashRequest,
        MemberAddRequest,
        MemberPromoteRequest,
        MemberRemoveRequest,
        MemberUpdateRequest,
        MoveLeaderRequest,
        SnapshotRequest,
    }
)
FOR_USERS = frozenset(
    {
        LeaseGrantRequest,
        LeaseKeepAliveRequest,
        LeaseLeasesRequest,
        LeaseTimeToLiveRequest,
        MemberListRequest,
        StatusRequest,
    }
)


CHECKED_LATER = frozenset(
    {
        AuthDisableRequest,
        AuthEnableRequest,
        AuthStatusRequest,
        AuthenticateRequest,
        CompactRequest,
        DeleteRangeRequest,
        LeaseRevokeRequest,
        PutRequest,
        RangeRequest,
        RoleAddRequest,
        RoleDeleteRequest,
        RoleGetRequest,
        RoleGrantPermissionRequest,
        RoleListRequest,
        RoleRevokePermissionRequest,
        TxnRequest,
        UserAddRequest,
        UserChangePasswordRequest,
        UserDeleteRequest,
        UserGetRequest,
        UserGrantRoleRequest,
        UserListRequest,
        UserRevokeRoleRequest,
    }
)
"""By ``Access`` when they are applied, or read; a login by its password."""


def check_gate(access: Access, request: object, who: Callable[[], Identity]) -> None:
    """Raise why ``request`` must not begin; ``who`` gives who asks, and may raise too."""
    kind = type(request)
    if isinstance(request, AlarmRequest):
        kind = StatusRequest if request.action == AlarmAction.GET else DefragmentRequest
    if kind in FOR_ROOT:
        access.check_admin(who())
    elif kind in FOR_USERS:
        access.check_known(who())
    elif kind not in CHECKED_LATER:
        raise PermissionDenied
    if isinstance(request, LeaseTimeToLiveRequest) and request.keys:
        for key in access.lease_keys(request.lease_id):
            access.check_read(who(), key)
