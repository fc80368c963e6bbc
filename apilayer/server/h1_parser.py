"""HTTP/1.1 requests out of bytes, on httptools (llhttp): sans-IO. Every size has its bound here."""

from __future__ import annotations

import re

import httptools
import msgspec

from apilayer.pipeline.request import Repeated, joined, lasting

MAX_HEAD_BYTES = 256 * 1024
MAX_HEADERS = 256
MAX_URL_BYTES = 64 * 1024
MAX_BODY_OVERHEAD = 8
"""A message may take so many times the body limit on the wire (chunk framing)."""
MAX_KNOWN_BYTES = 4096
MAX_KNOWN_HEADERS = 32
"""Longer and more headers are parsed each time, so that what a connection remembers stays small."""
_HOST = re.compile(r"[A-Za-z0-9!$%&'()*+,;=:\[\]._~-]*")
_GET = b"GET /"
_IN_TARGETS = b"/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%?=&+,:"
"""What most targets are made of; others are for llhttp to judge."""
_OF_BODIES = frozenset({"content-length", "transfer-encoding", "expect", "upgrade"})


_NAMES = {
    name: name.decode().lower()
    for name in (
        *(b"Host", b"User-Agent", b"Accept", b"Accept-Encoding", b"Authorization", b"Content-Type", b"Content-Length"),
        *(b"host", b"user-agent", b"accept", b"accept-encoding", b"authorization", b"content-type", b"content-length"),
        *(b"Kubectl-Command", b"Kubectl-Session", b"Audit-Id", b"Connection"),
    )
}
"""What nearly every request has."""


