"""What a client sends and gets is what the server's translations take and give: nothing is lost on the way and back."""

from __future__ import annotations

from typing import Any

import pytest

from kvraft import errors, types
from kvraft.errors import BY_WIRE, KvraftError
from kvraft.wire.etcd import answers, asks, kv_pb2, requests, responses
from kvraft.wire.etcd import rpc_pb2 as pb
from kvraft.wire.etcd.calls import METHODS
from kvraft.wire.etcd.failures import to_cancel, to_error
from kvraft.wire.etcd.methods import TRANSLATIONS
from kvraft.wire.etcd.stamp import Stamp
from kvraft.wire.grpc.answer import AnswerHead
from kvraft.wire.grpc.status import CODES

STAMP = Stamp(11, 12, lambda: 14)
KV = types.KeyValue(b"k", b"v", 1, 2, 3, 4)
MEMBER = types.MemberInfo(5, "m", ("http://p",), ("http://c",), True)
OPERATIONS = (
    types.RangeRequest(b"r", b"s", 1, 2, True, True, True, 1, 2, 3, 4, 5, 6),
    types.PutRequest(b"p", b"v", 1, True, True, True),
    types.DeleteRangeRequest(b"d", b"e", True),
    types.TxnRequest(),
)
GUARDS = tuple(types.Compare(b"k", target, 1, b"8" if target == 3 else 7, b"l") for target in types.CompareTarget)
ANSWERS = [
    types.RangeResponse(13, [KV], 5, True),
    types.PutResponse(13, KV),
    types.DeleteRangeResponse(13, 1, [KV]),
    types.TxnResponse(0, False, []),
]

PAIRS: list[tuple[Any, Any]] = [
    (OPERATIONS[0], ANSWERS[0]),
    (OPERATIONS[1], ANSWERS[1]),
    (types.PutRequest(b"k", b""), types.PutResponse(13)),
    (OPERATIONS[2], ANSWERS[2]),
    (types.TxnRequest(GUARDS, OPERATIONS, OPERATIONS[:1]), types.TxnResponse(13, True, list(ANSWERS))),
    (types.CompactRequest(5, True), types.CompactResponse(13)),
    (types.LeaseGrantRequest(60, 7), types.LeaseGrantResponse(13, 7, 60)),
    (types.LeaseRevokeRequest(7), types.LeaseRevokeResponse(13)),
    (types.LeaseTimeToLiveRequest(7, True), types.LeaseTimeToLiveResponse(13, 7, 50, 60, [b"k"])),
    (types.LeaseLeasesRequest(), types.LeaseLeasesResponse(13, [7, 8])),
    (types.MemberAddRequest(("http://p",), True), types.MemberAddResponse(0, MEMBER, [MEMBER])),
    (types.MemberRemoveRequest(5), types.MemberListResponse(0, [MEMBER])),
    (types.MemberUpdateRequest(5, ("http://p",)), types.MemberListResponse(0, [MEMBER])),
    (types.MemberPromoteRequest(5), types.MemberListResponse(0, [MEMBER])),
    (types.MemberListRequest(True), types.MemberListResponse(0, [MEMBER])),
    (types.AlarmRequest(1, 5, 2), types.AlarmResponse(13, [types.AlarmMember(5, 1)])),
    (
        types.StatusRequest(),
        types.Status("3.6.0", 11, 12, "", 9, 14, 20, 19, 13, 100, 50, True, ["NOSPACE"], "3.6.0", 200),
    ),
    (types.DefragmentRequest(), types.DefragmentResponse(0)),
    (types.HashRequest(), types.HashResponse(13, 77)),
    (types.HashKVRequest(6), types.HashKVResponse(13, 77, 3, 6)),
    (types.MoveLeaderRequest(5), types.MoveLeaderResponse(0)),
    (types.AuthEnableRequest(), types.AuthChangedResponse(13)),
    (types.AuthDisableRequest(), types.AuthChangedResponse(13)),
    (types.AuthStatusRequest(), types.AuthStatusResponse(13, True, 3)),
    (types.AuthenticateRequest("u", "p"), types.AuthenticateResponse(13, "t")),
    (types.UserAddRequest("u", "p", True), types.AuthChangedResponse(13)),
    (types.UserGetRequest("u"), types.UserGetResponse(13, ["r"])),
    (types.UserListRequest(), types.UserListResponse(13, ["u"])),
    (types.UserDeleteRequest("u"), types.AuthChangedResponse(13)),
    (types.UserChangePasswordRequest("u", "p"), types.AuthChangedResponse(13)),
    (types.UserGrantRoleRequest("u", "r"), types.AuthChangedResponse(13)),
    (types.UserRevokeRoleRequest("u", "r"), types.AuthChangedResponse(13)),
    (types.RoleAddRequest("r"), types.AuthChangedResponse(13)),
    (types.RoleGetRequest("r"), types.RoleGetResponse(13, [types.Permission(1, b"k", b"l")])),
    (types.RoleListRequest(), types.RoleListResponse(13, ["r"])),
    (types.RoleDeleteRequest("r"), types.AuthChangedResponse(13)),
    (
        types.RoleGrantPermissionRequest("r", types.Permission(2, b"k", b"l")),
        types.AuthChangedResponse(13),
    ),
    (types.RoleRevokePermissionRequest("r", b"k", b"l"), types.AuthChangedResponse(13)),
]


