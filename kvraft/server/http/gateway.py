"""The JSON gateway: etcd's services by POST, a message as JSON each way, as grpc-gateway translates them.

Names are the interface's own, zero fields are left out, unknown fields ignored, bytes are base64 and 64-bit numbers
strings. Streams are sequences of JSON objects both ways, each answer in ``{"result": ...}``.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import orjson
from google.protobuf import json_format

from kvraft.auth.identity import Credentials
from kvraft.errors import InvalidArgument, KvraftError
from kvraft.server.etcd.call import Call
from kvraft.server.http.app import ANSWERED
from kvraft.server.http.exchange import JSON, PLAIN_TEXT
from kvraft.wire.etcd.from_json import from_json
from kvraft.wire.grpc.head import UNKNOWN_VERSION
from kvraft.wire.grpc.status import CODES, MessageTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvraft.server.etcd.services import Method
    from kvraft.server.http.exchange import Exchange
    from kvraft.types import WatchBatch
    from kvraft.wire.etcd import rpc_pb2 as pb
    from kvraft.wire.http2.stream import Receiver

MAX_STREAMED_BYTES = 256 << 10
"""Of one object of a stream of requests."""

_SERVICES = {
    "/v3/kv/": "etcdserverpb.KV",
    "/v3/lease/": "etcdserverpb.Lease",
    "/v3/kv/lease/": "etcdserverpb.Lease",
    "/v3/cluster/member/": "etcdserverpb.Cluster",
    "/v3/maintenance/": "etcdserverpb.Maintenance",
    "/v3/auth/": "etcdserverpb.Auth",
    "/v3/auth/user/": "etcdserverpb.Auth",
    "/v3/auth/role/": "etcdserverpb.Auth",
    "/v3/lock/": "v3lockpb.Lock",
    "/v3/election/": "v3electionpb.Election",
}
_METHODS = """
/v3/kv/             range Range  put Put  deleterange DeleteRange  txn Txn  compaction Compact
/v3/lease/          grant LeaseGrant  revoke LeaseRevoke  keepalive LeaseKeepAlive  timetolive LeaseTimeToLive
/v3/lease/          leases LeaseLeases
/v3/kv/lease/       revoke LeaseRevoke  timetolive LeaseTimeToLive  leases LeaseLeases
/v3/cluster/member/ add MemberAdd  remove MemberRemove  update MemberUpdate  list MemberList  promote MemberPromote
/v3/maintenance/    alarm Alarm  status Status  defragment Defragment  hash Hash  hashkv HashKV  snapshot Snapshot
/v3/maintenance/    transfer-leadership MoveLeader  downgrade Downgrade
/v3/auth/           enable AuthEnable  disable AuthDisable  status AuthStatus  authenticate Authenticate
/v3/auth/user/      add UserAdd  get UserGet  list UserList  delete UserDelete  changepw UserChangePassword
/v3/auth/user/      grant UserGrantRole  revoke UserRevokeRole
/v3/auth/role/      add RoleAdd  get RoleGet  list RoleList  delete RoleDelete  grant RoleGrantPermission
/v3/auth/role/      revoke RoleRevokePermission
/v3/lock/           lock Lock  unlock Unlock
/v3/election/       campaign Campaign  proclaim Proclaim  leader Leader  observe Observe  resign Resign
"""
HTTP_STATUS = {
    "Canceled": 408,
    "Unknown": 500,
    "InvalidArgument": 400,
    "DeadlineExceeded": 504,
    "NotFound": 404,
    "AlreadyExists": 409,
    "PermissionDenied": 403,
    "ResourceExhausted": 429,
    "FailedPrecondition": 412,
    "Aborted": 409,
    "OutOfRange": 400,
    "Unimplemented": 501,
    "Internal": 500,
    "Unavailable": 503,
    "DataLoss": 500,
    "Unauthenticated": 401,
}


def _paths() -> dict[str, str]:
    paths = {"/v3/watch": "/etcdserverpb.Watch/Watch"}
    for line in _METHODS.strip().splitlines():
        prefix, *names = line.split()
        for name, method in zip(names[::2], names[1::2], strict=True):
            paths[prefix + name] = f"/{_SERVICES[prefix]}/{method}"
    return paths


PATHS = _paths()
"""gRPC's path by HTTP's."""


def opened(exchange: Exchange) -> Receiver:
    """Begin a call. See ``app.opened``."""
    path = PATHS.get(exchange.path)
    if path is None:
        exchange.respond(404, PLAIN_TEXT, b"Not Found\n")
        return ANSWERED
    if exchange.method != "POST":
        exchange.respond(405, PLAIN_TEXT, b"Method Not Allowed\n")
        return ANSWERED
    call = JsonCall(exchange, exchange.connection.member.etcd.methods[path])
    call.begin()
    return call


class JsonCall(Call):
    """A call whose messages are JSON; the receiver of its exchange."""

    __slots__ = ("_begun", "_body", "_exchange", "_limit")

    def __init__(self, exchange: Exchange, method: Method) -> None:
        super().__init__(exchange.connection, method, time.monotonic())
        self._exchange = exchange
        self._body = bytearray()
        # Base64 makes four bytes of three; and there are names and brackets.
        whole = 2 * exchange.connection.member.etcd.max_message_bytes
        self._limit = whole if method.unary is not None else MAX_STREAMED_BYTES
        self._begun = False

    def begin(self) -> None:
        """What comes before the first message."""
        started = self.method.started
        started[UNKNOWN_VERSION] = started.get(UNKNOWN_VERSION, 0) + 1  # the gateway is the client here
        needs_leader = self._metadata("hasleader") == "true"
        self.connection.member.etcd.begin(self.method, self, needs_leader=needs_leader)

    def _metadata(self, name: str) -> str:
        """What gRPC's clients send as metadata comes with a prefix."""
        return self._exchange.headers.get(f"grpc-metadata-{name}", "")

    # ------------------------------------------------------------------ what the service and handlers ask

    @property
    def credentials(self) -> Credentials:
        """The token of ``Authorization``, and the certificate's name."""
        token = self._exchange.headers.get("authorization") or self._metadata("token")
        return Credentials(token, self.connection.common_name)

    @property
    def congested(self) -> bool:
        """See ``service.Caller``."""
        return self._exchange.full

    def hold(self, retry: Callable[[], None]) -> None:
        """See ``Call``."""
        self.connection.hold(self._unless_over(retry))

    def send(self, message: bytes) -> None:
        """See ``Call``."""
        if not self.over:
            self.method.sent += 1
            self._start(200)
            self._exchange.write(orjson.dumps({"result": self._to_json(message)}) + b"\n")

    def encode_events(self, batch: WatchBatch) -> bytes:
        """See ``Call``."""
        return self.connection.member.etcd.json_events(batch)

    def send_events(self, head: pb.WatchResponse, parts: Sequence[bytes]) -> None:
        """See ``Call``. What is large is not copied."""
        parts = [part for part in parts if part]
        if not parts:
            self.send(head.SerializeToString())
        elif not self.over:
            self.method.sent += 1
            self._start(200)
            fields = orjson.dumps(json_format.MessageToDict(head, preserving_proto_field_name=True))
            self._exchange.write(b'{"result":' + fields.removesuffix(b"}") + b',"events":[')
            for place, part in enumerate(parts):
                self._exchange.write(b"," + part if place else part)
            self._exchange.write(b"]}}\n")

    def reply(self, message: bytes) -> None:
        """See ``Call``."""
        if not self.over:
            self._is_over()
            self._exchange.respond(200, JSON, orjson.dumps(self._to_json(message)))

    def end(self) -> None:
        """See ``Call``."""
        if not self.over:
            self._is_over()
            self._start(200)
            self._exchange.finish()

    def fail(self, error: Exception) -> None:
        """See ``Call``."""
        if self.over:
            return
        assert isinstance(error, KvraftError)
        self._is_over(error.code)
        text, code, http_status = str(error), CODES[error.code], HTTP_STATUS[error.code]
        if not self._begun:
            body = {"error": text, "code": code, "message": text}
            self._exchange.respond(http_status, JSON, orjson.dumps(body))
            return
        failure = {"grpc_code": code, "http_code": http_status, "message": text}
        self._exchange.write(orjson.dumps({"error": failure}) + b"\n")
        self._exchange.finish()

    def _start(self, http_status: int) -> None:
        if not self._begun:
            self._begun = True
            self._exchange.start(http_status, JSON)

    def _to_json(self, message: bytes) -> Any:
        return json_format.MessageToDict(self.method.answers.FromString(message), preserving_proto_field_name=True)

    # ------------------------------------------------------------------ what the exchange brings

    def data(self, data: bytes) -> None:
        """See ``http2.stream.Receiver``."""
        if self.over:
            return
        self._body += data
        try:
            if self.handler is not None and b"}" in data:
                self._take_objects()
            if len(self._body) > self._limit:
                raise MessageTooLarge(f"{MessageTooLarge.text} ({len(self._body)} vs. {self._limit})")
        except KvraftError as error:
            self.fail(error)

    def _take_objects(self) -> None:
        """The objects that have come whole; more of the last one may be on its way."""
        try:
            text = self._body.decode().lstrip()
            while text and self.handler is not None:
                found, end = json.JSONDecoder().raw_decode(text)
                text = text[end:].lstrip()
                self._body = bytearray(text.encode())
                self.handler.message(self._from_json(found))
        except (ValueError, RecursionError):
            return

    def _from_json(self, found: object) -> Any:
        """The message that an object says. Raises InvalidArgument."""
        message = from_json(found, self.method.request())
        self.method.received += 1
        return message

    def half_closed(self) -> None:
        """See ``http2.stream.Receiver``."""
        if self.over:
            return
        try:
            body = bytes(self._body).strip()
            if self.handler is not None:
                if body:
                    raise KvraftError("unexpected EOF")
                self.handler.half_closed()
            else:
                assert self.method.unary is not None
                self.method.unary(self, self._from_json(orjson.loads(body) if body else {}))
        except orjson.JSONDecodeError as error:
            self.fail(InvalidArgument("unexpected EOF" if error.pos >= len(body) else str(error)))
        except KvraftError as error:
            self.fail(error)

    def lost(self) -> None:
        """See ``http2.stream.Receiver``."""
        if not self.over:
            self._is_over("Canceled")

    def drained(self) -> None:
        """See ``http2.stream.Receiver``."""
        if self.handler is not None and not self.full:
            self.handler.drained()
