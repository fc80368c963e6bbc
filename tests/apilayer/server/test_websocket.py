"""Watches over WebSocket, with wsproto as the client."""

from __future__ import annotations

import base64
import contextlib
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from apilayer.storage import watcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
WATCH = f"{CONFIGMAPS}?watch=1"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = {
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "WebSocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
    "Origin": "https://localhost",
}
BEARER = "base64url.bearer.authorization.k8s.io."


class WebSocket:
    """The client's side of an upgraded connection."""

    def __init__(self, stream: trio.abc.Stream, head: bytes, early: bytes) -> None:
        self.stream = stream
        lines = head.decode().split("\r\n")
        self.status = lines[0]
        self.headers = dict(line.split(": ", 1) for line in lines[1:])
        self.frames = Connection(ConnectionType.CLIENT, trailing_data=early)
        self._events: list[Any] = []

    async def send(self, event: Any) -> None:
        await self.stream.send_all(self.frames.send(event))

    async def next(self) -> Any:
        """The next event, a message put together from its frames."""
        data: Any = None
        with trio.fail_after(5):
            while True:
                while not self._events:
                    received = bytes(await self.stream.receive_some(65536))
                    if not received:
                        raise EOFError
                    self.frames.receive_data(received)
                    self._events = list(self.frames.events())
                event = self._events.pop(0)
                if not isinstance(event, (TextMessage, BytesMessage)):
                    return event
                data = event.data if data is None else data + event.data
                if event.message_finished:
                    return data

    async def event(self) -> tuple[str, str]:
        """The next event of the watch as (type, name)."""
        text = await self.next()
        assert isinstance(text, str), text
        assert text.endswith("}\n")
        event = orjson.loads(text)
        return event["type"], event["object"]["metadata"]["name"]


async def upgrade(client: Any, path: str = WATCH, early: bytes = b"", **changed: str | None) -> WebSocket:
    """Sends the handshake (and `early` at once after it) and reads the head of its answer."""
    named = UPGRADE | {name.replace("_", "-"): value for name, value in changed.items()}
    head = client.encode("GET", path, None, {name: value for name, value in named.items() if value is not None})
    await client.stream.send_all(head + early)
    received = b""
    with trio.fail_after(5):
        while b"\r\n\r\n" not in received:
            received += bytes(await client.stream.receive_some(65536)) or b"\r\n\r\n"
    head, _, rest = received.partition(b"\r\n\r\n")
    return WebSocket(client.stream, head, rest if b" 101 " in head else b"")


@pytest.fixture
async def create(server: Any) -> AsyncIterator[Callable[..., Any]]:
    async with server.connect() as writer:

        async def create(name: str, **data: str) -> None:
            answer = await writer.request("POST", CONFIGMAPS, {"metadata": {"name": name}, "data": data})
            assert answer.status == 201

        yield create


async def test_events_are_messages_of_text(client, create) -> None:
    socket = await upgrade(client)
    assert socket.status == "HTTP/1.1 101 Switching Protocols"
    assert socket.headers == {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    }
    for name in "ab":
        await create(name)
    assert [await socket.event() for _ in range(2)] == [("ADDED", "a"), ("ADDED", "b")]


async def test_protobuf_events_are_binary_messages(client, create) -> None:
    socket = await upgrade(client, Accept="application/vnd.kubernetes.protobuf")
    await create("a")
    message = await socket.next()
    assert isinstance(message, bytes)
    assert message.startswith(b"\n\x05ADDED\x12")
    assert b"k8s\0" in message


async def test_a_sole_subprotocol_is_echoed(client, create) -> None:
    socket = await upgrade(client, Sec_WebSocket_Protocol="base64.binary.k8s.io")
    assert socket.headers["Sec-WebSocket-Protocol"] == "base64.binary.k8s.io"
    await create("a")
    assert await socket.event() == ("ADDED", "a")


async def test_handshakes_that_do_not_hold(server) -> None:
    for changed, status, text in (
        ({"Sec-WebSocket-Key": ""}, 400, b"mismatch challenge/response"),
        ({"Sec-WebSocket-Version": "8"}, 400, b"missing or bad WebSocket Version"),
        ({"Origin": ""}, 403, b""),
        ({"Origin": "null"}, 403, b""),
        ({"Sec-WebSocket-Protocol": "a, b"}, 400, b""),
    ):
        async with server.connect() as client:
            await client.stream.send_all(client.encode("GET", WATCH, None, UPGRADE | changed))
            answer = await client.answer()
            assert (answer.status, answer.body) == (status, text)
            assert answer.headers.get("sec-websocket-version") == ("13" if b"Version" in text else None)
            assert await client.closed()


