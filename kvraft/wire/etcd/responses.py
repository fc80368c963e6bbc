"""Our answers as etcd's.

Which parts of the header etcd fills differs: cluster answers carry no revision, operations inside a transaction carry
nothing but one, Defragment and MoveLeader have no header at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from kvraft import types
from kvraft.version import ETCD_STORAGE_VERSION, ETCD_VERSION
from kvraft.wire.etcd import kv_pb2
from kvraft.wire.etcd import rpc_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kvraft.wire.etcd.stamp import Stamp

Message = TypeVar("Message")


def from_kv(kv: types.KeyValue, message: kv_pb2.KeyValue) -> None:
    """Fill in a key with its value."""
    message.key = kv.key
    message.create_revision = kv.create_revision
    message.mod_revision = kv.mod_revision
    message.version = kv.version
    message.value = kv.value
    message.lease = kv.lease


def _fill_range(message: pb.RangeResponse, answer: types.RangeResponse) -> None:
    add = message.kvs.add
    for kv in answer.kvs:
        from_kv(kv, add())
    message.count = answer.count
    message.more = answer.more


def _fill_put(message: pb.PutResponse, answer: types.PutResponse) -> None:
    if answer.prev_kv is not None:
        from_kv(answer.prev_kv, message.prev_kv)


def _fill_delete_range(message: pb.DeleteRangeResponse, answer: types.DeleteRangeResponse) -> None:
    message.deleted = answer.deleted
    for kv in answer.prev_kvs:
        from_kv(kv, message.prev_kvs.add())


def _fill_txn(message: pb.TxnResponse, answer: types.TxnResponse) -> None:
    message.succeeded = answer.succeeded
    for inner in answer.responses:
        operation = message.responses.add()
        if isinstance(inner, types.RangeResponse):
            operation.response_range.header.revision = inner.revision
            _fill_range(operation.response_range, inner)
        elif isinstance(inner, types.PutResponse):
            operation.response_put.header.revision = inner.revision
            _fill_put(operation.response_put, inner)
        elif isinstance(inner, types.DeleteRangeResponse):
            operation.response_delete_range.header.revision = inner.revision
            _fill_delete_range(operation.response_delete_range, inner)
        else:
            operation.response_txn.header.SetInParent()
            _fill_txn(operation.response_txn, inner)


def from_range(stamp: Stamp, answer: types.RangeResponse) -> pb.RangeResponse:
    """Range."""
    message = pb.RangeResponse()
    stamp.on(message.header, answer.revision)
    _fill_range(message, answer)
    return message


def from_put(stamp: Stamp, answer: types.PutResponse) -> pb.PutResponse:
    """Put."""
    message = pb.PutResponse()
    stamp.on(message.header, answer.revision)
    _fill_put(message, answer)
    return message


def from_delete_range(stamp: Stamp, answer: types.DeleteRangeResponse) -> pb.DeleteRangeResponse:
    """DeleteRange."""
    message = pb.DeleteRangeResponse()
    stamp.on(message.header, answer.revision)
    _fill_delete_range(message, answer)
    return message


def from_txn(stamp: Stamp, answer: types.TxnResponse) -> pb.TxnResponse:
    """Txn."""
    message = pb.TxnResponse()
    stamp.on(message.header, answer.revision)
    _fill_txn(message, answer)
    return message


def from_events(events: Iterable[types.Event]) -> pb.WatchResponse:
    """A watch's events, without header and id, so that the watches of one range can share them."""
    message = pb.WatchResponse()
    for event in events:
        added = message.events.add()
        added.type = event.kind  # type: ignore[assignment]
        if event.kind == types.EventKind.DELETE:
            added.kv.key = event.kv.key
            added.kv.mod_revision = event.kv.mod_revision
        else:
            from_kv(event.kv, added.kv)
        if event.prev_kv is not None:
            from_kv(event.prev_kv, added.prev_kv)
    return message


def from_lease_grant(stamp: Stamp, answer: types.LeaseGrantResponse) -> pb.LeaseGrantResponse:
    """LeaseGrant."""
    message = pb.LeaseGrantResponse(ID=answer.lease_id, TTL=answer.ttl)
    stamp.on(message.header, answer.revision)
    return message


def from_keep_alive(stamp: Stamp, answer: types.LeaseKeepAliveResponse) -> pb.LeaseKeepAliveResponse:
    """One message of LeaseKeepAlive."""
    message = pb.LeaseKeepAliveResponse(ID=answer.lease_id, TTL=answer.ttl)
    stamp.on(message.header, answer.revision)
    return message


def from_time_to_live(stamp: Stamp, answer: types.LeaseTimeToLiveResponse) -> pb.LeaseTimeToLiveResponse:
    """LeaseTimeToLive."""
    message = pb.LeaseTimeToLiveResponse(
        ID=answer.lease_id, TTL=answer.ttl, grantedTTL=answer.granted_ttl, keys=answer.keys
    )
    stamp.on(message.header, answer.revision)
    return message


def from_leases(stamp: Stamp, answer: types.LeaseLeasesResponse) -> pb.LeaseLeasesResponse:
    """LeaseLeases."""
    message = pb.LeaseLeasesResponse(leases=[pb.LeaseStatus(ID=lease_id) for lease_id in answer.lease_ids])
    stamp.on(message.header, answer.revision)
    return message


