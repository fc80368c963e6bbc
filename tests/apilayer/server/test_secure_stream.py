"""TLS on the socket itself: what arrives, what an end is, and who may send."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from apilayer.server.secure_stream import SecureStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

MUCH = bytes(range(256)) * 12_000
"""More than both sockets' buffers take."""


@asynccontextmanager
async def pair(certificates: Path) -> AsyncIterator[tuple[SecureStream, trio.SSLStream[trio.SocketStream]]]:
    """The server's and the client's side of one connection, not yet agreed on TLS."""
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    theirs = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        transport = await trio.open_tcp_stream("127.0.0.1", port)
        server = SecureStream(await listener.accept(), ours)
        client = trio.SSLStream(transport, theirs, server_hostname="127.0.0.1", https_compatible=True)
        try:
            yield server, client
        finally:
            server.close()
            await trio.aclose_forcefully(client)


@asynccontextmanager
async def agreed(certificates: Path) -> AsyncIterator[tuple[SecureStream, trio.SSLStream[trio.SocketStream]]]:
    async with pair(certificates) as (server, client):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.do_handshake)
            nursery.start_soon(client.do_handshake)
        yield server, client


async def everything(stream: trio.abc.ReceiveStream) -> bytes:
    parts = []
    while part := await stream.receive_some():
        parts.append(bytes(part))
    return b"".join(parts)


async def test_more_than_the_socket_takes_arrives_whole(certificates: Path) -> None:
    async with agreed(certificates) as (server, client), trio.open_nursery() as nursery:

        async def send() -> None:
            await server.send_all(b"small ")
            await server.send_all(MUCH)
            await server.aclose()

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()  # the sender, by a client that has read nothing
        assert await everything(client) == b"small " + MUCH


async def test_what_is_sent_to_us_arrives_whole(certificates: Path) -> None:
    async with agreed(certificates) as (server, client), trio.open_nursery() as nursery:

        async def send() -> None:
            await client.receive_some()  # with the tickets of TLS: closing on unread ones would reset the connection
            await client.send_all(MUCH)
            await client.aclose()

        nursery.start_soon(send)
        await server.send_all(b"go on")
        assert await everything(server) == MUCH


async def test_an_end_without_goodbye_is_an_end(certificates: Path) -> None:
    async with agreed(certificates) as (server, client):
        await client.transport_stream.aclose()
        assert await server.receive_some() == b""


async def test_a_send_that_is_cut_off_breaks_the_stream(certificates: Path) -> None:
    async with agreed(certificates) as (server, _):
        with trio.move_on_after(0) as scope:
            await server.send_all(MUCH)
        assert scope.cancelled_caught
        with pytest.raises(trio.BrokenResourceError):
            await server.send_all(b"x")


async def test_only_one_sends_at_a_time(certificates: Path) -> None:
    async with agreed(certificates) as (server, _), trio.open_nursery() as nursery:
        nursery.start_soon(server.send_all, MUCH)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await server.send_all(b"x")
        with pytest.raises(trio.BusyResourceError):
            server.send_now(b"x")
        nursery.cancel_scope.cancel()


async def test_who_waits_learns_that_it_was_closed(certificates: Path) -> None:
    async with agreed(certificates) as (server, _), trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await server.receive_some()

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        server.close()
    with pytest.raises(trio.ClosedResourceError):
        await server.receive_some()
    with pytest.raises(trio.ClosedResourceError):
        await server.send_all(b"x")


async def test_a_client_that_speaks_no_tls(certificates: Path) -> None:
    async with pair(certificates) as (server, client):
        await client.transport_stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError) as caught:
            await server.do_handshake()
        assert isinstance(caught.value.__cause__, ssl.SSLError)


async def test_what_is_sent_at_once_goes_before_what_is_sent_later(certificates: Path) -> None:
    async with agreed(certificates) as (server, client), trio.open_nursery() as nursery:
        assert server.send_now(b"small ")
        assert not server.send_now(MUCH)
        with pytest.raises(trio.BusyResourceError):
            server.send_now(b"not sent")

        async def send() -> None:
            await server.send_all(b" the end")
            await server.aclose()

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        assert await everything(client) == b"small " + MUCH + b" the end"


async def test_what_cannot_be_sent_at_once_says_later_why(certificates: Path) -> None:
    async with agreed(certificates) as (server, client):
        await trio.aclose_forcefully(client)
        while server.send_now(b"x" * 1000):
            await trio.lowlevel.checkpoint()
        with pytest.raises(trio.BrokenResourceError):
            await server.send_all(b"")