def test_every_method_is_here() -> None:
    here = {type(request) for request, _ in PAIRS} | {types.LeaseKeepAliveRequest, types.PlainPutRequest}
    assert here == set(METHODS)
    assert len({method.path for method in METHODS.values()}) == len(METHODS) - 1, "a plain put is a put"


def test_a_plain_put_is_asked_as_the_put_that_it_is() -> None:
    method = METHODS[types.PlainPutRequest]
    assert (method.path, method.to_answer) == (METHODS[types.PutRequest].path, METHODS[types.PutRequest].to_answer)
    plain, whole = types.PlainPutRequest(b"k", b"v"), types.PutRequest(b"k", b"v")
    assert method.to_message(plain) == METHODS[types.PutRequest].to_message(whole)


@pytest.mark.parametrize(("request_", "answer"), PAIRS, ids=lambda each: type(each).__name__)
def test_what_is_asked_and_answered_comes_through(request_: Any, answer: Any) -> None:
    method = METHODS[type(request_)]
    service, name = method.path.removeprefix("/").split("/")
    to_request, from_answer = TRANSLATIONS[service][name]
    message = method.to_message(request_)
    assert to_request(type(message).FromString(message.SerializeToString())) == request_
    assert method.to_answer(method.parse(from_answer(STAMP, answer).SerializeToString())) == answer


def test_renewals_and_events_come_through() -> None:
    method = METHODS[types.LeaseKeepAliveRequest]
    assert requests.to_keep_alive(method.to_message(types.LeaseKeepAliveRequest(7))) == types.LeaseKeepAliveRequest(7)
    renewed = types.LeaseKeepAliveResponse(13, 7, 60)
    assert method.to_answer(method.parse(responses.from_keep_alive(STAMP, renewed).SerializeToString())) == renewed
    gone = types.Event(1, types.KeyValue(b"k", b"", 0, 9, 0), KV)
    events = [types.Event(0, KV), gone]
    assert [answers.to_event(each) for each in responses.from_events(events).events] == events


@pytest.mark.parametrize("flags", [(True, False, True, False), (False, True, False, True)])
def test_watches_come_through(flags: tuple[bool, ...]) -> None:
    request = types.WatchRequest(b"k", b"l", 5, *flags)
    create = asks.to_message_watch(request).create_request
    assert requests.to_watch(create) == request
    assert create.fragment


def test_a_permission_that_is_not_given_stays_so() -> None:
    message = asks.to_message_grant_permission(types.RoleGrantPermissionRequest("r", None))
    assert not message.HasField("perm")
    assert requests.to_role_grant_permission(message).permission is None


