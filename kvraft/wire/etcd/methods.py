"""Every method that one request of ours answers: how its message becomes that request, and the answer a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvraft.wire.etcd import requests as to
from kvraft.wire.etcd import responses as of
from kvraft.wire.etcd import rpc_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

Translation = tuple["Callable[[Any], Any]", "Callable[[Any, Any], Any]"]

KV: dict[str, Translation] = {
    "Range": (to.to_range, of.from_range),
    "Put": (to.to_put, of.from_put),
    "DeleteRange": (to.to_delete_range, of.from_delete_range),
    "Txn": (to.to_txn, of.from_txn),
    "Compact": (to.to_compact, of.header_as(pb.CompactionResponse)),
}
LEASE: dict[str, Translation] = {
    "LeaseGrant": (to.to_lease_grant, of.from_lease_grant),
    "LeaseRevoke": (to.to_lease_revoke, of.header_as(pb.LeaseRevokeResponse)),
    "LeaseTimeToLive": (to.to_time_to_live, of.from_time_to_live),
    "LeaseLeases": (to.to_leases, of.from_leases),
}
CLUSTER: dict[str, Translation] = {
    "MemberAdd": (to.to_member_add, of.from_member_add),
    "MemberRemove": (to.to_member_remove, of.members_as(pb.MemberRemoveResponse)),
    "MemberUpdate": (to.to_member_update, of.members_as(pb.MemberUpdateResponse)),
    "MemberList": (to.to_member_list, of.members_as(pb.MemberListResponse)),
    "MemberPromote": (to.to_member_promote, of.members_as(pb.MemberPromoteResponse)),
}
MAINTENANCE: dict[str, Translation] = {
    "Alarm": (to.to_alarm, of.from_alarm),
    "Status": (to.to_status, of.from_status),
    "Defragment": (to.to_defragment, of.nothing_as(pb.DefragmentResponse)),
    "Hash": (to.to_hash, of.from_hash),
    "HashKV": (to.to_hash_kv, of.from_hash_kv),
    "MoveLeader": (to.to_move_leader, of.nothing_as(pb.MoveLeaderResponse)),
    "Downgrade": (to.to_downgrade, of.from_downgrade),
}
AUTH: dict[str, Translation] = {
    "AuthEnable": (to.to_auth_enable, of.header_as(pb.AuthEnableResponse)),
    "AuthDisable": (to.to_auth_disable, of.header_as(pb.AuthDisableResponse)),
    "AuthStatus": (to.to_auth_status, of.from_auth_status),
    "Authenticate": (to.to_authenticate, of.from_authenticate),
    "UserAdd": (to.to_user_add, of.header_as(pb.AuthUserAddResponse)),
    "UserGet": (to.to_user_get, of.from_user_get),
    "UserList": (to.to_user_list, of.from_user_list),
    "UserDelete": (to.to_user_delete, of.header_as(pb.AuthUserDeleteResponse)),
    "UserChangePassword": (to.to_user_change_password, of.header_as(pb.AuthUserChangePasswordResponse)),
    "UserGrantRole": (to.to_user_grant_role, of.header_as(pb.AuthUserGrantRoleResponse)),
    "UserRevokeRole": (to.to_user_revoke_role, of.header_as(pb.AuthUserRevokeRoleResponse)),
    "RoleAdd": (to.to_role_add, of.header_as(pb.AuthRoleAddResponse)),
    "RoleGet": (to.to_role_get, of.from_role_get),
    "RoleList": (to.to_role_list, of.from_role_list),
    "RoleDelete": (to.to_role_delete, of.header_as(pb.AuthRoleDeleteResponse)),
    "RoleGrantPermission": (to.to_role_grant_permission, of.header_as(pb.AuthRoleGrantPermissionResponse)),
    "RoleRevokePermission": (to.to_role_revoke_permission, of.header_as(pb.AuthRoleRevokePermissionResponse)),
}
TRANSLATIONS: dict[str, dict[str, Translation]] = {
    "etcdserverpb.KV": KV,
    "etcdserverpb.Lease": LEASE,
    "etcdserverpb.Cluster": CLUSTER,
    "etcdserverpb.Maintenance": MAINTENANCE,
    "etcdserverpb.Auth": AUTH,
}
"""By service and method."""
