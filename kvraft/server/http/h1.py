"""HTTP/1.1 on a client's connection: requests in order, keep-alive, answers whole or in chunks."""

from __future__ import annotations

from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING

import httptools

from kvraft.errors import ProtocolError
from kvraft.server.http import app
from kvraft.server.http.access import cors_fields
from kvraft.server.http.exchange import PLAIN_TEXT, Exchange

if TYPE_CHECKING:
    from kvraft.server.clients import ClientConnection
    from kvraft.wire.http2.stream import Receiver

MAX_HEAD_BYTES = 64 << 10
MAX_HEADERS = 128
MAX_PIPELINED = 32
MAX_PIPELINED_BYTES = 4 << 20
"""What may be sent ahead of the answer that is due."""


class BadRequest(ProtocolError):
    """What the client sent is no request of HTTP/1.1; ``status`` is told."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP/1.1: {text}")
        self.status = status


class Waiting:
    """A request whose turn has not come: what has arrived of it."""

    __slots__ = ("body", "complete", "exchange")

    def __init__(self, exchange: Http1Exchange) -> None:
        self.exchange = exchange
        self.body: list[bytes] = []
        self.complete = False


class Http1Speaker:
    """See the module, and ``clients.Speaker``. The methods named ``on_*`` are httptools'."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._in_head = True
        self._waiting: deque[Waiting] = deque()
        self._waiting_bytes = 0
        self._current: Http1Exchange | None = None
        self._receiver: Receiver | None = None
        self._arriving: Waiting | None = None
        """The request whose body comes, when its turn has not come."""
        self._deaf = False
        """The last request that will be answered has come whole."""
        self._leaving = False
        self._turning = False

    # ------------------------------------------------------------------ what the connection asks

    def receive(self, data: bytes) -> None:
        """See ``clients.Speaker``."""
        if self._deaf:
            return
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._deaf = True  # it has been answered in this protocol, and is the last
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            raise cause if isinstance(cause, BadRequest) else BadRequest(400, "malformed request") from error
        except httptools.HttpParserError as error:
            if not self._deaf:
                raise BadRequest(400, str(error)) from error
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            raise BadRequest(431, "the head is too long")

    def drained(self) -> None:
        """See ``clients.Speaker``."""
        if self._receiver is not None:
            self._receiver.drained()

    def last_words(self, error: ProtocolError) -> None:
        """The status of a bad request, unless an answer is under way already."""
        if isinstance(error, BadRequest) and self._current is None:
            self.connection.queue(head(error.status, PLAIN_TEXT, len(str(error)) + 1, keep=False))
            self.connection.queue(f"{error}\n".encode())

    def leave(self) -> None:
        """The next answer is the last."""
        self._leaving = True

    def ask_to_leave(self) -> bool:
        """They have been told by ``leave``."""
        return False

    def stop(self) -> None:
        """Streams just end."""

    def lost(self) -> None:
        """Whoever is served hears of it."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.lost()

    # ------------------------------------------------------------------ what the parser finds

    def on_message_begin(self) -> None:
        """A request begins."""
        self._target = b""
        self._headers = {}
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        """A part of its target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which nobody reads."""
        if not self._in_head:
            return
        if len(self._headers) >= MAX_HEADERS:
            raise BadRequest(431, "too many headers")
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]},{text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """Its head is there."""
        self._in_head = False
        self._head_bytes = 0
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            raise BadRequest(505, f"version {version} is not supported")
        if version == "1.1" and "host" not in self._headers:
            raise BadRequest(400, "missing required Host header")
        exchange = Http1Exchange(
            self,
            self._parser.get_method().decode("latin-1"),
            self._target.decode("latin-1"),
            self._headers,
            chunked=version == "1.1",
            keep=self._keeps(),
        )
        if self._current is None and not self._waiting:
            self._arriving = None
            self._begin(exchange)
            return
        if len(self._waiting) >= MAX_PIPELINED:
            raise BadRequest(429, "too many requests are sent ahead")
        self._arriving = Waiting(exchange)
        self._waiting.append(self._arriving)

    def on_body(self, body: bytes) -> None:
        """A part of its body."""
        if self._arriving is None:
            if self._receiver is not None:
                self._receiver.data(body)
            return
        self._arriving.body.append(body)
        self._waiting_bytes += len(body)
        if self._waiting_bytes > MAX_PIPELINED_BYTES:
            raise BadRequest(413, "too much is sent ahead")

    def on_message_complete(self) -> None:
        """It is there whole."""
        self._in_head = True
        self._deaf = not self._keeps()
        if self._arriving is not None:
            self._arriving.complete = True
            self._arriving = None
        elif self._receiver is not None:
            self._receiver.half_closed()

    def _keeps(self) -> bool:
        """Whether the connection goes on after this request; an upgrade is not agreed to, so it ends there."""
        return bool(self._parser.should_keep_alive()) and not self._parser.should_upgrade()

    # ------------------------------------------------------------------ turns

    def _begin(self, exchange: Http1Exchange) -> None:
        self._current = exchange
        receiver = app.opened(exchange)
        if self._is_served(exchange):
            self._receiver = receiver
            if exchange.headers.get("expect", "").lower() == "100-continue":
                self.connection.queue(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _is_served(self, exchange: Http1Exchange | None) -> bool:
        """Whether it is this one's turn still; what its receiver hears may end that."""
        return self._current is exchange

    def answered(self, *, keep: bool) -> None:
        """The current exchange is over: the next one's turn."""
        self._current = self._receiver = None
        if not keep or self._leaving:
            self._waiting.clear()
            self._deaf = True
            self.connection.finish()
            return
        if self._turning:
            return  # the loop below is at work already
        self._turning = True
        while self._waiting and self._is_served(None):
            self._take_turn(self._waiting.popleft())
        self._turning = False

    def _take_turn(self, waiting: Waiting) -> None:
        self._waiting_bytes -= sum(map(len, waiting.body))
        if waiting is self._arriving:
            self._arriving = None  # the rest goes to the receiver at once
        self._begin(waiting.exchange)
        for body in waiting.body:
            if self._is_served(waiting.exchange):
                assert self._receiver is not None
                self._receiver.data(body)
        if waiting.complete and self._is_served(waiting.exchange):
            assert self._receiver is not None
            self._receiver.half_closed()


