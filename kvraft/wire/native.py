"""The native client protocol: pipelined and multiplexed msgpack over frames.

A client opens with ``PREFACE``; from then on both sides send frames of a 4-byte request id, chosen by the client,
and one tagged msgpack array: a request of ``kvraft.types`` one way, a response or a ``Failure`` the other way.
Answers come in any order. A ``WatchRequest`` is answered by ``WatchBatch`` frames under its id until the batch with
a ``compact_revision``, a ``Failure``, or a ``WatchCancel`` of that id; a ``SnapshotRequest`` by ``SnapshotChunk``
frames until an empty one. Before it closes a connection for a breach of
these rules, the server sends a ``Failure`` under id 0.

What is replicated for a write is the request's array as it came in.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import msgspec

from kvraft.errors import BY_WIRE, KvraftError, NotLeader, OutcomeUnknown, ProtocolError
from kvraft.types import (
    PLAIN_PUT_HEAD,
    AlarmRequest,
    AuthDisableRequest,
    AuthEnableRequest,
    AuthenticateRequest,
    AuthStatusRequest,
    CompactRequest,
    DefragmentRequest,
    DeleteRangeRequest,
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
    PlainPut,
    PlainPutRequest,
    PutRequest,
    PutResponse,
    RangeRequest,
    Response,
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
    WatchBatch,
    WatchRequest,
)
from kvraft.wire.frames import HEADER_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PREFACE = b"kvraft/1\n"
ID_BYTES = 4
MAX_REQUEST_BYTES = 1_572_864
"""etcd's default limit of a request: 1.5 MiB. Frames may be a little larger, so that the error can name it."""
MAX_REQUEST_FRAME_BYTES = 2 * MAX_REQUEST_BYTES
MAX_RESPONSE_FRAME_BYTES = 1 << 30
CONNECTION_ID = bytes(ID_BYTES)
"""The request id of what concerns the whole connection."""


