"""etcd's requests as ours. Only what has no counterpart is checked here: the store checks, for every protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft import types
from kvraft.errors import KeyNotFound
from kvraft.wire.etcd import rpc_pb2 as pb

if TYPE_CHECKING:
    from kvraft.wire.etcd import auth_pb2

FILTERS = pb.WatchCreateRequest


def to_range(message: pb.RangeRequest) -> types.RangeRequest:
    """Range."""
    return types.RangeRequest(
        message.key,
        message.range_end,
        message.limit,
        message.revision,
        message.keys_only,
        message.count_only,
        message.serializable,
        message.sort_order,
        message.sort_target,
        message.min_mod_revision,
        message.max_mod_revision,
        message.min_create_revision,
        message.max_create_revision,
    )


def to_put(message: pb.PutRequest) -> types.PutRequest:
    """Put."""
    return types.PutRequest(
        message.key, message.value, message.lease, message.prev_kv, message.ignore_value, message.ignore_lease
    )


def to_delete_range(message: pb.DeleteRangeRequest) -> types.DeleteRangeRequest:
    """DeleteRange."""
    return types.DeleteRangeRequest(message.key, message.range_end, message.prev_kv)


def to_txn(message: pb.TxnRequest) -> types.TxnRequest:
    """Txn. Raises KeyNotFound for an operation without content, as etcd does."""
    return types.TxnRequest(
        tuple(map(to_compare, message.compare)),
        tuple(map(to_operation, message.success)),
        tuple(map(to_operation, message.failure)),
    )


def to_operation(message: pb.RequestOp) -> types.Operation:
    """One operation of a transaction."""
    match message.WhichOneof("request"):
        case "request_range":
            return to_range(message.request_range)
        case "request_put":
            return to_put(message.request_put)
        case "request_delete_range":
            return to_delete_range(message.request_delete_range)
        case "request_txn":
            return to_txn(message.request_txn)
        case _:
            raise KeyNotFound


OPERANDS = {
    types.CompareTarget.VERSION: "version",
    types.CompareTarget.CREATE: "create_revision",
    types.CompareTarget.MOD: "mod_revision",
    types.CompareTarget.VALUE: "value",
    types.CompareTarget.LEASE: "lease",
}


def to_compare(message: pb.Compare) -> types.Compare:
    """A guard. An operand of another kind than the target's counts as none, which is zero or empty."""
    operand = getattr(message, OPERANDS.get(message.target, "version"))  # type: ignore[call-overload]
    return types.Compare(message.key, message.target, message.result, operand, message.range_end)


def to_compact(message: pb.CompactionRequest) -> types.CompactRequest:
    """Compact."""
    return types.CompactRequest(message.revision, message.physical)


def to_watch(message: pb.WatchCreateRequest) -> types.WatchRequest:
    """The watch that a create request asks for; its id and fragmenting are the stream's business."""
    return types.WatchRequest(
        message.key,
        message.range_end,
        message.start_revision,
        message.prev_kv,
        FILTERS.NOPUT in message.filters,
        FILTERS.NODELETE in message.filters,
        message.progress_notify,
    )


def to_lease_grant(message: pb.LeaseGrantRequest) -> types.LeaseGrantRequest:
    """LeaseGrant."""
    return types.LeaseGrantRequest(message.TTL, message.ID)


def to_lease_revoke(message: pb.LeaseRevokeRequest) -> types.LeaseRevokeRequest:
    """LeaseRevoke."""
    return types.LeaseRevokeRequest(message.ID)


def to_keep_alive(message: pb.LeaseKeepAliveRequest) -> types.LeaseKeepAliveRequest:
    """One message of LeaseKeepAlive."""
    return types.LeaseKeepAliveRequest(message.ID)


def to_time_to_live(message: pb.LeaseTimeToLiveRequest) -> types.LeaseTimeToLiveRequest:
    """LeaseTimeToLive."""
    return types.LeaseTimeToLiveRequest(message.ID, message.keys)


def to_leases(_: pb.LeaseLeasesRequest) -> types.LeaseLeasesRequest:
    """LeaseLeases."""
    return types.LeaseLeasesRequest()


def to_member_add(message: pb.MemberAddRequest) -> types.MemberAddRequest:
    """MemberAdd."""
    return types.MemberAddRequest(tuple(message.peerURLs), message.isLearner)


def to_member_remove(message: pb.MemberRemoveRequest) -> types.MemberRemoveRequest:
    """MemberRemove."""
    return types.MemberRemoveRequest(message.ID)


def to_member_update(message: pb.MemberUpdateRequest) -> types.MemberUpdateRequest:
    """MemberUpdate."""
    return types.MemberUpdateRequest(message.ID, tuple(message.peerURLs))