def test_an_operation_that_is_answered_with_nothing_is_no_answer() -> None:
    with pytest.raises(KvraftError):
        answers.to_txn(pb.TxnResponse(responses=[pb.ResponseOp()]))


def test_errors_are_known_by_their_texts() -> None:
    for kind in BY_WIRE.values():
        if kind.text.startswith("etcdserver: ") and kind is not errors.Stopped:
            assert type(to_error(CODES[kind.code], kind.text)) is kind


@pytest.mark.parametrize(
    ("code", "text", "kind", "definite"),
    [
        ("Unavailable", "etcdserver: server stopped", errors.OutcomeUnknown, False),
        ("Unavailable", "a proxy's own words", errors.OutcomeUnknown, False),
        ("Unknown", "context canceled", errors.OutcomeUnknown, False),
        ("Internal", "stream terminated", errors.OutcomeUnknown, False),
        ("DeadlineExceeded", "context deadline exceeded", errors.DeadlineExceeded, False),
        ("ResourceExhausted", "grpc: received message larger than max (2 vs. 1)", errors.RequestTooLarge, True),
        ("ResourceExhausted", "trying to send message larger than max (2 vs. 1)", errors.AnswerTooLarge, True),
        ("ResourceExhausted", "quota of a proxy", errors.KvraftError, True),
        ("Unimplemented", "unknown service", errors.NotSupported, True),
        ("Unauthenticated", "no", errors.InvalidAuthToken, True),
        ("PermissionDenied", "no", errors.PermissionDenied, True),
    ],
)
def test_what_is_not_known_is_not_taken_for_a_definite_end(
    code: str, text: str, kind: type[KvraftError], definite: bool
) -> None:
    error = to_error(CODES[code], text)
    assert (type(error), str(error), error.definite) == (kind, text, definite)


@pytest.mark.parametrize(
    ("reason", "kind", "text"),
    [
        ("etcdserver: no leader", errors.NoLeader, errors.NoLeader.text),
        ("mvcc: required revision has been compacted", errors.Compacted, errors.Compacted.text),
        (
            "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
            errors.PermissionDenied,
            errors.PermissionDenied.text,
        ),
        (
            "mvcc: watcher range is empty",
            errors.WatchCanceled,
            "etcdserver: watch canceled: mvcc: watcher range is empty",
        ),
        ("", errors.WatchCanceled, "etcdserver: watch canceled"),
    ],
)
def test_why_a_watch_was_cancelled(reason: str, kind: type[KvraftError], text: str) -> None:
    error = to_cancel(reason)
    assert (type(error), str(error)) == (kind, text)


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ([(b":status", b"200"), (b"content-type", b"application/grpc+proto")], None, ""),
        ([(b"grpc-status", b"0")], 0, ""),
        ([(b"grpc-status", b"5"), (b"grpc-message", b"50%25 %E2%82%AC")], 5, "50% €"),
        ([(b"grpc-status", b"x")], 2, ""),
        ([(b"grpc-status", b"1234567")], 2, ""),
        ([(b":status", b"503")], 14, "unexpected HTTP status code received from server: 503"),
        ([(b":status", b"301")], 2, "unexpected HTTP status code received from server: 301"),
        ([(b":status", b"200"), (b"content-type", b"text/html")], 2, 'received unexpected content-type "text/html"'),
        ([(b":status", b"103")], None, ""),
        ([], None, ""),
    ],
)
def test_heads_of_answers(fields: list[tuple[bytes, bytes]], status: int | None, message: str) -> None:
    head = AnswerHead(fields)
    assert (head.status, head.message) == (status, message)
    assert head.is_informational is (fields == [(b":status", b"103")])


def test_events_without_content_are_read_as_they_are() -> None:
    assert answers.to_event(kv_pb2.Event()) == types.Event(0, types.KeyValue(b"", b"", 0, 0, 0))
