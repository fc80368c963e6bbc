"""Bytes of HTTP/1.1 answers: status lines, the Date header, heads. Pure but for the clock that Date reads."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apilayer.pipeline.request import Headers, Response

STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BODYLESS = frozenset({204, 304})


class DateHeader:
    """The Date header, made once per second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        """The present time as HTTP writes it, with the header's name and CRLF."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = b"Date: %s\r\n" % formatdate(second, usegmt=True).encode()
        return self._line


DATE = DateHeader()


def _lines(headers: Headers) -> bytes:
    return b"".join([b"%s: %s\r\n" % pair for pair in headers])


@lru_cache(maxsize=1024)
def _opening(status: int, content_type: bytes, headers: Headers) -> bytes:
    """What many heads begin with."""
    first = STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n".encode()
    return first + _lines(((b"Content-Type", content_type), *headers) if content_type else headers)


def head(response: Response, headers: Headers, framing: bytes) -> bytes:
    """Everything before the body; `framing` is the header line (or lines) that delimit it, with CRLF.

    The first one of `headers` differs from answer to answer, the others hardly.
    """
    parts = [_opening(response.status, response.content_type, headers[1:])]
    if headers:
        name, value = headers[0]
        parts += name, b": ", value, b"\r\n"
    if response.headers:
        parts.append(_lines(response.headers))
    parts += DATE.line(), framing, b"\r\n"
    return b"".join(parts)


def chunk(batch: list[bytes]) -> bytes:
    """Messages as one chunk of a body; nothing for an empty batch, because an empty chunk is the end."""
    part = b"".join(batch)
    return b"%x\r\n%s\r\n" % (len(part), part) if part else b""


def plain_error(code: int, text: str) -> bytes:
    """A whole answer to something that is no readable request; the connection closes after it."""
    phrase = HTTPStatus(code).phrase
    body = f"{code} {phrase}: {text}".encode() if text else f"{code} {phrase}".encode()
    return b"".join(
        (
            STATUS_LINES[code],
            b"Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body),
            body,
        )
    )
