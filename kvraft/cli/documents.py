"""Answers as JSON, as Go writes etcd's messages: zeros left out, bytes in base64, ids as unsigned numbers."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from kvraft.types import (
    AlarmResponse,
    AuthChangedResponse,
    AuthStatusResponse,
    DeleteRangeResponse,
    Event,
    EventKind,
    HashKVResponse,
    KeyValue,
    LeaseGrantResponse,
    LeaseKeepAliveResponse,
    LeaseLeasesResponse,
    LeaseRevokeResponse,
    LeaseTimeToLiveResponse,
    MemberAddResponse,
    MemberInfo,
    MemberListResponse,
    MoveLeaderResponse,
    Permission,
    PutResponse,
    RangeResponse,
    RoleGetResponse,
    RoleListResponse,
    Status,
    TxnResponse,
    UserGetResponse,
    UserListResponse,
    WatchBatch,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvraft.cli.header import Header

    Document = dict[str, Any]

_NOT_IN_GO = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})
_INNER = {"RangeResponse": "ResponseRange", "PutResponse": "ResponsePut", "DeleteRangeResponse": "ResponseDeleteRange",
          "TxnResponse": "ResponseTxn"}  # fmt: skip


def to_json(document: object) -> str:
    """One line."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).translate(_NOT_IN_GO)


def _some(**fields: Any) -> Document:
    """The fields that are not zero, as ``omitempty`` has it."""
    return {name: value for name, value in fields.items() if value}


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def header_document(header: Header) -> Document:
    """The header of an answer."""
    return _some(
        cluster_id=header.cluster_id,
        member_id=header.member_id,
        revision=header.revision,
        raft_term=header.raft_term,
    )


def _kv(kv: KeyValue) -> Document:
    return _some(
        key=_b64(kv.key),
        create_revision=kv.create_revision,
        mod_revision=kv.mod_revision,
        version=kv.version,
        value=_b64(kv.value),
        lease=kv.lease,
    )


def _put(answer: PutResponse) -> Document:
    return {"prev_kv": _kv(answer.prev_kv)} if answer.prev_kv is not None else {}


def _range(answer: RangeResponse) -> Document:
    return _some(kvs=[_kv(kv) for kv in answer.kvs], more=answer.more, count=answer.count)


def _delete(answer: DeleteRangeResponse) -> Document:
    return _some(deleted=answer.deleted, prev_kvs=[_kv(kv) for kv in answer.prev_kvs])


def _txn(answer: TxnResponse) -> Document:
    responses = []
    for inner in answer.responses:
        body = {"header": {"revision": inner.revision}, **_BODIES[type(inner)](inner)}
        responses.append({"Response": {_INNER[type(inner).__name__]: body}})
    return _some(succeeded=answer.succeeded, responses=responses)


def _event(event: Event) -> Document:
    deleted = {"type": int(event.kind)} if event.kind == EventKind.DELETE else {}
    before = {"prev_kv": _kv(event.prev_kv)} if event.prev_kv is not None else {}
    return {**deleted, "kv": _kv(event.kv), **before}


def member_document(member: MemberInfo) -> Document:
    """A member in a list."""
    return _some(
        ID=member.member_id,
        name=member.name,
        peerURLs=list(member.peer_urls),
        clientURLs=list(member.client_urls),
        isLearner=member.is_learner,
    )


def _members(answer: MemberListResponse) -> Document:
    return _some(members=[member_document(member) for member in answer.members])


def _added(answer: MemberAddResponse) -> Document:
    return {"member": member_document(answer.member), **_some(members=[member_document(m) for m in answer.members])}


def _permission(permission: Permission) -> Document:
    return _some(permType=int(permission.permission), key=_b64(permission.key), range_end=_b64(permission.range_end))


def _status(status: Status) -> Document:
    return _some(
        version=status.version,
        dbSize=status.db_size,
        leader=status.leader,
        raftIndex=status.raft_index,
        raftTerm=status.term,
        raftAppliedIndex=status.applied_index,
        errors=list(status.errors),
        dbSizeInUse=status.db_size_in_use,
        isLearner=status.is_learner,
        storageVersion=status.storage_version,
        dbSizeQuota=status.quota_bytes,
    )


def _hash(answer: HashKVResponse) -> Document:
    return _some(hash=answer.hash, compact_revision=answer.compact_revision, hash_revision=answer.hash_revision)


def _alarms(answer: AlarmResponse) -> Document:
    return _some(alarms=[_some(memberID=alarm.member_id, alarm=int(alarm.alarm)) for alarm in answer.alarms])


def _nothing(_: object) -> Document:
    return {}


_BODIES: dict[type, Callable[[Any], Document]] = {
    PutResponse: _put,
    RangeResponse: _range,
    DeleteRangeResponse: _delete,
    TxnResponse: _txn,
    LeaseRevokeResponse: _nothing,
    MemberListResponse: _members,
    MemberAddResponse: _added,
    MoveLeaderResponse: _nothing,
    AlarmResponse: _alarms,
    AuthChangedResponse: _nothing,
    AuthStatusResponse: lambda answer: _some(enabled=answer.enabled, authRevision=answer.auth_revision),
    UserGetResponse: lambda answer: _some(roles=list(answer.roles)),
    UserListResponse: lambda answer: _some(users=list(answer.users)),
    RoleGetResponse: lambda answer: _some(perm=[_permission(permission) for permission in answer.permissions]),
    RoleListResponse: lambda answer: _some(roles=list(answer.roles)),
    Status: _status,
    HashKVResponse: _hash,
}
"""What stands beside the header."""
_BESIDE_HEADER: dict[type, Callable[[Any], Document]] = {
    LeaseGrantResponse: lambda answer: {"ID": answer.lease_id, "TTL": answer.ttl, "Error": ""},
    LeaseKeepAliveResponse: lambda answer: {"ID": answer.lease_id, "TTL": answer.ttl},
    LeaseTimeToLiveResponse: lambda answer: {
        "id": answer.lease_id,
        "ttl": answer.ttl,
        "granted-ttl": answer.granted_ttl,
        "keys": [_b64(key) for key in answer.keys] or None,
    },
    LeaseLeasesResponse: lambda answer: {"leases": [{"id": lease_id} for lease_id in answer.lease_ids]},
}
"""Answers about leases, whose header's fields stand among their own."""


def document(answer: object, header: Header) -> Document:
    """An answer with its header."""
    beside = _BESIDE_HEADER.get(type(answer))
    if beside is not None:
        return {**header_document(header), **beside(answer)}
    if isinstance(answer, WatchBatch):
        return {
            "Header": header_document(header),
            "Events": [_event(event) for event in answer.events],
            "CompactRevision": answer.compact_revision,
            "Canceled": bool(answer.compact_revision),
            "Created": False,
        }
    return {"header": header_document(header), **_BODIES[type(answer)](answer)}
