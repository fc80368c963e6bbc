"""The channel over real sockets, plain and TLS: nothing lost, nothing hangs, every end is noticed."""

from __future__ import annotations

import errno
import gc
import os
import random
import socket
import struct
import tracemalloc
import warnings
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from kvraft import channel as channel_module
from kvraft.arrivals import Arrivals
from kvraft.channel import Channel, Closed, HandshakeFailed, WakeUp, dial, listen, split_url
from tests.kvraft.certificates import Authority

PATIENCE_SECONDS = 10.0

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from kvraft.server.config import TlsConfig

    Pair = tuple[Channel, Channel]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsConfig:
    return Authority(tmp_path_factory.mktemp("pki")).tls("somebody")


@pytest.fixture(params=["plain", "tls"])
async def pair(request: pytest.FixtureRequest, tls: TlsConfig) -> AsyncIterator[Pair]:
    secure = request.param == "tls"
    ours, theirs = _sockets()
    client = Channel(ours, tls.client_context() if secure else None, server_side=False, name="127.0.0.1")
    server = Channel(theirs, tls.server_context() if secure else None, server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.handshake)
        nursery.start_soon(server.handshake)
    yield client, server
    client.close()
    server.close()


def _sockets() -> tuple[socket.socket, socket.socket]:
    """A TCP connection over loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    return client, server


async def _read_all(channel: Channel, into: bytearray, size: int) -> None:
    while len(into) < size:
        data = await channel.receive()
        assert data
        into += data


async def test_big_writes_block_and_arrive_whole_in_both_directions_at_once(pair: Pair) -> None:
    rng = random.Random(1)
    sent = [b"".join(rng.randbytes(rng.randrange(1, 300_000)) for _ in range(50)) for _ in range(2)]
    got = [bytearray(), bytearray()]
    async with trio.open_nursery() as nursery:
        for channel, data, other in zip(pair, sent, reversed(got), strict=True):
            position = 0
            while position < len(data):
                size = rng.randrange(1, 200_000)
                channel.queue(data[position : position + size])
                position += size
            assert not channel.send_now()  # more than sockets hold
            nursery.start_soon(channel.drain)
            nursery.start_soon(_read_all, pair[0] if channel is pair[1] else pair[1], other, len(data))
    assert [bytes(data) for data in reversed(got)] == sent
    assert [channel.buffered_bytes for channel in pair] == [0, 0]


async def test_what_is_queued_while_the_socket_is_full_keeps_its_order(pair: Pair) -> None:
    client, server = pair
    sent, got = bytearray(), bytearray()
    number = 0
    while client.send_now() or number < 20_000:
        piece = number.to_bytes(4) * 25
        number += 1
        client.queue(piece)
        sent += piece
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.drain)
        nursery.start_soon(_read_all, server, got, len(sent))
    assert got == sent


async def test_a_backlog_is_not_copied_with_each_small_addition(pair: Pair) -> None:
    client = pair[0]
    client.queue(bytes(32 << 20))
    assert not client.send_now()
    left = client.buffered_bytes
    client.queue(b"x")
    tracemalloc.start()
    try:
        assert not client.send_now()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert client.buffered_bytes == left + 1
    assert peak < 1 << 20


async def test_closing_wakes_who_reads_and_who_writes(pair: Pair) -> None:
    client, _ = pair
    ended: list[str] = []

    async def read() -> None:
        with pytest.raises(Closed):
            await client.receive()
        ended.append("reader")

    async def write() -> None:
        with pytest.raises(Closed):
            await client.send(bytes(64 << 20))
        ended.append("writer")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        client.close()
    assert sorted(ended) == ["reader", "writer"]
    with pytest.raises(Closed):
        await client.receive()
    assert client.send_now()


async def test_the_other_sides_end_is_the_end_of_the_stream(pair: Pair) -> None:
    client, server = pair
    await client.send(b"last words")
    client.close()
    assert await server.receive() == b"last words"
    assert await server.receive() == b""


async def test_a_broken_connection_fails_sends_instead_of_swallowing_them(pair: Pair) -> None:
    client, server = pair
    server._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()

    async def send() -> None:
        while True:
            await client.send(bytes(100_000))

    with pytest.raises(Closed):
        await send()
    assert client.broken
    assert client.buffered_bytes == 0


async def test_a_cancelled_read_loses_nothing(pair: Pair) -> None:
    client, server = pair
    with trio.move_on_after(0):
        await server.receive()
    with trio.CancelScope() as scope:
        scope.cancel()
        await server.receive()
    await client.send(b"still here")
    assert await server.receive() == b"still here"


async def test_garbage_instead_of_a_handshake_is_refused(tls: TlsConfig) -> None:
    ours, theirs = _sockets()
    server = Channel(theirs, tls.server_context(), server_side=True)
    ours.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(HandshakeFailed, match="TLS handshake failed: "):
        await server.handshake()
    server.close()
    ours.close()


async def test_half_a_handshake_then_the_end_is_refused(tls: TlsConfig) -> None:
    ours, theirs = _sockets()
    server = Channel(theirs, tls.server_context(), server_side=True)
    ours.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
    ours.close()
    with pytest.raises(HandshakeFailed):
        await server.handshake()
    server.close()


async def test_dialling_somebody_silent_ends_in_time_and_leaves_nothing_open(tls: TlsConfig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, warnings.catch_warnings():
        warnings.simplefilter("error")  # an unclosed socket warns when it is collected
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Closed, match="timed out"):
            await dial(url, tls.client_context(), timeout_seconds=0.05)
        accepted, _ = silent.accept()
        accepted.sendall(b"no TLS here")
        gc.collect()
        accepted.close()


async def test_dialling_somebody_who_speaks_no_tls_says_so_and_leaves_nothing_open(tls: TlsConfig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        async def answer() -> None:
            await trio.lowlevel.wait_readable(listener)
            accepted, _ = listener.accept()
            accepted.sendall(b"220 mail.example ESMTP\r\n")
            accepted.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            with pytest.raises(Closed, match="TLS handshake failed"):
                await dial(f"https://127.0.0.1:{listener.getsockname()[1]}", tls.client_context())
        gc.collect()


async def test_nobody_listening_is_told_apart_from_the_rest() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        await dial(f"http://127.0.0.1:{port}", None)


def test_addresses_that_this_machine_lacks_are_passed_over_unless_there_are_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def names(*addresses: str) -> Callable[..., object]:
        return lambda _host, port, **_: [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (a, port)) for a in addresses]

    monkeypatch.setattr(channel_module.socket, "getaddrinfo", names("192.0.2.1", "127.0.0.1"))
    (sock,) = listen("http://somewhere:0")
    assert sock.getsockname()[0] == "127.0.0.1"
    sock.close()
    monkeypatch.setattr(channel_module.socket, "getaddrinfo", names("192.0.2.1"))
    with pytest.raises(OSError, match=os.strerror(errno.EADDRNOTAVAIL)):
        listen("http://somewhere:0")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://127.0.0.1:1", "scheme must be http or https"),
        ("http://127.0.0.1", 'does not have the form "host:port"'),
        ("http://127.0.0.1:1/path", "must not contain a path"),
        ("http://127.0.0.1:99999", "0-65535"),
    ],
)
def test_urls_that_are_none_are_refused(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        split_url(url)


async def test_many_wake_ups_are_one_and_none_is_lost() -> None:
    wake = WakeUp()
    wake.set()
    wake.set()
    await wake.wait()
    woken = 0

    async def wait() -> None:
        nonlocal woken
        await wake.wait()
        woken += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        wake.set()
        wake.set()
    assert woken == 1
    with trio.move_on_after(0) as scope:
        await wake.wait()
    assert scope.cancelled_caught
    wake.set()
    with trio.CancelScope() as cancelled:
        cancelled.cancel()
        await wake.wait()
    with trio.fail_after(10):
        await wake.wait()  # what was set before the cancelled wait is still set


def test_a_port_is_shared_by_those_who_all_want_it() -> None:
    (first,) = listen("http://127.0.0.1:0", reuse_port=True)
    url = f"http://127.0.0.1:{first.getsockname()[1]}"
    with first:
        (second,) = listen(url, reuse_port=True)
        with second, pytest.raises(OSError, match="in use"):
            listen(url)


@pytest.fixture
async def arrivals() -> AsyncIterator[Arrivals]:
    found = Arrivals(lambda: None)
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = trio.current_time() + PATIENCE_SECONDS
        nursery.start_soon(found.run)
        yield found
        assert not nursery.cancel_scope.cancel_called, "something hangs"
        nursery.cancel_scope.cancel()
    found.close()


async def test_what_arrives_is_handed_on_until_the_end(pair: Pair, arrivals: Arrivals) -> None:
    client, server = pair
    sent = random.Random(2).randbytes(1_000_000)
    got = bytearray()

    def take(data: bytes) -> bool:
        got.extend(data)
        return True

    async def send() -> None:
        await client.send(sent)
        client.end()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        assert await server.each(arrivals, take)
    assert got == sent


async def test_who_takes_may_have_enough_for_now(pair: Pair, arrivals: Arrivals) -> None:
    client, server = pair
    got: list[bytes] = []

    def take(data: bytes) -> bool:
        got.append(data)
        return False

    await client.send(b"one")
    assert not await server.each(arrivals, take)
    await client.send(b"two")
    await trio.testing.wait_all_tasks_blocked()
    assert got == [b"one"]
    assert not await server.each(arrivals, take)
    assert got == [b"one", b"two"]


async def test_what_goes_wrong_in_taking_is_the_task_s(pair: Pair, arrivals: Arrivals) -> None:
    client, server = pair

    def take(_: bytes) -> bool:
        raise ZeroDivisionError

    await client.send(b"x")
    with pytest.raises(ZeroDivisionError):
        await server.each(arrivals, take)
    await client.send(b"y")
    assert await server.receive() == b"y", "and nobody else is in the way"


@pytest.mark.parametrize("end", ["closed here", "reset there", "cancelled", "closed by who takes"])
async def test_taking_ends_with_the_channel(pair: Pair, arrivals: Arrivals, end: str) -> None:
    client, server = pair
    outcome: list[object] = []

    def take(_: bytes) -> bool:
        server.close()
        return True

    async def run() -> None:
        try:
            with trio.CancelScope() as scope:
                scopes.append(scope)
                outcome.append(await server.each(arrivals, take))
        except Closed:
            outcome.append("closed")

    scopes: list[trio.CancelScope] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        if end == "closed here":
            server.close()
        elif end == "cancelled":
            scopes[0].cancel()
        elif end == "reset there":
            client._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        else:
            await client.send(b"x")
    expected: list[object] = [] if end == "cancelled" else ["closed"]
    if end == "reset there" and server.is_tls:
        expected = [True]  # which is not told from a stream that ends without a goodbye
    assert outcome == expected
    server.close()
    with pytest.raises(Closed):
        await server.each(arrivals, take)


async def test_what_the_kernel_does_not_watch_is_closed(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    arrivals = Arrivals(lambda: None)
    monkeypatch.setattr(arrivals, "add", full)
    with pytest.raises(Closed):
        await pair[0].each(arrivals, lambda _: True)
    arrivals.close()