class BadMessage(Exception):
    """The peer broke HTTP; the connection cannot go on. `code` is the status to say so with."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Incoming(msgspec.Struct, eq=False):
    """A request whose head has arrived; its body may still be on the way."""

    method: str
    url: bytes
    headers: dict[str, str]
    version: str = "1.1"
    body: list[bytes] = msgspec.field(default_factory=list)
    body_bytes: int = 0
    wire_bytes: int = 0
    too_large: bool = False
    complete: bool = False
    keep_alive: bool = True
    expects_continue: bool = False


class RequestParser:
    """Feeds llhttp. `ready` holds requests with a complete head, in order; `failure` what ended the parsing."""

    __slots__ = (
        "_current",
        "_head_bytes",
        "_header_count",
        "_in_body",
        "_known",
        "_known_headers",
        "_max_body_bytes",
        "_parser",
        "_repeats",
        "failure",
        "mid_head",
        "ready",
        "upgraded",
    )

    def __init__(self, max_body_bytes: int) -> None:
        self.ready: list[Incoming] = []
        self.failure: BadMessage | None = None
        self.upgraded: bytes | None = None
        """What came after a request that asks for another protocol; nothing is parsed after such a request."""
        self.mid_head = False
        """Whether part of a request's head has arrived, and not all of it."""
        self._max_body_bytes = max_body_bytes
        self._parser: httptools.HttpRequestParser | None = None
        """Made when it is needed."""
        self._current: Incoming | None = None
        self._in_body = False
        self._head_bytes = 0
        self._header_count = 0
        self._repeats = False
        """Whether there has been a GET: who has sent one, as for a watch that then lasts, need not send another."""
        self._known = b""
        """What came after the target of a GET, up to its end; nothing once the connection is to close ..."""
        self._known_headers: dict[str, str] = {}
        """... and the headers that it holds."""

    def rest(self) -> None:
        """Lets go of what takes room, for there may be nothing to parse for long."""
        if self._current is None:
            self._parser = None

    def feed(self, data: bytes) -> None:
        """Takes in what came; never raises, see `failure`."""
        if self.failure is not None:
            return
        if self._current is not None or not data.startswith(_GET):
            self._parse(data)
            return
        if self._known and data.endswith(self._known):
            target = data[len(_GET) - 1 : -len(self._known)]
            if len(target) <= MAX_URL_BYTES and not target.translate(None, _IN_TARGETS):
                self.ready.append(Incoming("GET", target, self._known_headers.copy(), complete=True))
                return
        self._parse(data)
        if self.failure is None and self._current is None and len(self.ready) == 1:
            if self._repeats:
                self._remember(data, self.ready[0])
            self._repeats = True

    def _remember(self, data: bytes, request: Incoming) -> None:
        """Keeps the headers of a GET without a body that came by itself: clients send the same ones with each.

        What follows the target means the same after every target that has no space or the like.
        """
        rest = data[len(_GET) - 1 + len(request.url) :]
        stays = request.keep_alive and request.version == "1.1"
        small = len(rest) <= MAX_KNOWN_BYTES and len(request.headers) <= MAX_KNOWN_HEADERS
        if stays and small and _OF_BODIES.isdisjoint(request.headers):
            self._known, self._known_headers = rest, request.headers.copy()
            credentials = request.headers.get("authorization")
            if credentials is not None and not isinstance(credentials, Repeated):
                self._known_headers["authorization"] = lasting(credentials)

    def _parse(self, data: bytes) -> None:
        if self._in_body:
            assert self._current is not None
            self._current.wire_bytes += len(data)
            if self._current.wire_bytes > self._max_body_bytes * MAX_BODY_OVERHEAD:
                self._current.too_large = True
                self.failure = BadMessage(413, "the message is too long")
                return
        else:
            self._head_bytes += len(data)
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.upgraded = data[upgrade.args[0] :]
            last = self.ready[-1] if self.ready else self._current
            if last is not None:
                last.keep_alive = False
            self.failure = BadMessage(400, "protocol upgrades are not supported")
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self.failure = cause if isinstance(cause, BadMessage) else BadMessage(400, "malformed request")
        except httptools.HttpParserError as error:
            self.failure = BadMessage(400, str(error))
        if not self._in_body and self._head_bytes > MAX_HEAD_BYTES and self.failure is None:
            self.failure = BadMessage(431, "")
        self.mid_head = self._current is not None and not self._in_body

    # ------------------------------------------------------------------ callbacks of httptools

    def on_message_begin(self) -> None:
        self._current = Incoming("", b"", {})
        self._in_body = False
        self._header_count = 0

    def on_url(self, url: bytes) -> None:
        assert self._current is not None
        self._current.url += url
        if len(self._current.url) > MAX_URL_BYTES:
            raise BadMessage(414, "")

    def on_header(self, name: bytes, value: bytes) -> None:
        assert self._current is not None
        self._header_count += 1
        if self._header_count > MAX_HEADERS:
            raise BadMessage(431, "")
        if self._in_body:
            return  # a trailer: nothing that we read is ever sent as one
        key = _NAMES.get(name) or name.decode("latin-1").lower()
        text = value.decode("latin-1")
        headers = self._current.headers
        if key == "host" and key in headers:
            raise BadMessage(400, "too many Host headers")
        headers[key] = joined(headers[key], text) if key in headers else text

    def on_headers_complete(self) -> None:
        incoming = self._current
        assert incoming is not None
        parser = self._parser
        assert parser is not None
        incoming.method = parser.get_method().decode("latin-1")
        incoming.version = parser.get_http_version()
        incoming.keep_alive = parser.should_keep_alive()
        if not incoming.keep_alive:
            self._known = b""  # whatever follows is refused
        if incoming.version not in ("1.1", "1.0"):
            raise BadMessage(505, "unsupported protocol version")
        headers = incoming.headers
        if incoming.version == "1.1" and "host" not in headers:
            raise BadMessage(400, "missing required Host header")
        if not _HOST.fullmatch(headers.get("host", "")):
            raise BadMessage(400, "malformed Host header")
        coding = headers.get("transfer-encoding")
        if coding is not None and (incoming.version, coding.lower()) != ("1.1", "chunked"):
            raise BadMessage(501, "Unsupported transfer encoding")
        expectation = headers.get("expect", "").lower()
        if expectation not in ("", "100-continue"):
            raise BadMessage(417, "")
        incoming.expects_continue = bool(expectation)
        length = headers.get("content-length", "")
        if len(length) > 18 or (length.isdecimal() and int(length) > self._max_body_bytes):
            incoming.too_large = True
        self._in_body = True
        self._head_bytes = 0
        self.ready.append(incoming)

    def on_body(self, body: bytes) -> None:
        incoming = self._current
        assert incoming is not None
        incoming.body_bytes += len(body)
        if incoming.body_bytes > self._max_body_bytes:
            incoming.too_large = True
            incoming.body.clear()
        elif not incoming.too_large:
            incoming.body.append(body)

    def on_message_complete(self) -> None:
        assert self._current is not None
        self._current.complete = True
        self._current = None
        self._in_body = False
        self._head_bytes = 0
