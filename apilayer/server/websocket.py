"""Streams over WebSocket (RFC 6455): the handshake as kube-apiserver answers it, one message per event, the closing.

Nothing that the client sends means anything but pings and closing; data messages are dropped as they arrive.
"""

from __future__ import annotations

import re
from base64 import b64encode
from contextlib import aclosing
from hashlib import sha1
from http import HTTPStatus
from typing import TYPE_CHECKING

import trio
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import RemoteProtocolError

from apilayer.pipeline.request import Sender
from apilayer.pipeline.websocket import subprotocols
from apilayer.server.secure_stream import SecureStream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wsproto.events import Event

    from apilayer.pipeline.request import Stream

RECEIVE_BYTES = 64 * 1024
CLOSE_SECONDS = 1.0
"""How long the peer may take to confirm that we are done."""
VERSION = "13"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ORIGIN = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:|/)[!-~]*|\*")


class HandshakeError(Exception):
    """The client's half of the handshake does not hold; `answer` is what to say, whole, before closing."""

    def __init__(self, code: int, text: str = "", header: bytes = b"") -> None:
        super().__init__(text)
        line = f"HTTP/1.1 {code} {HTTPStatus(code).phrase}\r\n".encode()
        framing = b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(text)
        self.answer = line + header + framing + text.encode()


def accept(headers: Mapping[str, str]) -> bytes:
    """The head that switches protocols. Raises HandshakeError.

    Codes, texts and rules are those of the library that kube-apiserver uses: an Origin is required, and of
    several subprotocols none is chosen, because none has a meaning for a watch.
    """
    key = headers.get("sec-websocket-key", "")
    if not key:
        raise HandshakeError(400, "mismatch challenge/response")
    if headers.get("sec-websocket-version") != VERSION:
        version = b"Sec-WebSocket-Version: %s\r\n" % VERSION.encode()
        raise HandshakeError(400, "missing or bad WebSocket Version", version)
    if _ORIGIN.fullmatch(headers.get("origin", "")) is None:
        raise HandshakeError(403)
    protocols = subprotocols(headers)
    if len(protocols) > 1:
        raise HandshakeError(400)
    digest = b64encode(sha1(key.encode("latin-1") + _GUID, usedforsecurity=False).digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    head += b"Sec-WebSocket-Accept: %s\r\n" % digest
    if protocols:
        head += b"Sec-WebSocket-Protocol: %s\r\n" % protocols[0].encode("latin-1")
    return head + b"\r\n"


class WebSocketSender:
    """Sends one stream to the peer. Whoever ends the other task holds the lock, so that no frame is cut short."""

    def __init__(self, transport: trio.abc.Stream, early: bytes) -> None:
        self._transport = transport
        self._frames = Connection(ConnectionType.SERVER, trailing_data=early)
        self._sending = trio.Lock()

    async def send(self, source: Stream) -> None:
        """Returns when `source` has ended and the peer knows, when the peer has closed, or when it takes nothing."""
        finished = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, nursery.cancel_scope)

            def framed(batch: list[bytes]) -> bytes:
                return b"".join([self._frame(source.unframed(message)) for message in batch])

            direct = None
            if isinstance(self._transport, SecureStream):  # busy while the other task has something half sent
                direct = Sender("frame", framed, self._transport.send_now)
            source.bind(nursery.cancel_scope, direct)
            async with aclosing(source.batches()) as batches:
                async for batch in batches:
                    async with self._sending:
                        await self._transport.send_all(framed(batch))
            async with self._sending:
                finished = True
                nursery.cancel_scope.cancel()
        if finished:
            await self._close()

    def _frame(self, message: str | bytes) -> bytes:
        event = TextMessage(data=message) if isinstance(message, str) else BytesMessage(data=message)
        return self._frames.send(event)

    async def _listen(self, scope: trio.CancelScope) -> None:
        """Answers pings; ends the sending when the peer closes, breaks the protocol or goes away."""
        last_words = None
        try:
            while last_words is None:
                for event in self._frames.events():
                    last_words = await self._heard(event)
                if last_words is None:
                    data = await self._transport.receive_some(RECEIVE_BYTES)
                    if not data:
                        break
                    self._frames.receive_data(bytes(data))
        except RemoteProtocolError as error:
            last_words = error.event_hint or CloseConnection(CloseReason.PROTOCOL_ERROR)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            last_words = None
        async with self._sending:
            if last_words is not None:
                await self._transport.send_all(self._frames.send(last_words))
            scope.cancel()

    async def _heard(self, event: Event) -> Event | None:
        """What there is to say before the connection ends; None while it goes on."""
        if isinstance(event, CloseConnection):
            return event.response()
        if isinstance(event, Ping):
            async with self._sending:
                await self._transport.send_all(self._frames.send(event.response()))
        return None

    async def _close(self) -> None:
        """Says that there is no more to come, and waits a moment for the peer to say the same."""
        with trio.move_on_after(CLOSE_SECONDS):
            await self._transport.send_all(self._frames.send(CloseConnection(CloseReason.NORMAL_CLOSURE)))
            while self._frames.state is ConnectionState.LOCAL_CLOSING:
                data = await self._transport.receive_some(RECEIVE_BYTES)
                if not data:
                    return
                self._frames.receive_data(bytes(data))
                try:
                    for _ in self._frames.events():
                        pass
                except RemoteProtocolError:
                    return
