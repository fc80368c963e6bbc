"""Overload: thousands of connections, ten times as many watchers, a client that never reads; with memory figures."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from urllib.parse import urlsplit

import trio

from kvraft.client import open_client
from kvraft.errors import KvraftError, TooManyRequests
from kvraft.types import PutRequest, RangeRequest, WatchRequest
from kvraft.wire import native
from tests.bench.clusters import resident_mib, store_cluster

CONNECTIONS = 10_000
WATCHES_EACH = 10
LARGE_BYTES = 1_000_000
GREEDY_REQUESTS = 500
FLOOD = 200_000
COMMON = b"/overload/common"
SPARE_FILES = 500
PATIENCE_SECONDS = 120.0


def _connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    assert parts.hostname
    sock = socket.create_connection((parts.hostname, parts.port or 0), timeout=PATIENCE_SECONDS)
    sock.sendall(native.PREFACE)
    return sock


def _watch(sock: socket.socket, place: int) -> None:
    """Ten watches, of which one is for a key that everybody watches."""
    keys = [COMMON, *(b"/overload/%d/%d" % (place, number) for number in range(WATCHES_EACH - 1))]
    sock.sendall(
        b"".join(
            native.encode_request(number.to_bytes(native.ID_BYTES), WatchRequest(key))
            for number, key in enumerate(keys, 1)
        )
    )


async def puts_per_second(url: str, seconds: float) -> float:
    """One after the other, by somebody who behaves."""
    async with open_client([url], timeout_seconds=PATIENCE_SECONDS) as client:
        await client.put(b"/overload/mine", b"v")
        count, end = 0, trio.current_time() + seconds
        while trio.current_time() < end:
            await client.put(b"/overload/mine", b"v")
            count += 1
    return count / seconds


async def prepare(url: str) -> None:
    async with open_client([url]) as client:
        await client.put(b"/overload/large", bytes(LARGE_BYTES))


async def seconds_to_tell_everybody(url: str, witness: socket.socket) -> float:
    """From a put of the common key until the last of those who watch it has been told."""
    async with open_client([url], timeout_seconds=PATIENCE_SECONDS) as client:
        begin = time.perf_counter()
        await client.put(COMMON, b"v")
        await trio.to_thread.run_sync(witness.recv, 1 << 20)
        return time.perf_counter() - begin


def _flood(url: str) -> int:
    """More requests at once than a connection may have under way; how many were refused."""
    sock = _connect(url)
    ids = [number.to_bytes(native.ID_BYTES) for number in range(1, FLOOD + 1)]
    data = b"".join(native.encode_request(request_id, PutRequest(b"/overload/flood", b"v")) for request_id in ids)
    sock.setblocking(False)
    view, answered, refused, buffer = memoryview(data), 0, 0, b""
    end = time.monotonic() + PATIENCE_SECONDS
    while answered < FLOOD and time.monotonic() < end:
        with contextlib.suppress(BlockingIOError):
            view = view[sock.send(view[:65536]) :] if view else view
        try:
            buffer += sock.recv(1 << 20)
        except BlockingIOError:
            continue
        while len(buffer) >= 4 and len(buffer) >= 4 + int.from_bytes(buffer[:4]):
            length = int.from_bytes(buffer[:4])
            answer = native.decode_answer(buffer[4 + native.ID_BYTES : 4 + length])
            refused += isinstance(answer, TooManyRequests)
            answered += 1
            buffer = buffer[4 + length :]
    sock.close()
    assert answered == FLOOD, answered
    return refused


def run(seconds: float) -> list[str]:
    """Measure and return the table's lines (Markdown)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections = min(CONNECTIONS, hard - SPARE_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    lines = ["| state of one member | resident MiB | puts/s of one client |", "| --- | ---: | ---: |"]
    with store_cluster("kvraft", 1) as cluster:
        url, pid = cluster.urls[0], cluster.processes[0].pid

        def note(state: str) -> None:
            memory = resident_mib(pid)
            lines.append(f"| {state} | {memory:,.0f} | {trio.run(puts_per_second, url, seconds):,.0f} |")

        trio.run(prepare, url)
        note("nobody else")
        sockets = [_connect(url) for _ in range(connections)]
        note(f"{connections:,} connections")
        for place, sock in enumerate(sockets):
            _watch(sock, place)
        trio.run(settle, url)
        note(f"and {connections * WATCHES_EACH:,} watchers on them")
        for sock in sockets:
            _empty(sock)
        told = trio.run(seconds_to_tell_everybody, url, sockets[-1])
        greedy = _connect(url)
        greedy.setblocking(False)
        for number in range(1, GREEDY_REQUESTS + 1):
            request = RangeRequest(b"/overload/large")
            greedy.send(native.encode_request(number.to_bytes(native.ID_BYTES), request))
        trio.run(settle, url)
        note(f"and a client that asks for {GREEDY_REQUESTS * LARGE_BYTES // 1_000_000} MB and never reads")
        refused = _flood(url)
        note(f"after {FLOOD:,} puts sent at once, of which {refused:,} were answered with `too many requests`")
        for sock in (*sockets, greedy):
            sock.close()
        trio.run(settle, url)
        note("they have all gone")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return [
        *lines,
        "",
        f"A put of a key that {connections:,} connections watch reached the last of them {told:.2f} s later.",
    ]


async def settle(url: str) -> None:
    """Until the member has read what was sent before."""
    async with open_client([url], timeout_seconds=PATIENCE_SECONDS) as client:
        for _ in range(20):
            try:
                await client.revision()
            except KvraftError:
                await trio.sleep(0.1)


def _empty(sock: socket.socket) -> None:
    sock.setblocking(False)
    try:
        while sock.recv(1 << 16):
            pass
    except BlockingIOError:
        sock.setblocking(True)
        sock.settimeout(PATIENCE_SECONDS)
