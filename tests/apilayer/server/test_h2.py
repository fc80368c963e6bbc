"""HTTP/2 for clients that speak nothing else."""

from __future__ import annotations

import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.events
import orjson
import pytest
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


class H2Client:
    """One HTTP/2 connection; answers are collected by stream."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.connection.initiate_connection()
        self.heads: dict[int, dict[str, str]] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: set[int] = set()

    async def flush(self) -> None:
        await self.stream.send_all(self.connection.data_to_send())

    async def start(self, method: str, path: str, *, end: bool = True, **headers: str) -> int:
        number = self.connection.get_next_available_stream_id()
        pseudo = [(":method", method), (":path", path), (":scheme", "https"), (":authority", "test")]
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        self.connection.send_headers(number, [*pseudo, ("authorization", "Bearer secret"), *named], end_stream=end)
        self.bodies[number] = b""
        await self.flush()
        return number

    async def receive(self) -> None:
        with trio.fail_after(5):
            data = await self.stream.receive_some(65536)
        if not data:
            raise EOFError
        for event in self.connection.receive_data(bytes(data)):
            if isinstance(event, h2.events.ResponseReceived):
                self.heads[event.stream_id] = dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                self.bodies[event.stream_id] += event.data
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                self.ended.add(event.stream_id)
        await self.flush()

    async def request(self, method: str, path: str, body: bytes = b"") -> tuple[dict[str, str], bytes]:
        number = await self.start(method, path, end=not body)
        if body:
            self.connection.send_data(number, body, end_stream=True)
            await self.flush()
        while number not in self.ended:
            await self.receive()
        return self.heads[number], self.bodies[number]


@asynccontextmanager
async def opened(server) -> AsyncIterator[H2Client]:
    stream = await server.stream(alpn=["h2"])
    assert stream.selected_alpn_protocol() == "h2"
    try:
        client = H2Client(stream)
        await client.flush()
        yield client
    finally:
        await trio.aclose_forcefully(stream)


async def test_http_1_1_is_preferred(server) -> None:
    stream = await server.stream(alpn=["h2", "http/1.1"])
    assert stream.selected_alpn_protocol() == "http/1.1"
    await trio.aclose_forcefully(stream)


async def test_requests(server) -> None:
    async with opened(server) as client:
        head, body = await client.request("GET", "/livez")
        assert (head[":status"], body) == ("200", b"ok")
        head, body = await client.request("POST", CONFIGMAPS, b'{"metadata":{"name":"a"}}')
        assert head[":status"] == "201"
        assert head["cache-control"] == "no-cache, private"
        assert len(head["audit-id"]) == 36
        assert orjson.loads(body)["metadata"]["name"] == "a"
        head, body = await client.request("GET", f"{CONFIGMAPS}/zz")
        assert (head[":status"], orjson.loads(body)["code"]) == ("404", 404)


async def test_a_watch_beside_other_requests(server) -> None:
    async with opened(server) as client:
        watch = await client.start("GET", f"{CONFIGMAPS}?watch=1&timeoutSeconds=2")
        await client.request("POST", CONFIGMAPS, b'{"metadata":{"name":"a"}}')
        while b"\n" not in client.bodies[watch]:
            await client.receive()
        assert orjson.loads(client.bodies[watch].splitlines()[0])["type"] == "ADDED"
        while watch not in client.ended:
            await client.receive()


async def test_a_watch_that_is_reset_frees_it(server) -> None:
    async with opened(server) as client:
        watch = await client.start("GET", f"{CONFIGMAPS}?watch=1")
        while watch not in client.heads:
            await client.receive()
        client.connection.reset_stream(watch)
        await client.flush()
        head, _ = await client.request("POST", CONFIGMAPS, b'{"metadata":{"name":"a"}}')
        assert head[":status"] == "201"


async def test_a_large_body_is_refused(server) -> None:
    async with opened(server) as client:
        number = await client.start("POST", CONFIGMAPS, end=False)
        sent = 0
        while number not in client.heads:
            window = min(client.connection.local_flow_control_window(number), 16384)
            if window:
                client.connection.send_data(number, bytes(window))
                sent += window
                await client.flush()
            else:
                await client.receive()
            assert sent < 8 * 1024 * 1024
        assert client.heads[number][":status"] == "413"
        head, _ = await client.request("GET", "/livez")
        assert head[":status"] == "200"


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(100), b"\xff" * 50])
async def test_what_is_no_http_2(server, client, garbage: bytes) -> None:
    stream = await server.stream(alpn=["h2"])
    await stream.send_all(garbage)
    with trio.fail_after(5):
        try:
            while await stream.receive_some(65536):
                pass
        except trio.BrokenResourceError:
            pass
    await trio.aclose_forcefully(stream)
    assert (await client.request("GET", "/livez")).status == 200


async def test_shutdown(server) -> None:
    async with opened(server) as client:
        await client.request("GET", "/livez")
        server.stop.set()
        with contextlib.suppress(EOFError):
            while True:
                await client.receive()
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream("127.0.0.1", server.port)