class WatchCancel(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Ends the watch of the same request id; what is on its way may still arrive."""


class Bearer(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=61):
    """What follows on this connection is asked by the owner of ``token``; "" by nobody again. There is no answer."""

    token: str

    def __repr__(self) -> str:
        return f"Bearer(token={'***' if self.token else ''!r})"


class WatchProgress(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Asks the watch of the same request id for a batch without events, once it has caught up."""


AuthRequest = (
    AuthEnableRequest
    | AuthDisableRequest
    | AuthStatusRequest
    | AuthenticateRequest
    | UserAddRequest
    | UserGetRequest
    | UserListRequest
    | UserDeleteRequest
    | UserChangePasswordRequest
    | UserGrantRoleRequest
    | UserRevokeRoleRequest
    | RoleAddRequest
    | RoleGetRequest
    | RoleListRequest
    | RoleDeleteRequest
    | RoleGrantPermissionRequest
    | RoleRevokePermissionRequest
)
Request = (
    RangeRequest
    | PutRequest
    | DeleteRangeRequest
    | TxnRequest
    | CompactRequest
    | WatchRequest
    | WatchCancel
    | WatchProgress
    | StatusRequest
    | LeaseGrantRequest
    | LeaseRevokeRequest
    | LeaseKeepAliveRequest
    | LeaseTimeToLiveRequest
    | LeaseLeasesRequest
    | AlarmRequest
    | DefragmentRequest
    | HashRequest
    | HashKVRequest
    | MemberAddRequest
    | MemberRemoveRequest
    | MemberUpdateRequest
    | MemberPromoteRequest
    | MemberListRequest
    | MoveLeaderRequest
    | Bearer
    | AuthRequest
    | SnapshotRequest
)


class Failure(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """An error on the wire: the number of its class, its text, and for NotLeader the leader's client URL."""

    wire: int
    message: str
    leader: str = ""


Answer = Response | Failure

_encoder = msgspec.msgpack.Encoder()
_head = struct.Struct(f">I{ID_BYTES}s").pack
_put_answer = struct.Struct(f">I{ID_BYTES}sHBQB")
_request_decoder: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_plain_put_decoder: msgspec.msgpack.Decoder[PlainPut] = msgspec.msgpack.Decoder(PlainPut)
_answer_decoder: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def encode_request(request_id: bytes, request: Request | PlainPutRequest) -> bytes:
    """One whole frame, header included."""
    body = _encoder.encode(request)
    return _head(ID_BYTES + len(body), request_id) + body


def encode_request_body(request: Request) -> bytes:
    """A request without frame and id: what a log entry holds, and what members ask each other."""
    if type(request) is PutRequest and not (
        request.lease or request.prev_kv or request.ignore_value or request.ignore_lease
    ):
        return _encoder.encode(PlainPutRequest(request.key, request.value))
    return _encoder.encode(request)


def encode_answer(request_id: bytes, answer: Response | Failure) -> bytes:
    """One whole frame, header included."""
    body = _encoder.encode(answer)
    return _head(ID_BYTES + len(body), request_id) + body


def encode_answers(request_ids: Iterable[bytes], answers: Iterable[Response | KvraftError]) -> bytes:
    """The frames of what has come to several requests.

    Most answers are a ``PutResponse`` without ``prev_kv``, of which all but two numbers is known: it is an array of
    three, the tag 2, the revision (64 bits whatever it is), and nil.
    """
    pack, size = _put_answer.pack, _put_answer.size - HEADER_BYTES
    return b"".join(
        [
            pack(size, request_id, 0x9302, 0xCF, answer.revision, 0xC0)
            if type(answer) is PutResponse and answer.prev_kv is None
            else encode_answer(request_id, to_failure(answer) if isinstance(answer, KvraftError) else answer)
            for request_id, answer in zip(request_ids, answers, strict=True)
        ]
    )


def encode_body(answer: Request | Response | Failure) -> bytes:
    """An answer without frame and id, for those that go to several requests; see ``frame_body``."""
    return _encoder.encode(answer)


def frame_body(request_id: bytes, body: bytes) -> bytes:
    """The frame of an encoded answer."""
    return _head(ID_BYTES + len(body), request_id) + body


def encode_events(batch: WatchBatch) -> bytes:
    """A batch's events one behind the other, as a part of a larger one; see ``batch_frame``."""
    return _encoder.encode(batch.events)[len(_array_head(len(batch.events))) :]


def batch_frame(request_id: bytes, batch: WatchBatch, parts: Sequence[bytes]) -> list[bytes]:
    """The frame of a batch whose events are encoded in ``parts``, in pieces: what is large is not copied."""
    head = b"".join(
        (
            request_id,
            _array_head(len(batch.__struct_fields__) + 1),  # its tag comes first
            _encoder.encode(batch.__struct_config__.tag),
            _encoder.encode(batch.revision),
            _array_head(len(batch.events)),
        )
    )
    tail = _encoder.encode(batch.compact_revision)
    size = len(head) + sum(map(len, parts)) + len(tail)
    return [size.to_bytes(HEADER_BYTES) + head, *parts, tail]


def _array_head(length: int) -> bytes:
    """How msgpack begins an array."""
    if length < 1 << 4:
        return bytes((0x90 | length,))
    return b"\xdc" + length.to_bytes(2) if length < 1 << 16 else b"\xdd" + length.to_bytes(4)


def decode_request(body: bytes) -> Request:
    """The request of a frame's body (what follows the id). Raises ``ProtocolError``."""
    try:
        return _request_decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ProtocolError(f"malformed request: {error}") from error


def are_plain_puts(bodies: Sequence[bytes]) -> bool:
    """Whether all of these requests plainly put a value: ``PlainPut``. ``decode_request`` takes all that this takes."""
    if not bodies or bodies[0][: len(PLAIN_PUT_HEAD)] != PLAIN_PUT_HEAD:
        return False
    try:
        list(map(_plain_put_decoder.decode, bodies))
    except msgspec.MsgspecError:
        return False
    return True


def decode_requests(bodies: Sequence[bytes]) -> list[Request | ProtocolError]:
    """``decode_request`` of each of them; the first that is malformed ends the list, as the error."""
    try:
        return list(map(_request_decoder.decode, bodies))
    except (msgspec.MsgspecError, RecursionError):
        return _until_malformed(iter(bodies))


def _until_malformed(bodies: Iterator[bytes]) -> list[Request | ProtocolError]:
    """There is one that is."""
    requests: list[Request | ProtocolError] = []
    while True:
        try:
            requests.append(decode_request(next(bodies)))
        except ProtocolError as error:
            return [*requests, error]


def decode_answer(body: bytes) -> Response | KvraftError:
    """The answer of a frame's body. Raises ``ProtocolError``."""
    try:
        answer = _answer_decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ProtocolError(f"malformed answer: {error}") from error
    return to_error(answer) if isinstance(answer, Failure) else answer


def decode_answers(bodies: Sequence[bytes]) -> Iterable[Response | KvraftError]:
    """``decode_answer`` of each of them; where one is malformed, iterating raises in its place."""
    try:
        answers = list(map(_answer_decoder.decode, bodies))
    except (msgspec.MsgspecError, RecursionError):
        return map(decode_answer, bodies)
    return map(decode_answer, bodies) if Failure in map(type, answers) else answers  # type: ignore[return-value]


def to_failure(error: KvraftError) -> Failure:
    """What is sent for an error."""
    return Failure(error.wire, str(error), error.leader if isinstance(error, NotLeader) else "")


def to_error(failure: Failure) -> KvraftError:
    """The error that was sent. What this side does not know, or has no number, is not taken for a definite end."""
    kind = BY_WIRE.get(failure.wire, OutcomeUnknown) if failure.wire else OutcomeUnknown
    if kind is NotLeader:
        return NotLeader(failure.message, failure.leader)
    return kind(failure.message)
