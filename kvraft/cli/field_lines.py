"""Answers as lines of ``"Name" : value``, the output format ``fields``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvraft.cli.header import Header
from kvraft.cli.quoting import encode, quote
from kvraft.types import (
    AlarmResponse,
    AlarmType,
    AuthChangedResponse,
    AuthStatusResponse,
    DeleteRangeResponse,
    EventKind,
    HashKVResponse,
    KeyValue,
    LeaseGrantResponse,
    LeaseKeepAliveResponse,
    LeaseLeasesResponse,
    LeaseRevokeResponse,
    LeaseTimeToLiveResponse,
    MemberListResponse,
    PermissionType,
    PutResponse,
    RangeResponse,
    RoleGetResponse,
    RoleListResponse,
    Status,
    TxnResponse,
    WatchBatch,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def _quoted(text: str) -> str:
    return quote(encode(text))


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _header(header: Header) -> list[str]:
    return [
        f'"ClusterID" : {header.cluster_id}',
        f'"MemberID" : {header.member_id}',
        f'"Revision" : {header.revision}',
        f'"RaftTerm" : {header.raft_term}',
    ]


def _kv(kv: KeyValue, before: str = "") -> list[str]:
    return [
        f'"{before}Key" : {quote(kv.key)}',
        f'"{before}CreateRevision" : {kv.create_revision}',
        f'"{before}ModRevision" : {kv.mod_revision}',
        f'"{before}Version" : {kv.version}',
        f'"{before}Value" : {quote(kv.value)}',
        f'"{before}Lease" : {kv.lease}',
    ]


def _put(answer: PutResponse) -> list[str]:
    return _kv(answer.prev_kv, "Prev") if answer.prev_kv is not None else []


def _range(answer: RangeResponse) -> list[str]:
    kvs = [line for kv in answer.kvs for line in _kv(kv)]
    return [*kvs, f'"More" : {_bool(answer.more)}', f'"Count" : {answer.count}']


def _delete(answer: DeleteRangeResponse) -> list[str]:
    return [f'"Deleted" : {answer.deleted}', *(line for kv in answer.prev_kvs for line in _kv(kv, "Prev"))]


def _txn(answer: TxnResponse) -> list[str]:
    lines = [f'"Succeeded" : {_bool(answer.succeeded)}']
    for response in answer.responses:
        lines += field_lines(response, Header(0, 0, response.revision, 0))
    return lines


def _watch(answer: WatchBatch) -> list[str]:
    lines = []
    for event in answer.events:
        lines.append(f'"Type" : {EventKind(event.kind).name}')
        if event.prev_kv is not None:
            lines += _kv(event.prev_kv, "Prev")
        lines += _kv(event.kv)
    return lines


def _granted(answer: LeaseGrantResponse | LeaseKeepAliveResponse) -> list[str]:
    return [f'"ID" : {answer.lease_id}', f'"TTL" : {answer.ttl}']


def _time_to_live(answer: LeaseTimeToLiveResponse) -> list[str]:
    return [
        f'"ID" : {answer.lease_id}',
        f'"TTL" : {answer.ttl}',
        f'"GrantedTTL" : {answer.granted_ttl}',
        *(f'"Key" : {quote(key)}' for key in answer.keys),
    ]


def _members(answer: MemberListResponse) -> list[str]:
    lines = []
    for member in answer.members:
        lines += [f'"ID" : {member.member_id}', f'"Name" : {_quoted(member.name)}']
        lines += [f'"PeerURL" : {_quoted(url)}' for url in member.peer_urls]
        lines += [f'"ClientURL" : {_quoted(url)}' for url in member.client_urls]
        lines += [f'"IsLearner" : {_bool(member.is_learner)}', ""]
    return lines


def _status(status: Status) -> list[str]:
    return [
        f'"Version" : {_quoted(status.version)}',
        f'"DBSize" : {status.db_size}',
        f'"Leader" : {status.leader}',
        f'"IsLearner" : {_bool(status.is_learner)}',
        f'"RaftIndex" : {status.raft_index}',
        f'"RaftTerm" : {status.term}',
        f'"RaftAppliedIndex" : {status.applied_index}',
        f'"Errors" : [{" ".join(status.errors)}]',
    ]


def _alarms(answer: AlarmResponse) -> list[str]:
    lines = []
    for alarm in answer.alarms:
        lines += [f'"MemberID" : {alarm.member_id}', f'"AlarmType" : {AlarmType(alarm.alarm).name}', ""]
    return lines


def _role(answer: RoleGetResponse) -> list[str]:
    lines = []
    for permission in answer.permissions:
        lines += [
            f'"PermType" :  {PermissionType(permission.permission).name}',
            f'"Key" : {quote(permission.key)}',
            f'"RangeEnd" : {quote(permission.range_end)}',
        ]
    return lines


def _nothing(_: object) -> list[str]:
    return []


_BODIES: dict[type, Callable[[Any], list[str]]] = {
    PutResponse: _put,
    RangeResponse: _range,
    DeleteRangeResponse: _delete,
    TxnResponse: _txn,
    WatchBatch: _watch,
    LeaseGrantResponse: _granted,
    LeaseKeepAliveResponse: _granted,
    LeaseRevokeResponse: _nothing,
    LeaseTimeToLiveResponse: _time_to_live,
    LeaseLeasesResponse: lambda answer: [f'"ID" : {lease_id}' for lease_id in answer.lease_ids],
    MemberListResponse: _members,
    Status: _status,
    HashKVResponse: _nothing,
    AlarmResponse: _alarms,
    AuthChangedResponse: _nothing,
    AuthStatusResponse: lambda answer: [
        f'"Enabled" : {_bool(answer.enabled)}',
        f'"AuthRevision" : {answer.auth_revision}',
    ],
    RoleGetResponse: _role,
    RoleListResponse: lambda answer: [" ".join(['"Roles" :', *map(_quoted, answer.roles)])],
}


def field_lines(answer: object, header: Header) -> list[str]:
    """An answer with its header."""
    return [*_header(header), *_BODIES[type(answer)](answer)]
