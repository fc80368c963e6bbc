"""Headers that come more than once: joined as HTTP has it, and still told apart where that matters."""

from __future__ import annotations

from typing import Any

import trio

from apilayer.pipeline.request import Repeated, values_of
from apilayer.server.h1_parser import RequestParser
from apilayer.server.h2 import _Face

SENT = [("impersonate-group", "a,b"), ("accept", "x"), ("Impersonate-Group", "c"), ("impersonate-group", "")]


def check(headers: dict[str, str]) -> None:
    assert headers["impersonate-group"] == "a,b,c,"
    assert values_of(headers["impersonate-group"]) == ("a,b", "c", "")
    assert values_of(headers["accept"]) == ("x",)
    assert not isinstance(headers["accept"], Repeated)


def test_over_http_1() -> None:
    parser = RequestParser(1000)
    lines = "".join(f"{name}: {value}\r\n" for name, value in [("host", "h"), *SENT])
    parser.feed(f"GET / HTTP/1.1\r\n{lines}\r\n".encode())
    check(parser.ready[0].headers)


async def test_over_http_2() -> None:
    seen: list[dict[str, str]] = []

    class Application:
        """Notes the headers of what it is asked."""

        goaway_chance = 0.0

        def time_limit(self, method: str, query: str) -> float:
            return 1.0

        async def handle(self, request: Any) -> Any:
            seen.append(request.headers)
            raise RuntimeError("enough")

    scope = {
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in SENT],
    }
    face: Any = _Face(Application(), None, "", trio.lowlevel.checkpoint)  # type: ignore[arg-type]
    try:
        await face(scope, None, None, None, None)
    except RuntimeError:
        check(seen[0])
        return
    raise AssertionError("nobody was asked")
