"""Messages that two readers would understand differently, over HTTP/1.1 and HTTP/2: each is refused, and what is
hidden in it is never answered."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import hpack
import hyperframe.frame as frames
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from apilayer.server.h1_parser import RequestParser
from apilayer.server.h2_frames import MAX_FRAME_BYTES, FrameLengths

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /livez HTTP/1.1\r\nHost: x\r\n"
HIDDEN = b"GET /version HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n\r\n"
ANSWER_OF_HIDDEN = b"gitVersion"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LAST = b"0\r\n\r\n"

REFUSED = {
    # lengths
    "two lengths": (400, POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    "one length twice": (400, POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    "a list of lengths": (400, POST + b"Content-Length: 5, 5\r\n\r\nhello"),
    "a length with a sign": (400, POST + b"Content-Length: +5\r\n\r\nhello"),
    "a negative length": (400, POST + b"Content-Length: -5\r\n\r\nhello"),
    "a hexadecimal length": (400, POST + b"Content-Length: 0x5\r\n\r\nhello"),
    "an empty length": (400, POST + b"Content-Length: \r\n\r\nhello"),
    "a length beyond 64 bits": (400, POST + b"Content-Length: 99999999999999999999\r\n\r\nhello"),
    "chunks and a length": (400, POST + CHUNKED + b"Content-Length: 5\r\n\r\n" + LAST),
    "a length and chunks": (400, POST + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n" + LAST),
    # transfer codings
    "chunked twice": (400, POST + CHUNKED + CHUNKED + b"\r\n" + LAST),
    "chunked, then something else": (400, POST + b"Transfer-Encoding: chunked, identity\r\n\r\n" + LAST),
    "another coding first": (501, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + LAST),
    "identity": (501, POST + b"Transfer-Encoding: identity\r\n\r\n" + LAST),
    "nearly chunked": (501, POST + b"Transfer-Encoding: xchunked\r\n\r\n" + LAST),
    "a vertical tab before chunked": (400, POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + LAST),
    "a space before the colon": (400, POST + b"Transfer-Encoding : chunked\r\n\r\n" + LAST),
    "chunks in HTTP/1.0": (501, b"POST /livez HTTP/1.0\r\n" + CHUNKED + b"\r\n" + LAST),
    # lines
    "a folded header": (400, GET + b"X-A: b\r\n c\r\n\r\n"),
    "a header folded by a tab": (400, GET + b"X-A: b\r\n\tContent-Length: 5\r\n\r\n"),
    "a space before the first header": (400, b"GET /livez HTTP/1.1\r\n Host: x\r\n\r\n"),
    "a bare LF after a header": (400, GET + b"X-A: b\nX-B: c\r\n\r\n"),
    "bare LFs": (400, b"GET /livez HTTP/1.1\nHost: x\n\n"),
    "a bare LF at the end": (400, GET + b"\n"),
    "a bare CR in a value": (400, GET + b"X-A: a\rX-B: c\r\n\r\n"),
    "a NUL in a value": (400, GET + b"X-A: a\0b\r\n\r\n"),
    "a NUL in a name": (400, GET + b"X\0A: b\r\n\r\n"),
    "a NUL in the target": (400, b"GET /li\0vez HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a control character in a value": (400, GET + b"X-A: a\x01b\r\n\r\n"),
    "no name": (400, GET + b": b\r\n\r\n"),
    "no colon": (400, GET + b"XA\r\n\r\n"),
    "a space in a name": (400, GET + b"X A: b\r\n\r\n"),
    # who is meant
    "two hosts": (400, GET + b"Host: y\r\n\r\n"),
    "a host with a path": (400, b"GET /livez HTTP/1.1\r\nHost: x/y\r\n\r\n"),
    "a host with a user": (400, b"GET /livez HTTP/1.1\r\nHost: a@x\r\n\r\n"),
    "a method in lower case": (400, b"get /livez HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a tab after the method": (400, b"GET\t/livez HTTP/1.1\r\nHost: x\r\n\r\n"),
    "HTTP/0.9": (505, b"GET /livez\r\n\r\n"),
    "HTTP/1.2": (400, b"GET /livez HTTP/1.2\r\nHost: x\r\n\r\n"),
    "HTTP/2 by name": (505, b"GET /livez HTTP/2.0\r\nHost: x\r\n\r\n"),
    "an expectation that nobody has": (417, POST + b"Expect: 200-ok\r\nContent-Length: 0\r\n\r\n"),
    # sizes
    "many headers": (431, GET + b"X-A: b\r\n" * 300 + b"\r\n"),
}

UNREAD = {
    "a length after the chunks": POST + CHUNKED + b"\r\n0\r\nContent-Length: 50\r\n\r\n",
    "many trailers": POST + CHUNKED + b"\r\n0\r\n" + b"X-A: b\r\n" * 300 + b"\r\n",
    "a chunk that is longer than it says": POST + CHUNKED + b"\r\n5\r\nhelloXX0\r\n\r\n",
    "a chunk with bare LFs": POST + CHUNKED + b"\r\n5\nhello\n0\n\n",
    "a bare LF in a chunk's extension": POST + CHUNKED + b"\r\n5;a\nb\r\nhello\r\n" + LAST,
    "a negative chunk": POST + CHUNKED + b"\r\n-5\r\nhello\r\n" + LAST,
    "a chunk's size with 0x": POST + CHUNKED + b"\r\n0x5\r\nhello\r\n" + LAST,
    "a chunk's size with a space": POST + CHUNKED + b"\r\n5 \r\nhello\r\n" + LAST,
    "a chunk beyond 64 bits": POST + CHUNKED + b"\r\nfffffffffffffffff\r\nhello\r\n" + LAST,
    "more after the last request": GET + b"Connection: close\r\n\r\n",
    "an upgrade to HTTP/2": GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
    "a tunnel": b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
}
"""The head is fine and may be answered; nothing after it is read."""

FINE = {
    "a body of a GET": GET + b"Content-Length: 5\r\n\r\nhello",
    "a chunk's extension": POST + CHUNKED + b"\r\n5;a=b\r\nhello\r\n" + LAST,
    "a coding in capitals": POST + b"Transfer-Encoding: Chunked\r\n\r\n" + LAST,
    "an address as host": b"GET /livez HTTP/1.1\r\nHost: [::1]:6443\r\n\r\n",
    "an empty host": b"GET /livez HTTP/1.1\r\nHost:\r\n\r\n",
}
"""Everybody reads these alike: what follows is a request of its own."""


async def whole_answer(server, raw: bytes, *, until: bytes = b"\0") -> bytes:
    """What the server says to the bytes until it closes the connection, or says `until`."""
    stream = await server.stream()
    data = b""
    try:
        await stream.send_all(raw)
        with trio.fail_after(10):
            while until not in data and (part := await stream.receive_some(65536)):
                data += part
    except trio.BrokenResourceError:
        pass
    finally:
        await trio.aclose_forcefully(stream)
    return data


async def each(cases: dict[str, Any], ask: Callable[[Any], Awaitable[Any]]) -> dict[str, Any]:
    """What `ask` makes of each case, all at once: the server gives everybody a second to read its last words."""
    found = {}

    async def one(name: str, case: Any) -> None:
        found[name] = await ask(case)

    async with trio.open_nursery() as nursery:
        for name, case in cases.items():
            nursery.start_soon(one, name, case)
    return found


@pytest.mark.slow
async def test_http_1(server) -> None:
    async def refused(case: tuple[int, bytes]) -> str:
        code, raw = case
        data = await whole_answer(server, raw + HIDDEN)
        right = data.startswith(b"HTTP/1.1 %d " % code) and data.count(b"HTTP/1.1 ") == 1
        return "" if right and ANSWER_OF_HIDDEN not in data else repr(data)

    async def unread(raw: bytes) -> str:
        data = await whole_answer(server, raw + HIDDEN)
        return "" if data.startswith(b"HTTP/1.1 ") and ANSWER_OF_HIDDEN not in data else repr(data)

    async def fine(raw: bytes) -> str:
        data = await whole_answer(server, raw + HIDDEN, until=ANSWER_OF_HIDDEN)
        return "" if ANSWER_OF_HIDDEN in data else repr(data)

    for cases, ask in ((REFUSED, refused), (UNREAD, unread), (FINE, fine)):
        found = await each(cases, ask)
        assert {name: said for name, said in found.items() if said} == {}


async def test_nothing_in_a_path_becomes_a_header(server) -> None:
    for path in ("/%0d%0aX-Hidden:%20y", "/api/v1/namespaces/%0d%0aX-Hidden:%20y/pods?x=%0d%0aX-Hidden:%20y"):
        async with server.connect() as client:
            answer = await client.request("GET", path)
            assert answer.status < 500
            assert not any("hidden" in name for name in answer.headers)


async def test_a_failure_that_nobody_foresaw(server, monkeypatch, caplog) -> None:
    async def failing(*_: object) -> None:
        raise RuntimeError("canary-of-a-failure")

    monkeypatch.setattr("apilayer.server.documents.Documents.respond", failing)
    async with server.connect() as client:
        answer = await client.request("GET", "/openapi/v2")
    assert (answer.status, answer.json["reason"]) == (500, "InternalError")
    for hint in (b"Traceback", b"canary", b"RuntimeError", b".py"):
        assert hint not in answer.body
    (record,) = [record for record in caplog.records if "canary" in str(record.exc_info)]
    assert answer.headers["audit-id"] in record.getMessage()


# ------------------------------------------------------------------ HTTP/2

HEADS = [(":method", "GET"), (":path", "/version"), (":scheme", "https"), (":authority", "x")]
KNOWN = [*HEADS, ("authorization", "Bearer secret")]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames.SettingsFrame(0).serialize()

HEADER_LISTS: dict[str, Iterable[tuple[str, str]]] = {
    "a name in capitals": [*KNOWN, ("X-A", "b")],
    "a name with a space": [*KNOWN, ("x a", "b")],
    "a name with a colon": [*KNOWN, ("x:a", "b")],
    "a line break in a value": [*KNOWN, ("x-a", "b\r\nx-hidden: c")],
    "a NUL in a value": [*KNOWN, ("x-a", "b\0c")],
    "a line break in the path": [KNOWN[0], (":path", "/version\r\nx: y"), *KNOWN[2:]],
    "spaces around a value": [*KNOWN, ("x-a", " b ")],
    "transfer-encoding": [*KNOWN, ("transfer-encoding", "chunked")],
    "connection": [*KNOWN, ("connection", "close")],
    "te": [*KNOWN, ("te", "gzip")],
    "a method twice": [KNOWN[0], *KNOWN],
    "no path": [header for header in KNOWN if header[0] != ":path"],
    "an empty path": [KNOWN[0], (":path", ""), *KNOWN[2:]],
    "a pseudo header last": [*KNOWN[1:], KNOWN[0]],
    "a pseudo header of answers": [(":status", "200"), *KNOWN],
    "an unknown pseudo header": [(":x", "y"), *KNOWN],
    "another host": [*KNOWN, ("host", "y")],
    "two lengths": [*KNOWN, ("content-length", "0"), ("content-length", "5")],
    "many headers": [*KNOWN, *((f"x-{number}", "y") for number in range(5000))],
    "a large header": [*KNOWN, ("x-a", "y" * 300_000)],
}


def head(headers: Iterable[tuple[str, str]], *, stream: int = 1) -> bytes:
    """HEADERS, and as many CONTINUATIONs as it takes."""
    block = hpack.Encoder().encode([(name.encode(), value.encode()) for name, value in headers], huffman=False)
    parts = [block[start : start + 16_000] for start in range(0, len(block), 16_000)]
    first: frames.Frame = frames.HeadersFrame(stream, parts[0], flags=["END_STREAM"])
    others = [frames.ContinuationFrame(stream, part) for part in parts[1:]]
    whole = [first, *others]
    whole[-1].flags.add("END_HEADERS")
    return b"".join(frame.serialize() for frame in whole)


def continuations() -> bytes:
    """A head that never ends."""
    first = frames.HeadersFrame(1, hpack.Encoder().encode(KNOWN)).serialize()
    return first + frames.ContinuationFrame(1, b"").serialize() * 5000


RAW = {
    "a head that never ends": continuations(),
    "a frame that is too large": b"\xff\xff\xff\x01\x05\0\0\0\1",
    "garbage for a head": frames.HeadersFrame(1, b"\xff" * 100, flags=["END_HEADERS"]).serialize(),
    "a table size beyond the settings": frames.HeadersFrame(
        1, b"\x3f\xff\xff\xff\x7f", flags=["END_HEADERS"]
    ).serialize(),
    "data for no stream": frames.DataFrame(3, b"x").serialize(),
    "an even stream": head(KNOWN, stream=2),
    "a window beyond 31 bits": frames.WindowUpdateFrame(0, window_increment=2**31 - 1).serialize() * 2,
}


async def h2_says(server, raw: bytes) -> tuple[bytes, set[str]]:
    """The bodies that come, and how it ended: kinds of frames, or ``closed``."""
    stream = await server.stream(alpn=["h2"])
    bodies, kinds, data = b"", set(), b""
    try:
        await stream.send_all(PREFACE + raw)
        with trio.fail_after(30):
            while not kinds & {"RstStreamFrame", "GoAwayFrame", "closed", "ended"}:
                part = await stream.receive_some(65536)
                data += part
                if not part:
                    kinds.add("closed")
                while len(data) >= 9:
                    frame, length = frames.Frame.parse_frame_header(memoryview(data)[:9])
                    if len(data) < 9 + length:
                        break
                    frame.parse_body(memoryview(data)[9 : 9 + length])
                    data = data[9 + length :]
                    kinds.add(type(frame).__name__)
                    bodies += frame.data if isinstance(frame, frames.DataFrame) else b""
                    if "END_STREAM" in frame.flags:
                        kinds.add("ended")
    except trio.BrokenResourceError:
        kinds.add("closed")
    finally:
        await trio.aclose_forcefully(stream)
    return bodies, kinds


@pytest.mark.slow
async def test_http_2(server) -> None:
    cases = {**{name: head(found) for name, found in HEADER_LISTS.items()}, **RAW}
    found = await each(cases, partial(h2_says, server))
    ended = {"GoAwayFrame", "RstStreamFrame", "closed"}
    assert {name: said for name, said in found.items() if ANSWER_OF_HIDDEN in said[0] or not said[1] & ended} == {}
    bodies, kinds = await h2_says(server, head(KNOWN))
    assert ANSWER_OF_HIDDEN in bodies, kinds


@given(
    st.lists(st.integers(0, MAX_FRAME_BYTES), max_size=5),
    st.integers(MAX_FRAME_BYTES + 1, 2**24 - 1),
    st.lists(st.integers(1, 40_000), max_size=10),
)
@settings(max_examples=50)
def test_lengths_of_frames_are_seen_however_they_arrive(fine: list[int], wrong: int, cuts: list[int]) -> None:
    data = b"p" * 24 + b"".join(length.to_bytes(3, "big") + b"h" * 6 + b"x" * length for length in fine)
    lengths = FrameLengths()
    for cut in [*cuts, len(data)]:
        part, data = data[:cut], data[cut:]
        assert lengths.allows(part)
    assert lengths.allows(wrong.to_bytes(3, "big") + b"h" * 5)
    assert not lengths.allows(b"h")


def test_framing_that_dwarfs_the_body() -> None:
    """Ten bytes, each in a chunk with an extension: what is read is bounded, not only what is kept."""
    parser = RequestParser(max_body_bytes=100)
    parser.feed(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(10):
        parser.feed(b"1;" + b"x" * 90 + b"\r\nx\r\n")
    assert parser.failure is not None
    assert parser.failure.code == 413