def from_member(member: types.MemberInfo) -> pb.Member:
    """A member."""
    return pb.Member(
        ID=member.member_id,
        name=member.name,
        peerURLs=member.peer_urls,
        clientURLs=member.client_urls,
        isLearner=member.is_learner,
    )


def from_member_add(stamp: Stamp, answer: types.MemberAddResponse) -> pb.MemberAddResponse:
    """MemberAdd."""
    message = pb.MemberAddResponse(member=from_member(answer.member), members=map(from_member, answer.members))
    stamp.on(message.header)
    return message


def members_as(make: Callable[..., Any]) -> Callable[[Stamp, types.MemberListResponse], Any]:
    """The answers that are the list of members, and differ in name alone."""

    def translate(stamp: Stamp, answer: types.MemberListResponse) -> Any:
        message = make(members=map(from_member, answer.members))
        stamp.on(message.header)
        return message

    return translate


def header_as(make: Callable[[], Any]) -> Callable[[Stamp, Any], Any]:
    """The answers that are nothing but a header."""

    def translate(stamp: Stamp, answer: Any) -> Any:
        message = make()
        stamp.on(message.header, answer.revision)
        return message

    return translate


def nothing_as(make: Callable[[], Any]) -> Callable[[Stamp, Any], Any]:
    """The answers that etcd leaves empty."""
    return lambda _stamp, _answer: make()


def from_alarm(stamp: Stamp, answer: types.AlarmResponse) -> pb.AlarmResponse:
    """Alarm."""
    message = pb.AlarmResponse()
    for alarm in answer.alarms:
        message.alarms.add(memberID=alarm.member_id, alarm=alarm.alarm)
    stamp.on(message.header, answer.revision)
    return message


def from_status(stamp: Stamp, answer: types.Status) -> pb.StatusResponse:
    """Status. The versions are etcd's: a kube-apiserver reads off them what it may rely on."""
    message = pb.StatusResponse(
        version=ETCD_VERSION,
        dbSize=answer.db_size,
        leader=answer.leader,
        raftIndex=answer.raft_index,
        raftTerm=answer.term,
        raftAppliedIndex=answer.applied_index,
        errors=answer.errors,
        dbSizeInUse=answer.db_size_in_use,
        isLearner=answer.is_learner,
        storageVersion=ETCD_STORAGE_VERSION,
        dbSizeQuota=answer.quota_bytes,
    )
    stamp.on(message.header, answer.revision)
    return message


def from_hash(stamp: Stamp, answer: types.HashResponse) -> pb.HashResponse:
    """Hash."""
    message = pb.HashResponse(hash=answer.hash & 0xFFFFFFFF)
    stamp.on(message.header, answer.revision)
    return message


def from_hash_kv(stamp: Stamp, answer: types.HashKVResponse) -> pb.HashKVResponse:
    """HashKV."""
    message = pb.HashKVResponse(
        hash=answer.hash & 0xFFFFFFFF,
        compact_revision=answer.compact_revision,
        hash_revision=answer.hash_revision,
    )
    stamp.on(message.header, answer.revision)
    return message


def from_downgrade(stamp: Stamp, answer: types.DowngradeResponse) -> pb.DowngradeResponse:
    """Downgrade."""
    message = pb.DowngradeResponse(version=answer.version)
    stamp.on(message.header, answer.revision)
    return message


def from_auth_status(stamp: Stamp, answer: types.AuthStatusResponse) -> pb.AuthStatusResponse:
    """AuthStatus."""
    message = pb.AuthStatusResponse(enabled=answer.enabled, authRevision=answer.auth_revision)
    stamp.on(message.header, answer.revision)
    return message


def from_authenticate(stamp: Stamp, answer: types.AuthenticateResponse) -> pb.AuthenticateResponse:
    """Authenticate."""
    message = pb.AuthenticateResponse(token=answer.token)
    stamp.on(message.header, answer.revision)
    return message


def from_user_get(stamp: Stamp, answer: types.UserGetResponse) -> pb.AuthUserGetResponse:
    """UserGet."""
    message = pb.AuthUserGetResponse(roles=answer.roles)
    stamp.on(message.header, answer.revision)
    return message


def from_user_list(stamp: Stamp, answer: types.UserListResponse) -> pb.AuthUserListResponse:
    """UserList."""
    message = pb.AuthUserListResponse(users=answer.users)
    stamp.on(message.header, answer.revision)
    return message


def from_role_get(stamp: Stamp, answer: types.RoleGetResponse) -> pb.AuthRoleGetResponse:
    """RoleGet."""
    message = pb.AuthRoleGetResponse()
    for permission in answer.permissions:
        message.perm.add(
            permType=permission.permission,
            key=permission.key,
            range_end=permission.range_end,
        )
    stamp.on(message.header, answer.revision)
    return message


def from_role_list(stamp: Stamp, answer: types.RoleListResponse) -> pb.AuthRoleListResponse:
    """RoleList."""
    message = pb.AuthRoleListResponse(roles=answer.roles)
    stamp.on(message.header, answer.revision)
    return message
