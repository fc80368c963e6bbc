"""HTTP/2 on a client's connection: gRPC calls, and plain HTTP for those who prefer it over version 1.1."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from google.protobuf.message import DecodeError

from kvraft.auth.identity import Credentials
from kvraft.errors import KvraftError, ProtocolError, Stopped, TooManyRequests
from kvraft.server import clients
from kvraft.server.clients import Offer
from kvraft.server.etcd.call import Call
from kvraft.server.http import app
from kvraft.server.http.access import cors_fields
from kvraft.server.http.exchange import Exchange
from kvraft.server.http.keepalive import Keepalive
from kvraft.wire.grpc import status
from kvraft.wire.grpc.head import Head
from kvraft.wire.grpc.messages import MessageDecoder, framed
from kvraft.wire.grpc.status import Internal, InvalidClientVersion, Unimplemented
from kvraft.wire.http2 import headers
from kvraft.wire.http2.connection import MAX_STREAMS, ConnectionEnds, ServerConnection
from kvraft.wire.http2.frames import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvraft.server.clients import ClientConnection
    from kvraft.server.etcd.services import EtcdServices, Method
    from kvraft.wire.http2.stream import Receiver, Stream

MAX_STREAM_HELD_BYTES = 1 << 20
"""A stream whose client leaves so much unread gets no more of what can wait."""
MAX_PARTIAL_BYTES = 64 << 20
"""Of messages that have not arrived whole, on one connection."""
FALLBACK_MIN_PING_SECONDS = 300.0
FALLBACK_INTERVAL_SECONDS = 7200.0
FALLBACK_TIMEOUT_SECONDS = 20.0
"""For flags that are 0: what gRPC does when it is told nothing, as in etcd."""
MIN_INTERVAL_SECONDS = 1.0
"""Clients are not asked more often whether they are there, as in gRPC."""


class Http2Speaker:
    """See the module, and ``clients.Speaker``."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.services: EtcdServices = connection.member.etcd
        self.partial_bytes = 0
        self.received_at = 0.0
        """When the client has sent something last; calls that come together begin together."""
        member, config = connection.member, connection.member.config
        self.http = ServerConnection(
            self,
            connection.queue,
            Head,
            trio.current_time,
            min(config.max_concurrent_streams or MAX_STREAMS, MAX_STREAMS),
            config.grpc_keepalive_min_seconds or FALLBACK_MIN_PING_SECONDS,
        )
        self._keepalive = Keepalive(
            member.timers,
            lambda: member.clock(),
            max(config.grpc_keepalive_interval_seconds or FALLBACK_INTERVAL_SECONDS, MIN_INTERVAL_SECONDS),
            config.grpc_keepalive_timeout_seconds or FALLBACK_TIMEOUT_SECONDS,
            self.http.ping,
            partial(connection.abandon, "client does not answer pings"),
        )
        self._calls: dict[GrpcCall, None] = {}
        self._held: list[Callable[[], None]] = []

    # ------------------------------------------------------------------ what the connection asks

    def receive(self, data: bytes) -> None:
        """See ``clients.Speaker``."""
        self._keepalive.received()
        self.received_at = time.monotonic()
        try:
            self.http.receive(data)
        except ConnectionEnds as end:
            raise ProtocolError(f"HTTP/2: {end}") from end
        if self._held and not self.congested:
            self._retry()

    def drained(self) -> None:
        """The socket has taken everything: who has nothing held back by flow control goes on."""
        for stream in list(self.http.streams.values()):
            if not stream.held:
                stream.receiver.drained()
        if self._held and not self.congested:
            self._retry()

    def _retry(self) -> None:
        held, self._held = self._held, []
        for retry in held:
            retry()

    def last_words(self, error: ProtocolError) -> None:
        """GOAWAY has been said."""

    def leave(self) -> None:
        """New calls go elsewhere."""
        self.http.leave()

    def ask_to_leave(self) -> bool:
        """They have been told by ``leave``."""
        return False

    def stop(self) -> None:
        """Streams end; calls of one message have been answered."""
        self.http.leave()
        for call in list(self._calls):
            call.fail(Stopped())

    def lost(self) -> None:
        """Every call is over."""
        self._keepalive.stop()
        self._held.clear()
        self.http.lost()

    @property
    def congested(self) -> bool:
        """Whether the socket, or the client's windows, hold back too much."""
        return self.connection.congested or self.http.held_bytes > clients.MAX_UNREAD_BYTES

    def hold(self, retry: Callable[[], None]) -> None:
        """Call ``retry`` once it is no longer congested."""
        self._held.append(retry)

    # ------------------------------------------------------------------ requests

    def opened(self, stream: Stream, head: Head) -> Receiver:
        """See ``http2.connection.Owner``."""
        if head.malformed:
            self.http.reset(stream, ErrorCode.PROTOCOL_ERROR)
            return app.ANSWERED
        if not head.is_grpc or Offer.GRPC not in self.connection.offer:
            exchange = Http2Exchange(self, stream, head)
            return app.opened(exchange)
        if head.refusal is not None:
            self.http.send_trailers(stream, status.trailers_only(Internal(head.refusal[1]), head.refusal[0]))
            return app.ANSWERED
        method = self.services.methods.get(head.path)
        if method is None:
            self.http.send_trailers(stream, status.trailers_only(_unknown(head.path, self.services)))
            return app.ANSWERED
        if method.unary is not None and self.congested:
            self.http.send_trailers(stream, status.trailers_only(TooManyRequests()))
            return app.ANSWERED
        call = GrpcCall(self, stream, head, method)
        self._calls[call] = None
        call.begin()
        return call

    def is_over(self, call: GrpcCall) -> None:
        """Forget a call."""
        self._calls.pop(call, None)


