"""Many watchers and some writers in one process that costs as little as it can: what it takes the server lacks.

Plain sockets, TLS in memory and one epoll; of what watchers are sent only bytes are kept and markers counted. Whether
each has got every event once and in order is found out afterwards.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs
import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EVENT = b'{"type":"ADDED"'
END = b"}\n\r\n"
"""Of a chunk."""
RECEIVE_BYTES = 256 * 1024
RECORD_BYTES = 16 * 1024
STALLED_SECONDS = 30.0
"""The socket's buffers and TLS's together are far smaller: who gets nothing for so long gets nothing any more."""

_BUFFER = bytearray(RECEIVE_BYTES)
_VIEW = memoryview(_BUFFER)


class Peer:
    """One connection to the server. It sends little, so that sending may block; received is what has arrived."""

    def __init__(self, url: str, context: ssl.SSLContext) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), STALLED_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._encrypted, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._encrypted, self._to_send, server_hostname=parts.hostname)
        self._shake_hands()

    def _shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._arrived()
            else:
                self._flush()
                return

    def fileno(self) -> int:
        """The socket's."""
        return self._socket.fileno()

    def send(self, data: bytes) -> None:
        """Sends all of it."""
        self._tls.write(data)
        self._flush()

    def _flush(self) -> None:
        self._socket.sendall(self._to_send.read())

    def _arrived(self) -> None:
        size = self._socket.recv_into(_BUFFER)  # all records that are there; ssl's own socket asks twice for each
        if not size:
            raise ConnectionError("the server closed the connection")
        self._encrypted.write(_VIEW[:size])

    def receive(self) -> bytes:
        """What has arrived, waiting for it; b"" where that is not yet a whole record. Raises ConnectionError."""
        self._arrived()
        parts = []
        try:
            while self._encrypted.pending:
                parts.append(self._tls.read(RECORD_BYTES))
        except ssl.SSLWantReadError:
            pass
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def ask(self, request: bytes) -> bytes:
        """The body of the answer to a request, which has to be 200."""
        self.send(request)
        answer = b""
        while not _is_whole(answer):
            answer += self.receive()
        return _body(answer, b"200")

    def close(self) -> None:
        """At once."""
        self._socket.close()


class Watcher:
    """Counts the events that a peer gets, and keeps all bytes."""

    def __init__(self, peer: Peer, wanted: int) -> None:
        self._peer = peer
        self.missing = wanted
        self.parts: list[bytes] = []
        self._cut_off = b""

    def ready(self) -> bool:
        """Takes what has come; True when that was the last."""
        data = self._peer.receive()
        self.parts.append(data)
        data = self._cut_off + data
        self.missing -= data.count(EVENT)
        self._cut_off = data[1 - len(EVENT) :]  # too short for a whole one
        return self.missing <= 0 and data.endswith(END)


class Writer:
    """Sends one request after the other."""

    def __init__(self, peer: Peer, requests: Iterator[bytes]) -> None:
        self._peer = peer
        self._requests = requests
        self._answer = b""
        self._ask()

    def _ask(self) -> bool:
        request = next(self._requests, None)
        if request is not None:
            self._peer.send(request)
        return request is None

    def ready(self) -> bool:
        """Takes what has come of the answer, and asks again after the last of it; True when there is no more to ask."""
        self._answer += self._peer.receive()
        if not _is_whole(self._answer):
            return False
        _body(self._answer, b"201")
        self._answer = b""
        return self._ask()


def _is_whole(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    return bool(found) and len(body) >= int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])


def _body(answer: bytes, code: bytes) -> bytes:
    if answer[9:12] != code:
        raise RuntimeError(f"a request was answered {answer.decode()}")
    return answer.partition(b"\r\n\r\n")[2]


@attrs.frozen
class FanOut:
    """What came of it."""

    seconds: float
    own_cpu_seconds: float
    """Of this process."""
    received: list[bytes]
    """By each watcher."""


def fan_out(watching: Sequence[Peer], writing: Sequence[Peer], requests: Sequence[bytes]) -> FanOut:
    """Has all `requests` answered and all watchers, whose watches are open, get as many events."""
    started, used = time.perf_counter(), time.process_time()
    watchers = [Watcher(peer, len(requests)) for peer in watching]
    each = iter(requests)
    members: dict[int, Watcher | Writer] = {peer.fileno(): it for peer, it in zip(watching, watchers, strict=True)}
    members |= {peer.fileno(): Writer(peer, each) for peer in writing}
    with select.epoll() as epoll:
        for number in members:
            epoll.register(number, select.EPOLLIN)
        while members:
            ready = epoll.poll(STALLED_SECONDS)
            if not ready:
                raise TimeoutError(f"{len(members)} of the clients got nothing for {STALLED_SECONDS} s")
            for number, _ in ready:
                if members[number].ready():
                    epoll.unregister(number)
                    del members[number]
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    return FanOut(seconds, cpu, [b"".join(watcher.parts) for watcher in watchers])


def check(received: Sequence[bytes], names: set[str]) -> None:
    """Raises ValueError unless each has got one event for each name, in the order of versions and as all the others."""
    first = _unchunked(received[0])
    shown = [orjson.loads(line)["object"]["metadata"] for line in first.splitlines()]
    if len(shown) != len(names) or {metadata["name"] for metadata in shown} != names:
        raise ValueError("a watcher was not shown each object once")
    versions = [int(metadata["resourceVersion"]) for metadata in shown]
    if versions != sorted(set(versions)):
        raise ValueError("a watcher was shown objects in another order than they came into being")
    if any(_unchunked(data) != first for data in received[1:]):
        raise ValueError("watchers were shown different events")


def _unchunked(data: bytes) -> bytes:
    """The body of which these are whole chunks."""
    parts, position = [], 0
    while position < len(data):
        start = data.index(b"\r\n", position) + 2
        end = start + int(data[position : start - 2], 16)
        parts.append(data[start:end])
        position = end + 2
    return b"".join(parts)
