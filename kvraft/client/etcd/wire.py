"""Requests as calls of etcd's methods, on one connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import trio

from kvraft.client.etcd.call import Call, VersionCall
from kvraft.client.etcd.watch import WatchCall
from kvraft.errors import NotSupported, ProtocolError, RequestTooLarge, TooManyRequests, Unavailable
from kvraft.types import RangeRequest, Status, StatusRequest, TxnRequest, WatchRequest
from kvraft.version import VERSION
from kvraft.wire import native
from kvraft.wire.etcd import rpc_pb2 as pb
from kvraft.wire.etcd.asks import to_message_watch
from kvraft.wire.etcd.calls import METHODS, WATCH_PATH
from kvraft.wire.grpc.answer import AnswerHead
from kvraft.wire.grpc.messages import framed
from kvraft.wire.http2 import headers
from kvraft.wire.http2.client import ClientConnection, ConnectionEnds, TooManyWaiting

if TYPE_CHECKING:
    from kvraft.channel import Channel
    from kvraft.client.connection import Answer, Handle

_PROGRESS = framed(pb.WatchRequest(progress_request=pb.WatchProgressRequest()).SerializeToString())
_STATUS_ID = b"status"
"""The id of our own question, which no caller's is."""


def tells_progress(version: str) -> bool:
    """Whether an etcd of this version answers requests for progress truly: earlier ones answer too soon.

    As kube-apiserver has it: from 3.4.31 in the series 3.4, from 3.5.13 in all later ones.
    """
    try:
        number = tuple(int(part) for part in version.partition("-")[0].split("."))
    except ValueError:
        return False
    return number >= (3, 5, 13) or (3, 4, 31) <= number < (3, 5)


def _only_reads(request: native.Request) -> bool:
    if isinstance(request, TxnRequest):
        return all(isinstance(operation, RangeRequest) for operation in (*request.success, *request.failure))
    return isinstance(request, RangeRequest)


class EtcdWire:
    """See ``connection.Wire``."""

    def __init__(self, url: str, channel: Channel, max_request_bytes: int, handle: Handle) -> None:
        parts = urlsplit(url)
        self._handle = handle
        self.partial_bytes = 0
        self.calls: dict[bytes, Call] = {}
        self.http: ClientConnection[AnswerHead] = ClientConnection(channel.queue, AnswerHead, trio.current_time)
        self._scheme = parts.scheme.encode()
        self._authority = parts.netloc.encode()
        self._max_request_bytes = max_request_bytes
        self._token = ""
        self._blocks: dict[str, bytes] = {}
        self._version: str | None = None

    def handle(self, request_id: bytes, answer: Answer, size: int) -> None:
        """Hand on what a call has come to."""
        self._handle([(request_id, answer, size)])

    @property
    def leaving(self) -> bool:
        """See ``connection.Wire``."""
        return self.http.leaving

    @property
    def tells_progress(self) -> bool:
        """See ``connection.Wire``. A member whose version is not known yet is not asked."""
        return self._version is None or tells_progress(self._version)

    def send(self, request_id: bytes, request: native.Request) -> None:
        """See ``connection.Wire``."""
        if isinstance(request, native.Bearer):
            self._token = request.token
            self._blocks.clear()
        elif isinstance(request, native.WatchProgress):
            self._ask_progress(self.calls.get(request_id))
        elif isinstance(request, native.WatchCancel):
            self.forget(request_id)
        elif isinstance(request, WatchRequest):
            if self._version is None:
                self._ask_version()
            watch = WatchCall(self, request_id, request)
            self._open(watch, WATCH_PATH, to_message_watch(request), ends=False)
        else:
            self._call(request_id, request)

    def _ask_progress(self, watch: Call | None) -> None:
        if watch is None or self._version is None or not self.tells_progress:
            return
        if watch.stream.stream_id and not watch.stream.held:  # else earlier questions have not gone yet
            self.http.say(watch.stream, _PROGRESS)

    def _call(self, request_id: bytes, request: native.Request) -> None:
        method = METHODS.get(type(request))
        if method is None:
            raise NotSupported(f"{type(request).__name__} is not in etcd's protocol")
        self._open(
            Call(self, request_id, method, reads=_only_reads(request)),
            method.path,
            method.to_message(request),
            ends=True,
        )

    def _open(self, call: Call, path: str, message: Any, *, ends: bool) -> None:
        data = message.SerializeToString()
        if len(data) > self._max_request_bytes:
            raise RequestTooLarge
        if self.http.leaving:
            raise Unavailable("the member takes no more requests on this connection")
        try:
            call.stream = self.http.request(self._block(path), framed(data), call, ends=ends)
        except TooManyWaiting as error:
            raise TooManyRequests from error
        self.calls[call.request_id] = call

    def _block(self, path: str) -> bytes:
        block = self._blocks.get(path)
        if block is None:
            fields = [
                (b":method", b"POST"),
                (b":scheme", self._scheme),
                (b":path", path.encode()),
                (b":authority", self._authority),
                (b"content-type", b"application/grpc"),
                (b"te", b"trailers"),
                (b"user-agent", b"kvraft/%s" % VERSION.encode()),
            ]
            if self._token:
                fields.append((b"token", self._token.encode()))
            if path == WATCH_PATH:  # a member that has lost the others ends it, so that it can go on elsewhere
                fields.append((b"hasleader", b"true"))
            block = self._blocks[path] = headers.encode(fields)
        return block

    def forget(self, request_id: bytes) -> None:
        """See ``connection.Wire``."""
        call = self.calls.get(request_id)
        if call is not None:
            self.http.cancel(call.stream)
            call.end()

    def receive(self, data: bytes) -> None:
        """See ``connection.Wire``."""
        try:
            self.http.receive(data)
        except ConnectionEnds as end:
            raise ProtocolError(f"HTTP/2: {end}") from end

    def _ask_version(self) -> None:
        if _STATUS_ID not in self.calls:
            method = METHODS[StatusRequest]
            self._open(VersionCall(self, _STATUS_ID, method), method.path, pb.StatusRequest(), ends=True)

    def learned(self, answer: Answer) -> None:
        """What the member says of itself; one that does not is taken for an old one."""
        self._version = answer.version if isinstance(answer, Status) else ""