def _unknown(path: str, services: EtcdServices) -> KvraftError:
    service, slash, method = path.removeprefix("/").rpartition("/")
    if not slash:
        return Unimplemented(f'malformed method name: "{path}"')
    if any(known.startswith(f"/{service}/") for known in services.methods):
        return Unimplemented(f"unknown method {method} for service {service}")
    return Unimplemented(f"unknown service {service}")


class GrpcCall(Call):
    """A call on a stream of HTTP/2; the stream's receiver."""

    __slots__ = ("_asked", "_begun", "_decoder", "_head", "_speaker", "_stream")

    def __init__(self, speaker: Http2Speaker, stream: Stream, head: Head, method: Method) -> None:
        super().__init__(speaker.connection, method, speaker.received_at)
        self._speaker = speaker
        self._stream = stream
        self._head = head
        self._decoder = MessageDecoder(speaker.services.max_message_bytes, head.encoding)
        self._asked = False
        self._begun = False
        """Whether the head of the answer has been sent."""

    def begin(self) -> None:
        """What comes before the first message."""
        head = self._head
        version, started = head.client_version, self.method.started
        if version in started:
            started[version] += 1
        else:
            self.method.first_of(version)
        if version is None:
            self.fail(InvalidClientVersion())
            return
        needs_leader = head.headers.get("hasleader") == "true"
        if needs_leader or self.method.stream is not None:
            self._speaker.services.begin(self.method, self, needs_leader=needs_leader)
        if head.timeout is not None and not self.over:
            self.give(head.timeout)

    # ------------------------------------------------------------------ what the service and handlers ask

    @property
    def credentials(self) -> Credentials:
        """The token among the metadata, and the certificate's name."""
        metadata = self._head.headers
        token = metadata.get("token") or metadata.get("authorization", "")
        return Credentials(token, self.connection.common_name)

    @property
    def congested(self) -> bool:
        """See ``service.Caller``."""
        return self._speaker.congested

    @property
    def full(self) -> bool:
        """See ``Call``."""
        return self._stream.held_bytes > MAX_STREAM_HELD_BYTES or self._speaker.congested

    def hold(self, retry: Callable[[], None]) -> None:
        """See ``Call``."""
        self._speaker.hold(self._unless_over(retry))

    def send(self, message: bytes) -> None:
        """See ``Call``."""
        self.method.sent += 1
        if self._begun:
            self._speaker.http.send_data(self._stream, framed(message))
        else:
            self._begun = True
            self._speaker.http.send(self._stream, status.HEADERS, framed(message))

    def reply(self, message: bytes) -> None:
        """See ``Call``."""
        if not self.over:
            self._is_over()
            self._speaker.http.send(self._stream, status.HEADERS, framed(message), status.OK)

    def end(self) -> None:
        """See ``Call``."""
        if not self.over:
            self._is_over()
            if self._begun:
                self._speaker.http.send_trailers(self._stream, status.OK)
            else:
                self._speaker.http.send(self._stream, status.HEADERS, b"", status.OK)

    def fail(self, error: Exception) -> None:
        """See ``Call``."""
        if not self.over:
            assert isinstance(error, KvraftError)
            self._is_over(error.code)
            block = status.trailers(error) if self._begun else status.trailers_only(error)
            self._speaker.http.send_trailers(self._stream, block)

    def _is_over(self, failure: str = "") -> None:
        self._speaker.partial_bytes -= self._decoder.buffered_bytes
        self._speaker.is_over(self)
        super()._is_over(failure)

    # ------------------------------------------------------------------ what the stream brings

    def data(self, data: bytes) -> None:
        """See ``http2.stream.Receiver``."""
        decoder, speaker = self._decoder, self._speaker
        before = decoder.buffered_bytes
        try:
            messages = decoder.feed(data)
            speaker.partial_bytes += decoder.buffered_bytes - before
            if speaker.partial_bytes > MAX_PARTIAL_BYTES:
                raise TooManyRequests
            for message in messages:
                self._message(self.method.parse(message))
                if self.over:
                    return
        except KvraftError as error:
            self._misread(error)
        except DecodeError as error:
            self._misread(Internal(f"grpc: error unmarshalling request: {error}"))

    def _misread(self, error: KvraftError) -> None:
        self.method.misread += self.handler is not None
        self.fail(error)

    def _message(self, message: Any) -> None:
        self.method.received += 1
        if self.handler is not None:
            self.handler.message(message)
        elif self._asked:
            self.fail(Internal("grpc: a method of one request got another"))
        else:
            self._asked = True
            assert self.method.unary is not None
            self.method.unary(self, message)

    def half_closed(self) -> None:
        """See ``http2.stream.Receiver``."""
        if self._decoder.buffered_bytes:
            self.fail(Internal("grpc: unexpected EOF"))
        elif self.handler is not None:
            self.handler.half_closed()
        elif not self._asked:
            self.fail(Internal("grpc: a method of one request got none"))

    def lost(self) -> None:
        """The client has cancelled, or is gone. What it asked for happens; its answer goes nowhere."""
        if not self.over:
            self._is_over("Canceled")

    def drained(self) -> None:
        """See ``http2.stream.Receiver``."""
        if self.handler is not None and not self.full:
            self.handler.drained()