def to_member_promote(message: pb.MemberPromoteRequest) -> types.MemberPromoteRequest:
    """MemberPromote."""
    return types.MemberPromoteRequest(message.ID)


def to_member_list(message: pb.MemberListRequest) -> types.MemberListRequest:
    """MemberList."""
    return types.MemberListRequest(message.linearizable)


def to_alarm(message: pb.AlarmRequest) -> types.AlarmRequest:
    """Alarm."""
    return types.AlarmRequest(message.action, message.memberID, message.alarm)


def to_status(_: pb.StatusRequest) -> types.StatusRequest:
    """Status."""
    return types.StatusRequest()


def to_defragment(_: pb.DefragmentRequest) -> types.DefragmentRequest:
    """Defragment."""
    return types.DefragmentRequest()


def to_hash(_: pb.HashRequest) -> types.HashRequest:
    """Hash."""
    return types.HashRequest()


def to_hash_kv(message: pb.HashKVRequest) -> types.HashKVRequest:
    """HashKV."""
    return types.HashKVRequest(message.revision)


def to_move_leader(message: pb.MoveLeaderRequest) -> types.MoveLeaderRequest:
    """MoveLeader."""
    return types.MoveLeaderRequest(message.targetID)


def to_downgrade(message: pb.DowngradeRequest) -> types.DowngradeRequest:
    """Downgrade."""
    return types.DowngradeRequest(message.action, message.version)


def to_auth_enable(_: pb.AuthEnableRequest) -> types.AuthEnableRequest:
    """AuthEnable."""
    return types.AuthEnableRequest()


def to_auth_disable(_: pb.AuthDisableRequest) -> types.AuthDisableRequest:
    """AuthDisable."""
    return types.AuthDisableRequest()


def to_auth_status(_: pb.AuthStatusRequest) -> types.AuthStatusRequest:
    """AuthStatus."""
    return types.AuthStatusRequest()


def to_authenticate(message: pb.AuthenticateRequest) -> types.AuthenticateRequest:
    """Authenticate."""
    return types.AuthenticateRequest(message.name, message.password)


def to_user_add(message: pb.AuthUserAddRequest) -> types.UserAddRequest:
    """UserAdd. A hash is never taken from outside: the member makes it."""
    return types.UserAddRequest(message.name, message.password, message.options.no_password)


def to_user_get(message: pb.AuthUserGetRequest) -> types.UserGetRequest:
    """UserGet."""
    return types.UserGetRequest(message.name)


def to_user_list(_: pb.AuthUserListRequest) -> types.UserListRequest:
    """UserList."""
    return types.UserListRequest()


def to_user_delete(message: pb.AuthUserDeleteRequest) -> types.UserDeleteRequest:
    """UserDelete."""
    return types.UserDeleteRequest(message.name)


def to_user_change_password(message: pb.AuthUserChangePasswordRequest) -> types.UserChangePasswordRequest:
    """UserChangePassword."""
    return types.UserChangePasswordRequest(message.name, message.password)


def to_user_grant_role(message: pb.AuthUserGrantRoleRequest) -> types.UserGrantRoleRequest:
    """UserGrantRole."""
    return types.UserGrantRoleRequest(message.user, message.role)


def to_user_revoke_role(message: pb.AuthUserRevokeRoleRequest) -> types.UserRevokeRoleRequest:
    """UserRevokeRole."""
    return types.UserRevokeRoleRequest(message.name, message.role)


def to_role_add(message: pb.AuthRoleAddRequest) -> types.RoleAddRequest:
    """RoleAdd."""
    return types.RoleAddRequest(message.name)


def to_role_get(message: pb.AuthRoleGetRequest) -> types.RoleGetRequest:
    """RoleGet."""
    return types.RoleGetRequest(message.role)


def to_role_list(_: pb.AuthRoleListRequest) -> types.RoleListRequest:
    """RoleList."""
    return types.RoleListRequest()


def to_role_delete(message: pb.AuthRoleDeleteRequest) -> types.RoleDeleteRequest:
    """RoleDelete."""
    return types.RoleDeleteRequest(message.role)


def to_role_grant_permission(message: pb.AuthRoleGrantPermissionRequest) -> types.RoleGrantPermissionRequest:
    """RoleGrantPermission."""
    given = to_permission(message.perm) if message.HasField("perm") else None
    return types.RoleGrantPermissionRequest(message.name, given)


def to_permission(message: auth_pb2.Permission) -> types.Permission:
    """What a role may do with a range of keys."""
    return types.Permission(message.permType, message.key, message.range_end)


def to_role_revoke_permission(message: pb.AuthRoleRevokePermissionRequest) -> types.RoleRevokePermissionRequest:
    """RoleRevokePermission."""
    return types.RoleRevokePermissionRequest(message.role, message.key, message.range_end)
