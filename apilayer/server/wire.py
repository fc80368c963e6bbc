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
    """The Date header's value, made once per second."""

    def __init__(self) -> None:
        self._second = 0
        self._value = b""

    def value(self) -> bytes:
        """The present time as HTTP writes it."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._value = formatdate(second, usegmt=True).encode()
        return self._value


DATE = DateHeader()


@lru_cache(maxsize=1024)
def _lines(headers: Headers) -> bytes:
    return b"".join([b"%s: %s\r\n" % pair for pair in headers])


def head(response: Response, headers: Headers, framing: bytes) -> bytes:
    """Everything before the body; `framing` is the header line (or lines) that delimit it, with CRLF."""
    lines = b""
    if headers:  # the first one differs from answer to answer, the others hardly
        lines = b"%s: %s\r\n%s" % (*headers[0], _lines(headers[1:]))
    if response.headers:
        lines += b"".join([b"%s: %s\r\n" % pair for pair in response.headers])
    if response.content_type:
        lines += b"Content-Type: %s\r\n" % response.content_type
    first = STATUS_LINES.get(response.status) or f"HTTP/1.1 {response.status} \r\n".encode()
    return b"%s%sDate: %s\r\n%s\r\n" % (first, lines, DATE.value(), framing)


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
