"""Overload over gRPC: thousands of HTTP/2 connections with watches, one with every stream that it may have, a client
that never reads, and one that asks for more than it may; with memory figures."""

from __future__ import annotations

import resource
import socket
import time
from urllib.parse import urlsplit

import trio

from kvraft.wire.etcd import rpc_pb2 as pb
from kvraft.wire.grpc.messages import framed
from kvraft.wire.http2 import frames, headers
from tests.bench.clusters import resident_mib, store_cluster
from tests.bench.overload import (
    COMMON,
    CONNECTIONS,
    GREEDY_REQUESTS,
    LARGE_BYTES,
    PATIENCE_SECONDS,
    SPARE_FILES,
    WATCHES_EACH,
    prepare,
    puts_per_second,
    seconds_to_tell_everybody,
    settle,
)

FLOOD = 20_000
STREAMS = 5_000
"""With a watch each, on one connection."""
HELLO = (
    frames.PREFACE
    + frames.settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: frames.MAX_WINDOW})
    + frames.window_update(0, frames.MAX_WINDOW - frames.DEFAULT_WINDOW)
)


def _connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    assert parts.hostname
    sock = socket.create_connection((parts.hostname, parts.port or 0), timeout=PATIENCE_SECONDS)
    sock.sendall(HELLO)
    return sock


def _call(stream: int, path: bytes, *messages: bytes, ends: bool) -> bytes:
    """The frames of one call."""
    block = headers.encode(
        [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", b"/etcdserverpb." + path),
            (b":authority", b"bench"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
        ]
    )
    body = b"".join(framed(message) for message in messages)
    return frames.frame(frames.HEADERS, frames.END_HEADERS, stream, block) + frames.frame(
        frames.DATA, frames.END_STREAM if ends else 0, stream, body
    )


def _watch(key: bytes) -> bytes:
    return pb.WatchRequest(create_request=pb.WatchCreateRequest(key=key)).SerializeToString()


def _watches(place: int) -> bytes:
    """One stream with ten watches, of which one is for a key that everybody watches."""
    keys = [*(b"/overload/%d/%d" % (place, number) for number in range(WATCHES_EACH - 1)), COMMON]
    return _call(1, b"Watch/Watch", *map(_watch, keys), ends=False)


def _flood(url: str) -> tuple[int, int]:
    """Many puts at once on one connection; how many were carried out, and how many refused."""
    sock = _connect(url)
    sock.setblocking(False)
    put = pb.PutRequest(key=b"/overload/flood", value=b"v").SerializeToString()
    view = memoryview(b"".join(_call(2 * number + 1, b"KV/Put", put, ends=True) for number in range(FLOOD)))
    refused = ended = 0
    rest = b""
    end = time.monotonic() + PATIENCE_SECONDS
    while ended < FLOOD and time.monotonic() < end:
        try:
            view = view[sock.send(view[:65536]) :] if view else view
        except BlockingIOError:
            pass
        except ConnectionError:
            break  # told to go away
        try:
            data = sock.recv(1 << 20)
        except BlockingIOError:
            continue
        except ConnectionError:
            break
        if not data:
            break
        rest += data
        while len(rest) >= frames.HEADER_BYTES:
            head, flags, _ = frames.HEADER.unpack_from(rest)
            size, kind = frames.HEADER_BYTES + (head >> 8), head & 0xFF
            if len(rest) < size:
                break
            payload, rest = rest[frames.HEADER_BYTES : size], rest[size:]
            if kind == frames.RST_STREAM or (kind == frames.HEADERS and flags & frames.END_STREAM):
                ended += 1
                refused += kind == frames.RST_STREAM or b"grpc-status\x018" in payload
    sock.close()
    return ended - refused, FLOOD - ended + refused


def run(seconds: float, connections: int = CONNECTIONS) -> list[str]:
    """Measure and return the table's lines (Markdown)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections = min(connections, hard - SPARE_FILES)
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
        trio.run(settle, url)
        note(f"{connections:,} connections of HTTP/2")
        for place, sock in enumerate(sockets):
            sock.sendall(_watches(place))
        trio.run(settle, url)
        note(f"and {connections * WATCHES_EACH:,} watches on them")
        for sock in sockets:
            _read_all(sock)
        told = trio.run(seconds_to_tell_everybody, url, sockets[-1])
        many = _connect(url)
        for number in range(STREAMS):
            many.sendall(_call(2 * number + 1, b"Watch/Watch", _watch(COMMON), ends=False))
        trio.run(settle, url)
        note(f"and {STREAMS} streams on one connection")
        greedy = _connect(url)
        wanted = pb.RangeRequest(key=b"/overload/large").SerializeToString()
        greedy.settimeout(1.0)
        for number in range(GREEDY_REQUESTS):
            try:
                greedy.sendall(_call(2 * number + 1, b"KV/Range", wanted, ends=True))
            except (TimeoutError, ConnectionError):
                break  # it is not read any more, as it does not read
        trio.run(settle, url)
        note(f"and a client that asks for {GREEDY_REQUESTS * LARGE_BYTES // 1_000_000} MB and never reads")
        done, refused = _flood(url)
        note(f"after {FLOOD:,} puts sent at once on one connection: {done:,} carried out, {refused:,} refused")
        for sock in (*sockets, many, greedy):
            sock.close()
        trio.run(settle, url)
        note("they have all gone")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return [
        *lines,
        "",
        f"A put of a key that {connections:,} connections watch reached the last of them {told:.2f} s later.",
    ]


def _read_all(sock: socket.socket) -> None:
    """What has been answered so far."""
    sock.setblocking(False)
    try:
        while sock.recv(1 << 16):
            pass
    except BlockingIOError:
        sock.setblocking(True)
        sock.settimeout(PATIENCE_SECONDS)
