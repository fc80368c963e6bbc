"""Large answers in gzip, for clients that take it. The work is done off the loop's thread."""

from __future__ import annotations

import zlib
from functools import cache
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apilayer.pipeline.request import Request, Response

MIN_BYTES = 128 * 1024
LEVEL = 1
MAX_THREADS = 2
_GZIP_WINDOW = 31


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding header allows gzip."""
    for clause in header.lower().split(","):
        coding, _, parameters = clause.partition(";")
        if coding.strip() == "gzip":
            return parameters.strip() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def gzip(pieces: Iterable[bytes]) -> bytes:
    """A body as a gzip stream."""
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return b"".join([*map(compressor.compress, pieces), compressor.flush()])


@cache
def _limiter() -> trio.CapacityLimiter:
    """More threads would only take the interpreter from the loop more often."""
    return trio.CapacityLimiter(MAX_THREADS)


async def compress(request: Request, response: Response) -> None:
    """Replaces the response's body when it is large and the client accepts gzip."""
    if not accepts_gzip(request.headers.get("accept-encoding", "")):
        return
    if any(name == b"Content-Encoding" for name, _ in response.headers):
        return
    response.body = await trio.to_thread.run_sync(gzip, response.in_pieces(), limiter=_limiter())
    response.headers = (*response.headers, (b"Content-Encoding", b"gzip"), (b"Vary", b"Accept-Encoding"))
