"""Every request of ours that a method of etcd's answers: the method, and how request and answer are translated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kvraft import types
from kvraft.wire.etcd import answers as of
from kvraft.wire.etcd import asks as to
from kvraft.wire.etcd import rpc_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable


class Method(NamedTuple):
    """``path`` as HTTP/2 has it; ``to_message`` and ``to_answer`` translate, ``parse`` reads an answer's bytes."""

    path: str
    to_message: Callable[[Any], Any]
    parse: Callable[[bytes], Any]
    to_answer: Callable[[Any], types.Response]


WATCH_PATH = "/etcdserverpb.Watch/Watch"


def _method(path: str, to_message: Callable[[Any], Any], answer: Any, to_answer: Callable[[Any], Any]) -> Method:
    return Method(f"/etcdserverpb.{path}", to_message, answer.FromString, to_answer)


_MEMBERS = of.lists(types.MemberListResponse, "members", of.to_member)
_CHANGED = of.by_names(types.AuthChangedResponse)

METHODS: dict[type[Any], Method] = {
    types.RangeRequest: _method("KV/Range", to.to_message_range, pb.RangeResponse, of.to_range),
    types.PutRequest: _method("KV/Put", to.to_message_put, pb.PutResponse, of.to_put),
    types.PlainPutRequest: _method("KV/Put", to.to_message_plain_put, pb.PutResponse, of.to_put),
    types.DeleteRangeRequest: _method(
        "KV/DeleteRange", to.to_message_delete_range, pb.DeleteRangeResponse, of.to_delete_range
    ),
    types.TxnRequest: _method("KV/Txn", to.to_message_txn, pb.TxnResponse, of.to_txn),
    types.CompactRequest: _method(
        "KV/Compact",
        to.by_names(pb.CompactionRequest, "revision physical"),
        pb.CompactionResponse,
        of.by_names(types.CompactResponse),
    ),
    types.LeaseGrantRequest: _method(
        "Lease/LeaseGrant",
        to.by_names(pb.LeaseGrantRequest, "TTL ID"),
        pb.LeaseGrantResponse,
        of.by_names(types.LeaseGrantResponse, "ID TTL"),
    ),
    types.LeaseRevokeRequest: _method(
        "Lease/LeaseRevoke",
        to.by_names(pb.LeaseRevokeRequest, "ID"),
        pb.LeaseRevokeResponse,
        of.by_names(types.LeaseRevokeResponse),
    ),
    types.LeaseKeepAliveRequest: _method(  # a stream; we say one thing and listen to one
        "Lease/LeaseKeepAlive",
        to.by_names(pb.LeaseKeepAliveRequest, "ID"),
        pb.LeaseKeepAliveResponse,
        of.by_names(types.LeaseKeepAliveResponse, "ID TTL"),
    ),
    types.LeaseTimeToLiveRequest: _method(
        "Lease/LeaseTimeToLive",
        to.by_names(pb.LeaseTimeToLiveRequest, "ID keys"),
        pb.LeaseTimeToLiveResponse,
        of.to_time_to_live,
    ),
    types.LeaseLeasesRequest: _method(
        "Lease/LeaseLeases",
        to.by_names(pb.LeaseLeasesRequest),
        pb.LeaseLeasesResponse,
        of.lists(types.LeaseLeasesResponse, "leases", lambda lease: lease.ID),
    ),
    types.MemberAddRequest: _method(
        "Cluster/MemberAdd",
        to.by_names(pb.MemberAddRequest, "peerURLs isLearner"),
        pb.MemberAddResponse,
        of.to_member_add,
    ),
    types.MemberRemoveRequest: _method(
        "Cluster/MemberRemove", to.by_names(pb.MemberRemoveRequest, "ID"), pb.MemberRemoveResponse, _MEMBERS
    ),
    types.MemberUpdateRequest: _method(
        "Cluster/MemberUpdate", to.by_names(pb.MemberUpdateRequest, "ID peerURLs"), pb.MemberUpdateResponse, _MEMBERS
    ),
    types.MemberPromoteRequest: _method(
        "Cluster/MemberPromote", to.by_names(pb.MemberPromoteRequest, "ID"), pb.MemberPromoteResponse, _MEMBERS
    ),
    types.MemberListRequest: _method(
        "Cluster/MemberList", to.by_names(pb.MemberListRequest, "linearizable"), pb.MemberListResponse, _MEMBERS
    ),
    types.AlarmRequest: _method(
        "Maintenance/Alarm",
        to.by_names(pb.AlarmRequest, "action memberID alarm"),
        pb.AlarmResponse,
        of.lists(types.AlarmResponse, "alarms", of.to_alarm),
    ),
    types.StatusRequest: _method("Maintenance/Status", to.by_names(pb.StatusRequest), pb.StatusResponse, of.to_status),
    types.DefragmentRequest: _method(
        "Maintenance/Defragment",
        to.by_names(pb.DefragmentRequest),
        pb.DefragmentResponse,
        of.without_header(types.DefragmentResponse),
    ),
    types.HashRequest: _method(
        "Maintenance/Hash", to.by_names(pb.HashRequest), pb.HashResponse, of.by_names(types.HashResponse, "hash")
    ),
    types.HashKVRequest: _method(
        "Maintenance/HashKV",
        to.by_names(pb.HashKVRequest, "revision"),
        pb.HashKVResponse,
        of.by_names(types.HashKVResponse, "hash compact_revision hash_revision"),
    ),
    types.MoveLeaderRequest: _method(
        "Maintenance/MoveLeader",
        to.by_names(pb.MoveLeaderRequest, "targetID"),
        pb.MoveLeaderResponse,
        of.without_header(types.MoveLeaderResponse),
    ),
    types.AuthEnableRequest: _method(
        "Auth/AuthEnable", to.by_names(pb.AuthEnableRequest), pb.AuthEnableResponse, _CHANGED
    ),
    types.AuthDisableRequest: _method(
        "Auth/AuthDisable", to.by_names(pb.AuthDisableRequest), pb.AuthDisableResponse, _CHANGED
    ),
    types.AuthStatusRequest: _method(
        "Auth/AuthStatus",
        to.by_names(pb.AuthStatusRequest),
        pb.AuthStatusResponse,
        of.by_names(types.AuthStatusResponse, "enabled authRevision"),
    ),
    types.AuthenticateRequest: _method(
        "Auth/Authenticate",
        to.by_names(pb.AuthenticateRequest, "name password"),
        pb.AuthenticateResponse,
        of.by_names(types.AuthenticateResponse, "token"),
    ),
    types.UserAddRequest: _method("Auth/UserAdd", to.to_message_user_add, pb.AuthUserAddResponse, _CHANGED),
    types.UserGetRequest: _method(
        "Auth/UserGet",
        to.by_names(pb.AuthUserGetRequest, "name"),
        pb.AuthUserGetResponse,
        of.lists(types.UserGetResponse, "roles"),
    ),
    types.UserListRequest: _method(
        "Auth/UserList",
        to.by_names(pb.AuthUserListRequest),
        pb.AuthUserListResponse,
        of.lists(types.UserListResponse, "users"),
    ),
    types.UserDeleteRequest: _method(
        "Auth/UserDelete", to.by_names(pb.AuthUserDeleteRequest, "name"), pb.AuthUserDeleteResponse, _CHANGED
    ),
    types.UserChangePasswordRequest: _method(
        "Auth/UserChangePassword",
        to.by_names(pb.AuthUserChangePasswordRequest, "name password"),
        pb.AuthUserChangePasswordResponse,
        _CHANGED,
    ),
    types.UserGrantRoleRequest: _method(
        "Auth/UserGrantRole",
        to.by_names(pb.AuthUserGrantRoleRequest, "user role"),
        pb.AuthUserGrantRoleResponse,
        _CHANGED,
    ),
    types.UserRevokeRoleRequest: _method(
        "Auth/UserRevokeRole",
        to.by_names(pb.AuthUserRevokeRoleRequest, "name role"),
        pb.AuthUserRevokeRoleResponse,
        _CHANGED,
    ),
    types.RoleAddRequest: _method(
        "Auth/RoleAdd", to.by_names(pb.AuthRoleAddRequest, "name"), pb.AuthRoleAddResponse, _CHANGED
    ),
    types.RoleGetRequest: _method(
        "Auth/RoleGet",
        to.by_names(pb.AuthRoleGetRequest, "role"),
        pb.AuthRoleGetResponse,
        of.lists(types.RoleGetResponse, "perm", of.to_permission),
    ),
    types.RoleListRequest: _method(
        "Auth/RoleList",
        to.by_names(pb.AuthRoleListRequest),
        pb.AuthRoleListResponse,
        of.lists(types.RoleListResponse, "roles"),
    ),
    types.RoleDeleteRequest: _method(
        "Auth/RoleDelete", to.by_names(pb.AuthRoleDeleteRequest, "role"), pb.AuthRoleDeleteResponse, _CHANGED
    ),
    types.RoleGrantPermissionRequest: _method(
        "Auth/RoleGrantPermission", to.to_message_grant_permission, pb.AuthRoleGrantPermissionResponse, _CHANGED
    ),
    types.RoleRevokePermissionRequest: _method(
        "Auth/RoleRevokePermission",
        to.by_names(pb.AuthRoleRevokePermissionRequest, "role key range_end"),
        pb.AuthRoleRevokePermissionResponse,
        _CHANGED,
    ),
}
"""By the type of the request."""
