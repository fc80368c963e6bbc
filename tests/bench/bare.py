"""The yardstick of the HTTP edge: a server that does nothing but TLS, HTTP/1.1's framing and one fixed answer.

It is as lean as Python allows: trio's wait for the socket, `ssl`'s socket itself, httptools' parser. Its requests cost
what no server of this make can save, so that others can be stated as multiples of it, whatever the machine.
"""

from __future__ import annotations

import ssl
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httptools
import trio

from kvraft import channel

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

RECEIVE_BYTES = 64 * 1024


class _Connection:
    """What httptools calls: a complete request is answered at once."""

    def __init__(self, sock: ssl.SSLSocket, answer: bytes) -> None:
        self._sock = sock
        self._answer = answer
        self.parser = httptools.HttpRequestParser(self)

    def on_message_complete(self) -> None:
        self._sock.send(self._answer)


async def _serve(plain: socket.socket, context: ssl.SSLContext, answer: bytes) -> None:
    plain.setblocking(False)
    with context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False) as sock:
        while True:
            try:
                sock.do_handshake()
                break
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(sock)
        connection = _Connection(sock, answer)
        while True:
            await trio.lowlevel.wait_readable(sock)
            try:
                data = sock.recv(RECEIVE_BYTES)
            except ssl.SSLWantReadError:
                continue
            if not data:
                return
            connection.parser.feed_data(data)


async def _run(certificate: str, key: str, body: bytes) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    listener = channel.listen("https://127.0.0.1:0")[0]
    print(listener.getsockname()[1], flush=True)
    async with trio.open_nursery() as nursery:
        async for sock in channel.accept(listener):
            nursery.start_soon(_serve, sock, context, head + body)


@contextmanager
def bare_server(certificate: Path, key: Path, body: bytes) -> Iterator[tuple[str, int]]:
    """A process that answers ``body`` to every request: its URL and process id."""
    command = [sys.executable, "-m", "tests.bench.bare", str(certificate), str(key)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(body)
        process.stdin.close()
        try:
            yield f"https://127.0.0.1:{int(process.stdout.readline())}", process.pid
        finally:
            process.kill()


if __name__ == "__main__":
    trio.run(_run, *sys.argv[1:3], sys.stdin.buffer.read())