def head(
    status: int, content_type: str, length: int | None, *, keep: bool, chunked: bool = False, origin: str = ""
) -> bytes:
    """The head of an answer; pages of ``origin`` may read it."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Type: {content_type}"]
    lines += [f"{name.title()}: {value}" for name, value in cors_fields(origin)]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    if chunked:
        lines.append("Transfer-Encoding: chunked")
    lines.append("Connection: keep-alive" if keep else "Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Http1Exchange(Exchange):
    """A request of HTTP/1.1."""

    __slots__ = ("_chunked", "_keep", "_speaker")

    def __init__(
        self, speaker: Http1Speaker, method: str, target: str, headers: dict[str, str], *, chunked: bool, keep: bool
    ) -> None:
        super().__init__(speaker.connection, method, target, headers, headers.get("host", ""))
        self._speaker = speaker
        self._chunked = chunked
        self._keep = keep

    @property
    def full(self) -> bool:
        """See ``Exchange``."""
        return self.connection.congested

    def respond(self, status: int, content_type: str, body: bytes) -> None:
        """See ``Exchange``."""
        answer = head(status, content_type, len(body), keep=self._keep, origin=self.origin)
        self.connection.queue(answer if self.method == "HEAD" else answer + body)
        self._speaker.answered(keep=self._keep)

    def start(self, status: int, content_type: str) -> None:
        """See ``Exchange``. Without chunks the end shows by closing."""
        self._keep = self._keep and self._chunked
        answer = head(status, content_type, None, keep=self._keep, chunked=self._chunked, origin=self.origin)
        self.connection.queue(answer)

    def write(self, data: bytes) -> None:
        """See ``Exchange``."""
        self.connection.queue(b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data)

    def finish(self) -> None:
        """See ``Exchange``."""
        if self._chunked:
            self.connection.queue(b"0\r\n\r\n")
        self._speaker.answered(keep=self._keep)