class Http2Exchange(Exchange):
    """An HTTP request that is not gRPC's, on a stream of HTTP/2."""

    __slots__ = ("_speaker", "_stream")

    def __init__(self, speaker: Http2Speaker, stream: Stream, head: Head) -> None:
        host = head.authority or head.headers.get("host", "")
        super().__init__(speaker.connection, head.method, head.path, head.headers, host)
        self._speaker = speaker
        self._stream = stream

    @property
    def full(self) -> bool:
        """See ``Exchange``."""
        return self._stream.held_bytes > MAX_STREAM_HELD_BYTES or self._speaker.congested

    def _head(self, code: int, content_type: str, length: int | None) -> bytes:
        fields = [(b":status", b"%d" % code), (b"content-type", content_type.encode())]
        fields += [(name.encode(), value.encode()) for name, value in cors_fields(self.origin)]
        if length is not None:
            fields.append((b"content-length", b"%d" % length))
        return headers.encode(fields)

    def respond(self, status: int, content_type: str, body: bytes) -> None:
        """See ``Exchange``."""
        block = self._head(status, content_type, len(body))
        http = self._speaker.http
        if self.method == "HEAD":
            http.send_trailers(self._stream, block)
        else:
            http.send(self._stream, block, body)
            http.send_trailers(self._stream, b"")

    def start(self, status: int, content_type: str) -> None:
        """See ``Exchange``."""
        self._speaker.http.send(self._stream, self._head(status, content_type, None))

    def write(self, data: bytes) -> None:
        """See ``Exchange``."""
        self._speaker.http.send_data(self._stream, data)

    def finish(self) -> None:
        """See ``Exchange``."""
        self._speaker.http.send_trailers(self._stream, b"")
