"""Any bytes at the HTTP edge: an answer or a closed connection, never a crash, never anything but 4xx for nonsense."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import memory_stream_pair

from apilayer.pipeline.authentication import Authenticator, parse_token_file
from apilayer.pipeline.authorization import Privileged
from apilayer.pipeline.flow_control import InFlightLimit
from apilayer.pipeline.metrics import RequestMetrics
from apilayer.pipeline.pipeline import Context, Pipeline
from apilayer.pipeline.request import MAX_BODY_BYTES, Request, Response
from apilayer.server.h1 import H1Connection
from apilayer.server.h1_parser import RequestParser

if TYPE_CHECKING:
    from apilayer.pipeline.request import Headers

HEAD = b"Host: x\r\nAuthorization: Bearer secret\r\n"
pieces = st.one_of(
    st.sampled_from(
        [
            b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n",
            b"POST /x?a=b HTTP/1.1\r\n" + HEAD + b"Content-Length: 3\r\n\r\nabc",
            b"POST / HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            b"GET /%ff%00 HTTP/1.1\r\n" + HEAD + b"Accept: \xff\r\n\r\n",
            b"HEAD / HTTP/1.0\r\n\r\n",
            b"GET / HTTP/1.1\r\n",
            b"Content-Length: 99999999999999999999\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Connection: upgrade\r\nUpgrade: x\r\n",
            b"Expect: 100-continue\r\n",
            b"\r\n",
            b"ffffffffffffffff\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        ]
    ),
    st.binary(max_size=30),
)
messages = st.lists(pieces, max_size=6).map(b"".join)


class Echo:
    """The real pipeline around a handler that reads the body and answers with its size."""

    refusing = False

    def __init__(self) -> None:
        authenticator = Authenticator(parse_token_file(['secret,admin,1,"system:masters"']))
        self._pipeline = Pipeline(authenticator, Privileged(), InFlightLimit(10, 10), self._route, RequestMetrics())

    async def _route(self, context: Context) -> Response:
        return Response(200, b"%d" % len(await context.request.read_body()))

    async def answer(self, request: Request) -> tuple[Response, Headers]:
        return await self._pipeline.handle(request)

    def time_limit(self, method: str, query: str) -> float:
        return 5.0

    def timeout_answer(self) -> bytes:
        raise AssertionError("a request timed out")


async def talk(data: bytes, cuts: list[int]) -> bytes:
    """What the server says to `data`, sent in parts and followed by the end of the stream."""
    ours, theirs = memory_stream_pair()
    received = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_serve, theirs)
        start = 0
        with contextlib.suppress(trio.BrokenResourceError):  # it may have ended the connection, as it should for some
            for cut in sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)}):
                if cut > start:
                    await ours.send_all(data[start:cut])
                    start = cut
            await ours.send_eof()
        async for part in ours:
            received += part
    return bytes(received)


async def _serve(stream: trio.abc.Stream) -> None:
    await H1Connection(stream, Echo(), None).run()  # type: ignore[arg-type]
    await stream.aclose()


@settings(deadline=None, max_examples=200)
@given(messages, st.lists(st.integers(0, 1000), max_size=3))
def test_any_bytes_are_answered_or_end_the_connection(data: bytes, cuts: list[int]) -> None:
    said = trio.run(talk, data, cuts)
    codes = [int(code) for code in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", said)]
    assert all(code in (100, 200) or 400 <= code < 500 or code == 505 for code in codes), said
    assert not said or said.startswith(b"HTTP/1.1 ")


@settings(deadline=None)
@given(messages, st.lists(st.integers(0, 1000), max_size=4))
def test_how_the_bytes_are_cut_does_not_matter(data: bytes, cuts: list[int]) -> None:
    whole, parts = RequestParser(MAX_BODY_BYTES), RequestParser(MAX_BODY_BYTES)
    whole.feed(data)
    start = 0
    for cut in sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)}):
        if cut > start:
            parts.feed(data[start:cut])
            start = cut

    def shown(parser: RequestParser) -> list[tuple[str, bytes, dict[str, str], bytes, bool]]:
        return [(item.method, item.url, item.headers, b"".join(item.body), item.complete) for item in parser.ready]

    assert shown(whole) == shown(parts)
    assert (whole.failure is None) == (parts.failure is None)
