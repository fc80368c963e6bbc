"""Translations to and from etcd's messages: nothing is lost, and field numbers are those of the public interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kvraft import types
from kvraft.errors import KeyNotFound
from kvraft.wire.etcd import (  # noqa: F401 (all of them are in the pool once they are imported)
    election_pb2,
    health_pb2,
    kv_pb2,
    lock_pb2,
    reflection_pb2,
    reflection_v1alpha_pb2,
    requests,
    responses,
)
from kvraft.wire.etcd import rpc_pb2 as pb
from kvraft.wire.etcd.methods import TRANSLATIONS
from kvraft.wire.etcd.pool import POOL
from kvraft.wire.etcd.stamp import Stamp
from tests.kvraft.wire.generate import PACKAGE, ROOT, generate

STAMP = Stamp(11, 12, lambda: 14)
KV = types.KeyValue(b"k", b"v", 1, 2, 3, 4)
PB_KV = kv_pb2.KeyValue(key=b"k", value=b"v", create_revision=1, mod_revision=2, version=3, lease=4)
HEADER = pb.ResponseHeader(cluster_id=11, member_id=12, revision=13, raft_term=14)
WITHOUT_REVISION = pb.ResponseHeader(cluster_id=11, member_id=12, raft_term=14)
METHODS = [(service, name) for service, rows in TRANSLATIONS.items() for name in rows]


def test_generated_modules_are_current() -> None:
    for name, text in generate().items():
        assert (ROOT / PACKAGE / name).read_text("utf-8") == text, f"{name}: run make proto"


def test_a_foreign_module_of_the_same_interface_may_be_loaded_too() -> None:
    from google.protobuf import descriptor_pb2, descriptor_pool

    foreign = descriptor_pb2.FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(foreign)
    del foreign.dependency[:], foreign.message_type[:], foreign.service[:]
    foreign.name = "rpc.proto"
    try:
        descriptor_pool.Default().FindFileByName(foreign.name)  # a client library has loaded its own already
    except KeyError:
        descriptor_pool.Default().Add(foreign)
    assert POOL.FindFileByName("kvraft/wire/etcd/rpc.proto") is pb.DESCRIPTOR


def _method(service: str, name: str) -> Any:
    return pb.DESCRIPTOR.services_by_name[service.rpartition(".")[2]].methods_by_name[name]


def _full(descriptor: Any, depth: int = 0) -> Any:
    """A message with something in every field; of a oneof, the last."""
    from google.protobuf.message_factory import GetMessageClass

    message = GetMessageClass(descriptor)()
    for number, field in enumerate(descriptor.fields, 1):
        if field.message_type is not None:
            if depth < 2:
                part = _full(field.message_type, depth + 1)
                if field.is_repeated:
                    getattr(message, field.name).append(part)
                else:
                    getattr(message, field.name).CopyFrom(part)
            continue
        value: Any = {field.TYPE_BOOL: True, field.TYPE_BYTES: b"b%d" % number, field.TYPE_STRING: f"s{number}"}.get(
            field.type, 1 if field.type == field.TYPE_ENUM else number
        )
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)
    return message


NOT_TAKEN = {
    "AuthUserAddRequest.hashedPassword",  # a hash is ours to make
    "AuthUserChangePasswordRequest.hashedPassword",
}


@pytest.mark.parametrize(("service", "name"), METHODS)
def test_every_field_of_a_request_matters(service: str, name: str) -> None:
    to_request = TRANSLATIONS[service][name][0]
    descriptor = _method(service, name).input_type
    whole = to_request(_full(descriptor))
    assert type(whole) is not type(None)
    for field in descriptor.fields:
        without = _full(descriptor)
        without.ClearField(field.name)
        ignored = f"{descriptor.name}.{field.name}" in NOT_TAKEN
        assert (to_request(without) == whole) is ignored, field.name


def test_requests() -> None:
    assert requests.to_range(_full(pb.RangeRequest.DESCRIPTOR)) == types.RangeRequest(
        b"b1", b"b2", 3, 4, True, True, True, 1, 1, 10, 11, 12, 13
    )
    assert requests.to_put(_full(pb.PutRequest.DESCRIPTOR)) == types.PutRequest(b"b1", b"b2", 3, True, True, True)
    assert requests.to_watch(_full(pb.WatchCreateRequest.DESCRIPTOR)) == types.WatchRequest(
        b"b1", b"b2", 3, True, False, True, True
    )
    assert requests.to_keep_alive(pb.LeaseKeepAliveRequest(ID=7)) == types.LeaseKeepAliveRequest(7)
    assert requests.to_user_add(pb.AuthUserAddRequest(name="n", password="p")) == types.UserAddRequest("n", "p")


def test_a_transaction() -> None:
    message = pb.TxnRequest(
        compare=[
            pb.Compare(key=b"a", target=pb.Compare.VERSION, result=pb.Compare.GREATER, version=5),
            pb.Compare(key=b"a", target=pb.Compare.CREATE, result=pb.Compare.LESS, create_revision=6),
            pb.Compare(key=b"a", target=pb.Compare.MOD, mod_revision=7),
            pb.Compare(key=b"a", target=pb.Compare.VALUE, result=pb.Compare.NOT_EQUAL, value=b"8", range_end=b"z"),
            pb.Compare(key=b"a", target=pb.Compare.LEASE, lease=9),
            pb.Compare(key=b"a", target=pb.Compare.MOD, value=b"of another kind"),
            pb.Compare(key=b"a", target=77),  # type: ignore[arg-type]
        ],
        success=[
            pb.RequestOp(request_range=pb.RangeRequest(key=b"r")),
            pb.RequestOp(request_put=pb.PutRequest(key=b"p", value=b"v")),
            pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"d", prev_kv=True)),
            pb.RequestOp(request_txn=pb.TxnRequest()),
        ],
        failure=[pb.RequestOp(request_range=pb.RangeRequest(key=b"f"))],
    )
    assert requests.to_txn(message) == types.TxnRequest(
        (
            types.Compare(b"a", 0, 1, 5),
            types.Compare(b"a", 1, 2, 6),
            types.Compare(b"a", 2, 0, 7),
            types.Compare(b"a", 3, 3, b"8", b"z"),
            types.Compare(b"a", 4, 0, 9),
            types.Compare(b"a", 2, 0, 0),
            types.Compare(b"a", 77, 0, 0),
        ),
        (
            types.RangeRequest(b"r"),
            types.PutRequest(b"p", b"v"),
            types.DeleteRangeRequest(b"d", b"", True),
            types.TxnRequest(),
        ),
        (types.RangeRequest(b"f"),),
    )


def test_an_operation_of_nothing_is_refused_as_etcd_does() -> None:
    with pytest.raises(KeyNotFound):
        requests.to_txn(pb.TxnRequest(success=[pb.RequestOp()]))


MEMBER = types.MemberInfo(5, "n", ("http://p",), ("http://c",), True)
PB_MEMBER = pb.Member(ID=5, name="n", peerURLs=["http://p"], clientURLs=["http://c"], isLearner=True)
STATUS = types.Status("0.1.0", 11, 12, "n", 21, 22, 23, 24, 13, 25, 26, True, ["e"], "3.6", 27)
ANSWERS = {
    "Range": (types.RangeResponse(13, [KV], 5, True), pb.RangeResponse(header=HEADER, kvs=[PB_KV], count=5, more=True)),
    "Put": (types.PutResponse(13, KV), pb.PutResponse(header=HEADER, prev_kv=PB_KV)),
    "DeleteRange": (
        types.DeleteRangeResponse(13, 2, [KV]),
        pb.DeleteRangeResponse(header=HEADER, deleted=2, prev_kvs=[PB_KV]),
    ),
    "Compact": (types.CompactResponse(13), pb.CompactionResponse(header=HEADER)),
    "LeaseGrant": (types.LeaseGrantResponse(13, 7, 8), pb.LeaseGrantResponse(header=HEADER, ID=7, TTL=8)),
    "LeaseRevoke": (types.LeaseRevokeResponse(13), pb.LeaseRevokeResponse(header=HEADER)),
    "LeaseTimeToLive": (
        types.LeaseTimeToLiveResponse(13, 7, 8, 9, [b"k"]),
        pb.LeaseTimeToLiveResponse(header=HEADER, ID=7, TTL=8, grantedTTL=9, keys=[b"k"]),
    ),
    "LeaseLeases": (
        types.LeaseLeasesResponse(13, [7, 8]),
        pb.LeaseLeasesResponse(header=HEADER, leases=[pb.LeaseStatus(ID=7), pb.LeaseStatus(ID=8)]),
    ),
    "MemberAdd": (
        types.MemberAddResponse(13, MEMBER, [MEMBER]),
        pb.MemberAddResponse(header=WITHOUT_REVISION, member=PB_MEMBER, members=[PB_MEMBER]),
    ),
    **{
        name: (types.MemberListResponse(13, [MEMBER]), kind(header=WITHOUT_REVISION, members=[PB_MEMBER]))
        for name, kind in {
            "MemberRemove": pb.MemberRemoveResponse,
            "MemberUpdate": pb.MemberUpdateResponse,
            "MemberList": pb.MemberListResponse,
            "MemberPromote": pb.MemberPromoteResponse,
        }.items()
    },
    "Alarm": (
        types.AlarmResponse(13, [types.AlarmMember(5, 2)]),
        pb.AlarmResponse(header=HEADER, alarms=[pb.AlarmMember(memberID=5, alarm=pb.CORRUPT)]),
    ),
    "Status": (
        STATUS,
        pb.StatusResponse(
            header=HEADER, version="3.6.0", leader=21, raftTerm=22, raftIndex=23, raftAppliedIndex=24, dbSize=25,
            dbSizeInUse=26, isLearner=True, errors=["e"], storageVersion="3.6.0", dbSizeQuota=27,
        ),
    ),
    "Defragment": (types.DefragmentResponse(13), pb.DefragmentResponse()),
    "Hash": (types.HashResponse(13, 7), pb.HashResponse(header=HEADER, hash=7)),
    "HashKV": (
        types.HashKVResponse(13, 7 + (1 << 40), 8, 9),
        pb.HashKVResponse(header=HEADER, hash=7, compact_revision=8, hash_revision=9),
    ),
    "MoveLeader": (types.MoveLeaderResponse(13), pb.MoveLeaderResponse()),
    "Downgrade": (types.DowngradeResponse(13, "3.5"), pb.DowngradeResponse(header=HEADER, version="3.5")),
    "AuthStatus": (
        types.AuthStatusResponse(13, True, 7),
        pb.AuthStatusResponse(header=HEADER, enabled=True, authRevision=7),
    ),
    "Authenticate": (types.AuthenticateResponse(13, "t"), pb.AuthenticateResponse(header=HEADER, token="t")),
    "UserGet": (types.UserGetResponse(13, ["r"]), pb.AuthUserGetResponse(header=HEADER, roles=["r"])),
    "UserList": (types.UserListResponse(13, ["u"]), pb.AuthUserListResponse(header=HEADER, users=["u"])),
    "RoleGet": (
        types.RoleGetResponse(13, [types.Permission(2, b"k", b"l")]),
        pb.AuthRoleGetResponse(header=HEADER, perm=[{"permType": 2, "key": b"k", "range_end": b"l"}]),
    ),
    "RoleList": (types.RoleListResponse(13, ["r"]), pb.AuthRoleListResponse(header=HEADER, roles=["r"])),
}  # fmt: skip


@pytest.mark.parametrize(("service", "name"), METHODS)
def test_answers(service: str, name: str) -> None:
    from google.protobuf.message_factory import GetMessageClass

    if name == "Txn":
        return  # its own test
    kind = GetMessageClass(_method(service, name).output_type)
    answer, expected = ANSWERS.get(name) or (types.AuthChangedResponse(13), kind(header=HEADER))
    made = TRANSLATIONS[service][name][1](STAMP, answer)
    assert type(made) is kind
    assert made == expected
    unset = {field.name for field in kind.DESCRIPTOR.fields} - {field.name for field, _ in made.ListFields()}
    assert unset <= {"header", "error", "downgradeInfo"}


def test_answers_with_less() -> None:
    assert responses.from_put(STAMP, types.PutResponse(13)) == pb.PutResponse(header=HEADER)
    assert responses.from_keep_alive(STAMP, types.LeaseKeepAliveResponse(13, 7, 0)) == pb.LeaseKeepAliveResponse(
        header=HEADER, ID=7
    )


def test_the_answer_to_a_transaction_has_revisions_inside() -> None:
    answer = types.TxnResponse(
        13,
        True,
        [
            types.RangeResponse(12, [KV], 1),
            types.PutResponse(13),
            types.DeleteRangeResponse(13, 1, [KV]),
            types.TxnResponse(13, False, [types.PutResponse(13, KV)]),
        ],
    )
    inner = pb.ResponseHeader(revision=13)
    assert responses.from_txn(STAMP, answer) == pb.TxnResponse(
        header=HEADER,
        succeeded=True,
        responses=[
            pb.ResponseOp(response_range=pb.RangeResponse(header=pb.ResponseHeader(revision=12), kvs=[PB_KV], count=1)),
            pb.ResponseOp(response_put=pb.PutResponse(header=inner)),
            pb.ResponseOp(response_delete_range=pb.DeleteRangeResponse(header=inner, deleted=1, prev_kvs=[PB_KV])),
            pb.ResponseOp(
                response_txn=pb.TxnResponse(
                    header=pb.ResponseHeader(),
                    responses=[pb.ResponseOp(response_put=pb.PutResponse(header=inner, prev_kv=PB_KV))],
                )
            ),
        ],
    )


def test_events() -> None:
    tombstone = types.KeyValue(b"k", b"", 0, 5, 0)
    made = responses.from_events([types.Event(0, KV, KV), types.Event(1, tombstone)])
    assert made == pb.WatchResponse(
        events=[
            kv_pb2.Event(kv=PB_KV, prev_kv=PB_KV),
            kv_pb2.Event(type=kv_pb2.Event.DELETE, kv=kv_pb2.KeyValue(key=b"k", mod_revision=5)),
        ]
    )


NUMBERS = Path(__file__).with_name("field_numbers.txt")


def test_field_numbers_are_those_of_the_interface() -> None:
    """``field_numbers.txt`` was compared with the files of etcd's own clients; nothing may move."""
    known = dict(line.rsplit(" ", 1) for line in NUMBERS.read_text("utf-8").splitlines())
    ours = {
        f"{message.full_name}.{field.name}": str(field.number)
        for file in ("rpc", "kv", "auth", "lock", "election", "health", "reflection", "reflection_v1alpha")
        for message in POOL.FindFileByName(f"kvraft/wire/etcd/{file}.proto").message_types_by_name.values()
        for field in message.fields
    }
    assert ours == known
    assert health_pb2.HealthCheckResponse.SERVICE_UNKNOWN == 3