async def test_errors_come_as_ordinary_answers(client) -> None:
    named = {name.replace("-", "_"): value for name, value in UPGRADE.items()}
    assert (await client.request("GET", "/api/v1/nonsense?watch=1", **named)).json["code"] == 404
    assert await client.closed()


async def test_a_token_as_a_subprotocol(server, create) -> None:
    token = base64.urlsafe_b64encode(b"secret").decode().rstrip("=")
    async with server.connect(token="") as client:
        socket = await upgrade(client, Sec_WebSocket_Protocol=f"{BEARER}{token}, x.k8s.io")
        assert socket.headers["Sec-WebSocket-Protocol"] == "x.k8s.io"
        await create("a")
        assert await socket.event() == ("ADDED", "a")


async def test_tokens_that_do_not_hold(server) -> None:
    for protocols in (
        f"{BEARER}c2VjcmV0",
        f"{BEARER}!,x",
        f"{BEARER}d3Jvbmc,x",
        f"{BEARER}YQ,{BEARER}YQ,x",
        f"{BEARER}_w,x",
    ):
        async with server.connect(token="") as client:
            socket = await upgrade(client, Sec_WebSocket_Protocol=protocols)
            assert socket.status.startswith("HTTP/1.1 401 "), protocols


async def test_pings_are_answered_and_messages_ignored(client, create) -> None:
    early = Connection(ConnectionType.CLIENT).send(Ping(b"early"))
    socket = await upgrade(client, early=early)
    assert await socket.next() == Pong(b"early")
    await socket.send(TextMessage("anything", message_finished=False))
    await socket.send(Ping(b"late"))
    assert await socket.next() == Pong(b"late")
    await create("a")
    assert await socket.event() == ("ADDED", "a")


async def test_the_client_closes(client) -> None:
    socket = await upgrade(client)
    await socket.send(CloseConnection(1000, "enough"))
    assert await socket.next() == CloseConnection(1000, "enough")
    assert await client.closed()


async def test_clients_that_break_the_protocol(server) -> None:
    for sent, code in (
        (b"\x81\x02no", 1002),  # not masked
        (b"\xf1\x80\0\0\0\0", 1002),  # reserved bits
        (b"\x81\x81\0\0\0\0\xff", 1007),  # not UTF-8
        (b"\x89\xfe\x01\0" + bytes(260), 1002),  # a long ping
    ):
        async with server.connect() as client:
            socket = await upgrade(client, early=sent)
            assert (await socket.next()).code == code
            assert await client.closed()


async def test_a_watch_that_ends_closes(client, create) -> None:
    await create("a")
    socket = await upgrade(client, f"{WATCH}&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion=0")
    assert await socket.event() == ("ADDED", "a")
    assert '"BOOKMARK"' in await socket.next()
    closing = await socket.next()
    assert closing == CloseConnection(1000, closing.reason)
    await socket.send(closing.response())
    assert await client.closed()


async def test_a_revision_that_is_too_old(client, create, start_server) -> None:
    await create("a")
    async with start_server() as later, later.connect() as other:
        socket = await upgrade(other, f"{WATCH}&resourceVersion=1")
        assert orjson.loads(await socket.next())["object"]["code"] == 410
        assert (await socket.next()).code == 1000


async def test_shutdown_closes(server, client) -> None:
    socket = await upgrade(client)
    server.stop.set()
    assert (await socket.next()).code == 1000
    assert await client.closed()  # without a word of ours


async def test_a_client_that_never_reads_is_ended_without_a_gap(server, create, monkeypatch) -> None:
    monkeypatch.setattr(watcher, "MAX_PENDING_EVENTS", 4)
    monkeypatch.setattr(watcher, "STALL_SECONDS", 0.05)
    async with server.connect() as stuck, server.connect() as well:
        socket, reading = await upgrade(stuck), await upgrade(well)
        names = [f"c{index:03}" for index in range(18)]
        for name in names:
            await create(name, x="x" * 1_000_000)
            assert await reading.event() == ("ADDED", name)
        seen: list[str] = []
        with contextlib.suppress(EOFError):
            while len(seen) < 18:
                seen.append((await socket.event())[1])
        assert len(seen) < 18
        assert seen == names[: len(seen)]


async def test_a_client_that_leaves_frees_its_watch(server, client) -> None:
    async def count() -> list[bytes]:
        body = (await client.request("GET", "/metrics")).body
        return [line for line in body.splitlines() if line.startswith(b"apiserver_registered_watchers")]

    before = await count()
    async with server.connect() as leaving:
        await upgrade(leaving)
        assert await count() != before
    with trio.fail_after(5):
        while await count() != before:
            await trio.lowlevel.checkpoint()
