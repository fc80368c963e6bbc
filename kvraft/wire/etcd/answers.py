"""etcd's answers as ours: what a client gets. The counterpart of ``responses``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvraft import types
from kvraft.errors import KvraftError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvraft.wire.etcd import kv_pb2
    from kvraft.wire.etcd import rpc_pb2 as pb


def by_names(kind: Callable[..., Any], names: str = "") -> Callable[[Any], Any]:
    """Answers that are the header's revision and the message's fields of these names."""
    there = names.split()
    return lambda message: kind(message.header.revision, *[getattr(message, name) for name in there])


def lists(kind: Callable[..., Any], name: str, of: Callable[[Any], Any] = lambda each: each) -> Callable[[Any], Any]:
    """Answers that are the header's revision and one list."""
    return lambda message: kind(message.header.revision, [of(each) for each in getattr(message, name)])


def without_header(kind: Callable[..., Any]) -> Callable[[Any], Any]:
    """Answers that etcd leaves empty."""
    return lambda _: kind(0)


def to_kv(kv: kv_pb2.KeyValue) -> types.KeyValue:
    """A key with its value."""
    return types.KeyValue(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease)


def to_range(message: pb.RangeResponse) -> types.RangeResponse:
    """Range."""
    return types.RangeResponse(message.header.revision, [to_kv(kv) for kv in message.kvs], message.count, message.more)


def to_put(message: pb.PutResponse) -> types.PutResponse:
    """Put."""
    return types.PutResponse(message.header.revision, to_kv(message.prev_kv) if message.HasField("prev_kv") else None)


def to_delete_range(message: pb.DeleteRangeResponse) -> types.DeleteRangeResponse:
    """DeleteRange."""
    return types.DeleteRangeResponse(message.header.revision, message.deleted, [to_kv(kv) for kv in message.prev_kvs])


def to_txn(message: pb.TxnResponse) -> types.TxnResponse:
    """Txn. Raises ``KvraftError`` for an operation's answer without content."""
    return types.TxnResponse(
        message.header.revision, message.succeeded, [_operation(each) for each in message.responses]
    )


def _operation(message: pb.ResponseOp) -> types.OperationResponse:
    match message.WhichOneof("response"):
        case "response_range":
            return to_range(message.response_range)
        case "response_put":
            return to_put(message.response_put)
        case "response_delete_range":
            return to_delete_range(message.response_delete_range)
        case "response_txn":
            return to_txn(message.response_txn)
        case _:
            raise KvraftError("an operation of a transaction was answered with nothing")


def to_event(event: kv_pb2.Event) -> types.Event:
    """One change."""
    return types.Event(event.type, to_kv(event.kv), to_kv(event.prev_kv) if event.HasField("prev_kv") else None)


def to_member(member: pb.Member) -> types.MemberInfo:
    """A member."""
    return types.MemberInfo(member.ID, member.name, tuple(member.peerURLs), tuple(member.clientURLs), member.isLearner)


def to_member_add(message: pb.MemberAddResponse) -> types.MemberAddResponse:
    """MemberAdd."""
    return types.MemberAddResponse(
        message.header.revision, to_member(message.member), [to_member(each) for each in message.members]
    )


def to_alarm(member: pb.AlarmMember) -> types.AlarmMember:
    """What is wrong with one member."""
    return types.AlarmMember(member.memberID, member.alarm)


def to_time_to_live(message: pb.LeaseTimeToLiveResponse) -> types.LeaseTimeToLiveResponse:
    """LeaseTimeToLive."""
    return types.LeaseTimeToLiveResponse(
        message.header.revision, message.ID, message.TTL, message.grantedTTL, list(message.keys)
    )


def to_permission(message: Any) -> types.Permission:
    """What a role may do with a range of keys."""
    return types.Permission(message.permType, message.key, message.range_end)


def to_status(message: pb.StatusResponse) -> types.Status:
    """Status, which in etcd's words has no name of the member."""
    header = message.header
    return types.Status(
        message.version,
        header.cluster_id,
        header.member_id,
        "",
        message.leader,
        message.raftTerm,
        message.raftIndex,
        message.raftAppliedIndex,
        header.revision,
        message.dbSize,
        message.dbSizeInUse,
        message.isLearner,
        list(message.errors),
        message.storageVersion,
        message.dbSizeQuota,
    )
