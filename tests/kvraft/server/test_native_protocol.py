"""The native protocol as its reference page describes it, spoken by a client that shares no code with ours."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgpack
import trio

from kvraft.embed import open_member

if TYPE_CHECKING:
    from pathlib import Path


class Stranger:
    """Somebody with a socket, a msgpack library, and the reference page."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=10)
        self._socket.sendall(b"kvraft/1\n")

    def send(self, request_id: int, *request: Any) -> None:
        body = request_id.to_bytes(4, "big") + msgpack.packb(request)
        self._socket.sendall(len(body).to_bytes(4, "big") + body)

    def send_together(self, *requests: tuple[int, list[Any]]) -> None:
        """In one piece."""
        bodies = [request_id.to_bytes(4, "big") + msgpack.packb(request) for request_id, request in requests]
        self._socket.sendall(b"".join(len(body).to_bytes(4, "big") + body for body in bodies))

    def receive(self) -> tuple[int, list[Any]]:
        size = int.from_bytes(self._exactly(4), "big")
        body = self._exactly(size)
        return int.from_bytes(body[:4], "big"), msgpack.unpackb(body[4:])

    def ask(self, *request: Any) -> list[Any]:
        self.send(7, *request)
        request_id, answer = self.receive()
        assert request_id == 7
        return answer

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            assert more, "the member closed the connection"
            data += more
        return data

    def close(self) -> None:
        self._socket.close()


def _converse(url: str) -> None:
    stranger = Stranger(url)
    tag, revision, previous = stranger.ask(2, b"a", b"1")
    assert (tag, previous) == (2, None)
    tag, _, (kv,), count, more = stranger.ask(1, b"a")
    assert (tag, kv, count, more) == (1, [b"a", b"1", revision, revision, 1, 0], 1, False)
    create = [b"b", 2, 0, 0]  # mod revision of b equals 0
    assert stranger.ask(4, [create], [[2, b"b", b"2"]], [[1, b"b"]]) == [
        4,
        revision + 1,
        True,
        [[2, revision + 1, None]],
    ]
    tag, at, succeeded, ((_, _, (found,), _, _),) = stranger.ask(4, [create], [[2, b"b", b"3"]], [[1, b"b"]])
    assert (at, succeeded, found[1]) == (revision + 1, False, b"2")
    assert stranger.ask(2, b"", b"x") == [0, 2, "etcdserver: key is not provided", ""]
    stranger.send(9, 6, b"a", b"c", revision, True)
    request_id, (tag, upto, events, compacted) = stranger.receive()
    assert (request_id, tag, upto, compacted) == (9, 6, revision + 1, 0)
    assert [event[1][0] for event in events] == [b"a", b"b"]
    stranger.send(9, 8)
    assert stranger.receive() == (9, [6, revision + 1, [], 0])
    stranger.send(9, 7)
    assert stranger.ask(3, b"a", b"c", True)[:3] == [3, revision + 2, 2]
    assert stranger.ask(5, revision + 1) == [5, revision + 2]
    status = stranger.ask(9)
    assert (status[0], status[9]) == (7, revision + 2)
    stranger.close()


async def test_the_reference_page_is_enough(tmp_path: Path) -> None:
    async with open_member(tmp_path / "data") as member:
        await trio.to_thread.run_sync(_converse, member.client_urls[0])


def _together(url: str) -> None:
    stranger = Stranger(url)
    revision = stranger.ask(2, b"other", b"")[1]
    stranger.send_together(
        (1, [2, b"a", b"1"]),
        (2, [2, b"a", b"2", 0, True]),
        (3, [2, b"", b""]),
        (4, [2, b"b", b"3"]),
        (5, [3, b"a"]),
        (6, [2, b"a", b"4"]),
        (7, [2, b"b", b"5", 12345]),
        (8, [2, b"b", b"6", 0, True]),
    )
    answers = dict(stranger.receive() for _ in range(8))
    assert answers[1] == [2, revision + 1, None]
    assert answers[2] == [2, revision + 2, [b"a", b"1", revision + 1, revision + 1, 1, 0]]
    assert answers[3] == [0, 2, "etcdserver: key is not provided", ""]
    assert answers[4] == [2, revision + 3, None]
    assert answers[5][:3] == [3, revision + 4, 1]
    assert answers[6] == [2, revision + 5, None]
    assert answers[7][2] == "etcdserver: requested lease not found"
    assert answers[8] == [2, revision + 6, [b"b", b"3", revision + 3, revision + 3, 1, 0]]
    stranger.send_together((1, [2, b"c", b"1"]), (2, [2, b"c", b"2"]), (3, [99]), (4, [2, b"c", b"3"]))
    assert dict(stranger.receive() for _ in range(1))[0][2].startswith("malformed request")
    stranger.close()
    other = Stranger(url)
    assert other.ask(2, b"d", b"")[1] == revision + 9  # behind those before the breach
    assert other.ask(1, b"c")[2] == [[b"c", b"2", revision + 7, revision + 8, 2, 0]]
    other.close()


async def test_requests_that_come_together_are_done_in_order_up_to_the_first_breach(tmp_path: Path) -> None:
    async with open_member(tmp_path / "data") as member:
        await trio.to_thread.run_sync(_together, member.client_urls[0])
