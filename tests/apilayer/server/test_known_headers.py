"""A GET whose headers came before is not parsed again. What comes of it is all the same what comes of parsing it."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from apilayer.server.h1_parser import MAX_KNOWN_BYTES, MAX_KNOWN_HEADERS, MAX_URL_BYTES, RequestParser

LINES = [
    b"Accept: application/json\r\n",
    b"Accept: */*\r\n",
    b"Authorization: Bearer one\r\n",
    b"Authorization: Bearer two\r\n",
    b"Connection: close\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 4\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    b"X: a\r\nX: b\r\n",
    b"\tfolded\r\n",
]
STARTS = [
    *(b"GET /", b"GET /api/v1/pods?limit=1&watch=0", b"GET /a%20b", b"GET /a#b", b"GET /'\"<>", b"GET *", b"POST /"),
    *(b"GET /a b", b"GET /a\tb", b"GET /a\r\nX: y", b"GET /a\nb", b"GET /\x80", b"GET /\0", b"GET  /", b"\r\nGET /"),
    b"GET /a HTTP/1.1\r\nHost: y\r\n\r\nGET /b",
    b"GET /a HTTP/1.0\r\nX: y\r\n\r\n",
    b"GET /a HTTP/1.1\r\nHost: y\r\nX:",
    b"GET http://x/",
    b"POST /a HTTP/1.1\r\nHost: y\r\nContent-Length: 4\r\n\r\nabcdGET /",
]
VERSIONS = [b" HTTP/1.1\r\n", b" HTTP/1.0\r\nConnection: keep-alive\r\n", b" HTTP/1.1\n"]
ENDS = [
    b"\r\n",
    b"\r\nabcd",
    b"\r\n\r\n",
    b"\r\n0\r\n\r\n",
    b"\r\nGET / HTTP/1.1\r\nHost: z\r\n\r\n",
    b"\r\nGET /pa",
    b"",
]
BETWEEN = [
    *(b"\r\n", b"GE", b"GET /a HTTP/1.1\r\nHost: x\r\nX:", b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"),
    *(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na", b"GET /a HTTP/1.0\r\n\r\n"),
    b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
]


class Forgetful(RequestParser):
    """Parses everything."""

    def feed(self, data: bytes) -> None:
        self._known = b""
        super().feed(data)


def heard(parser: RequestParser, data: bytes) -> Any:
    """What the parser says of a piece, whose requests it gives away."""
    parser.feed(data)
    found = [{name: getattr(request, name) for name in request.__struct_fields__} for request in parser.ready]
    parser.ready.clear()
    failure = parser.failure and (parser.failure.code, str(parser.failure))
    return found, failure, parser.mid_head, parser.upgraded


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("end", ENDS)
def test_known_headers_mean_what_they_did(version: bytes, end: bytes) -> None:
    for line, start in product([b"", *LINES], STARTS):
        rest = version + b"Host: x\r\n" + line + end
        knowing, parsing = RequestParser(1000), Forgetful(1000)
        for piece in (b"GET /first" + rest, b"GET /second" + rest, start + rest, b"GET /last" + rest):
            assert heard(knowing, piece) == heard(parsing, piece), (start, rest)


@pytest.mark.parametrize("between", BETWEEN)
def test_what_came_between_counts(between: bytes) -> None:
    knowing, parsing = RequestParser(1000), Forgetful(1000)
    for piece in (b"GET /first" + HEAD, b"GET /second" + HEAD, between, b"GET /last" + HEAD, b"GET /more" + HEAD):
        assert heard(knowing, piece) == heard(parsing, piece)


def test_the_beginning_of_another_request_is_no_header() -> None:
    knowing, parsing = RequestParser(1000), Forgetful(1000)
    for name in (b"one", b"two", b"three"):
        for piece in (b"GET /" + name + HEAD + b"GET /", name + HEAD):
            assert heard(knowing, piece) == heard(parsing, piece)


HEAD = b" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer one\r\n\r\n"


def test_headers_that_are_known_are_not_parsed() -> None:
    parser = RequestParser(1000)
    parser.feed(b"GET /" + HEAD)
    assert (len(parser.ready), parser._known) == (1, b""), "who asks once, to watch perhaps, costs no memory"
    parser.ready.clear()
    parser.feed(b"GET /a" + HEAD)
    parser._parser = None  # nothing is left that could parse
    parser.feed(b"GET /b?c=d" + HEAD)
    first, second = parser.ready
    assert (second.method, second.url, second.complete) == ("GET", b"/b?c=d", True)
    assert first.headers == second.headers
    first.headers.pop("authorization")
    second.headers.pop("authorization")
    parser.feed(b"GET /c" + HEAD)
    assert parser.ready[2].headers["authorization"] == "Bearer one", "who used them up took his own"


def test_one_byte_of_difference_counts() -> None:
    parser = RequestParser(1000)
    for token in (b"one", b"one", b"one", b"two", b"two", b"one"):
        parser.feed(b"GET /a" + HEAD.replace(b"one", token))
        assert parser.ready.pop().headers["authorization"] == f"Bearer {token.decode()}"


def test_bounds_hold_for_known_headers() -> None:
    parser = RequestParser(1000)
    for _ in range(2):
        parser.feed(b"GET /a" + HEAD)
    parser.ready.clear()
    parser.feed(b"GET /" + b"a" * MAX_URL_BYTES + HEAD)
    assert parser.failure is not None
    assert parser.failure.code == 414
    many = b"".join(b"X%d: x\r\n" % number for number in range(MAX_KNOWN_HEADERS))
    for large in (b"X: " + b"x" * MAX_KNOWN_BYTES + b"\r\n", many):
        parser = RequestParser(1000)
        for _ in range(2):
            parser.feed(b"GET /a HTTP/1.1\r\nHost: x\r\n" + large + b"\r\n")
        assert (len(parser.ready), parser._known) == (2, b""), "what is remembered stays small"
