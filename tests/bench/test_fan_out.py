"""What the bench of many watchers finds out about what they got, and that it gets it over real sockets."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest

from tests.apilayer.authority import Authority
from tests.bench.fan_out import Peer, check, fan_out

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {"a", "b", "c"}
ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"


def event(name: str, version: int) -> bytes:
    return b'{"type":"ADDED","object":{"metadata":{"name":"%s","resourceVersion":"%d"}}}\n' % (name.encode(), version)


def chunks(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)


A, B, C = event("a", 5), event("b", 6), event("c", 9)
WHOLE = chunks(A + B, C)


def test_the_same_events_in_other_chunks_pass() -> None:
    check([WHOLE, chunks(A, B, C), chunks(A + B + C)], NAMES)


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ([chunks(A, C)], "each object once"),
        ([chunks(A, B, B, C)], "each object once"),
        ([chunks(A, event("c", 6), event("b", 6))], "another order"),
        ([chunks(A, C, B)], "another order"),
        ([WHOLE, chunks(A, C, B)], "different events"),
        ([WHOLE, WHOLE, chunks(A, B)], "different events"),
    ],
)
def test_what_is_missing_doubled_or_out_of_order_is_found(broken: list[bytes], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check(broken, NAMES)


@pytest.fixture
def context(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's and the clients'."""
    Authority(tmp_path).leaf("server", server=True)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    return ours, ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))


def test_over_real_sockets(context: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    ours, theirs = context
    listener = socket.create_server(("127.0.0.1", 0))
    ends: list[socket.socket] = []

    def serve() -> None:
        """Two watchers and a writer; an event is sent in two pieces, three come together."""
        ends.extend(ours.wrap_socket(listener.accept()[0], server_side=True) for _ in range(3))
        watchers, writer = ends[:2], ends[2]
        for number in range(3):
            assert writer.recv(100) == b"request %d" % number
            writer.sendall(ANSWER[:30])
            writer.sendall(ANSWER[30:])
        watchers[0].sendall(WHOLE[:10])
        watchers[0].sendall(WHOLE[10:])
        for byte in WHOLE:
            watchers[1].sendall(bytes([byte]))

    thread = threading.Thread(target=serve)
    thread.start()
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    peers = [Peer(url, theirs) for _ in range(3)]
    out = fan_out(peers[:2], peers[2:], [b"request %d" % number for number in range(3)])
    thread.join()
    for each in (*peers, *ends, listener):
        each.close()
    assert out.received == [WHOLE, WHOLE]
