"""Bad clients of the API server, in a process of their own: each kind again and again, until killed."""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from tests.bench.api import NAMESPACE
from tests.bench.fairness import GREEDY
from tests.bench.http import open_http, read_kubeconfig

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

EACH = 10
"""Bad clients of each kind."""
FLOOD_CONNECTIONS = 50
"""Each client that floods with connections opens so many."""
BODY_BYTES = 64 * 1024 * 1024
READY = b"attacking\n"
AGAIN_SECONDS = 0.2
UNREAD_SECONDS = 30.0
SILENT_SECONDS = 10.0
REPORT_SECONDS = 1.0


async def _plain(url: str) -> trio.SocketStream:
    parts = urlsplit(url)
    assert parts.hostname
    return await trio.open_tcp_stream(parts.hostname, parts.port or 443)


async def _secure(url: str, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
    tcp = await _plain(url)
    return trio.SSLStream(tcp, context, server_hostname=urlsplit(url).hostname, https_compatible=True)


async def trickling_head(url: str, context: ssl.SSLContext) -> None:
    """Slowloris: the head of a request, a byte each second."""
    async with await _secure(url, context) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
        while True:
            await stream.send_all(b"x")
            await trio.sleep(1.0)


async def trickling_handshake(url: str, _: ssl.SSLContext) -> None:
    """The same before TLS is agreed on."""
    async with await _plain(url) as tcp:
        for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64):
            await tcp.send_all(bytes([byte]))
            await trio.sleep(1.0)


async def flood_of_connections(url: str, _: ssl.SSLContext) -> None:
    """Connections that say nothing, many at once."""
    opened = [await _plain(url) for _ in range(FLOOD_CONNECTIONS)]
    await trio.sleep(SILENT_SECONDS)
    for tcp in opened:
        await trio.aclose_forcefully(tcp)


async def garbage(url: str, context: ssl.SSLContext) -> None:
    """Random bytes in place of a request."""
    async with await _secure(url, context) as stream:
        await stream.send_all(os.urandom(random.randrange(1, 4096)))
        while await stream.receive_some(4096):
            pass


async def huge_body(url: str, context: ssl.SSLContext) -> None:
    """A body that is larger than any that is taken."""
    async with await _secure(url, context) as stream:
        head = f"POST {NAMESPACE}/configmaps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {GREEDY}\r\n"
        await stream.send_all(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(BODY_BYTES // 65536):
            await stream.send_all(b"10000\r\n" + b"x" * 65536 + b"\r\n")


async def bad_tokens(url: str, context: ssl.SSLContext) -> None:
    """Tokens that nobody has: service account tokens by the look of them, and others."""
    token = random.choice(
        ("eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2t1YmUifQ.", "x" * 4000, "abcdef.0123456789abcdef")
    )
    async with open_http(url, context, token) as http:
        for _ in range(20):
            status, _ = await http.request("GET", f"{NAMESPACE}/configmaps")
            if status != 401:
                raise RuntimeError(f"a bad token was answered {status}")


async def _never_reads(url: str, context: ssl.SSLContext, query: str) -> None:
    async with await _secure(url, context) as stream:
        head = f"GET {NAMESPACE}/configmaps{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {GREEDY}\r\n\r\n"
        await stream.send_all(head.encode())
        await trio.sleep(UNREAD_SECONDS)


async def unread_watch(url: str, context: ssl.SSLContext) -> None:
    """A watch that is never read."""
    await _never_reads(url, context, "?watch=1")


async def unread_list(url: str, context: ssl.SSLContext) -> None:
    """A list that is never read."""
    await _never_reads(url, context, "")


KINDS = (
    trickling_head,
    trickling_handshake,
    flood_of_connections,
    garbage,
    huge_body,
    bad_tokens,
    unread_watch,
    unread_list,
)


async def attack(url: str, context: ssl.SSLContext) -> None:
    """All of them at once, each again when the server has had enough of it; prints how often each began."""
    begun: Counter[str] = Counter()

    async def keep_on(what: Callable[[str, ssl.SSLContext], Awaitable[None]]) -> None:
        while True:
            begun[what.__name__] += 1
            try:
                await what(url, context)
            except RuntimeError:
                raise
            except Exception:  # noqa: S110 - the server has every right to end it, in whatever way
                pass
            await trio.sleep(AGAIN_SECONDS)

    async with trio.open_nursery() as nursery:
        for kind in KINDS:
            for _ in range(EACH):
                nursery.start_soon(keep_on, kind)
        sys.stdout.buffer.write(READY)
        while True:
            sys.stdout.buffer.write(f"{sum(begun.values())}\n".encode())
            sys.stdout.buffer.flush()
            await trio.sleep(REPORT_SECONDS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kubeconfig", type=Path)
    given = parser.parse_args()
    trio.run(attack, *read_kubeconfig(given.kubeconfig, anonymous=True))
