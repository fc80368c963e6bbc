"""HTTP/2 by Hypercorn: its protocol over our streams, and an ASGI face of the application.

Imported when the first client speaks HTTP/2: most never do, and it costs a fifth of a second.
"""

from __future__ import annotations

import contextlib
import logging
from contextlib import aclosing
from random import random
from typing import TYPE_CHECKING, Any

import trio
from h2.errors import ErrorCodes
from h2.events import DataReceived, StreamReset
from hypercorn.config import Config
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hyperframe.frame import GoAwayFrame

from apilayer.api import status
from apilayer.pipeline.encoding import error_response
from apilayer.pipeline.pipeline import timed_out
from apilayer.pipeline.request import MAX_BODY_BYTES, PIECE_BYTES, BodyError, Request, Sender, joined
from apilayer.pipeline.turns import turn_to_send
from apilayer.server.h2_frames import FrameLengths
from apilayer.server.secure_stream import SecureStream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hypercorn.events import Event

    from apilayer.pipeline.request import Headers, Identity, Response, Stream
    from apilayer.server.application import Application

Message = dict[str, Any]

RECEIVE_BYTES = 64 * 1024
IDLE_SECONDS = 90.0
LAST_WORDS_SECONDS = 5.0
FLUSH_SECONDS = 0.01
MAX_QUEUED_BODY_PARTS = 1024
MAX_RESETS = 1000
"""So many streams of one connection may be taken back by the client, each after its server has begun to work."""
MAX_STREAM_ID = 2**31 - 1

log = logging.getLogger("apilayer.server.h2")


class _Protocol(H2Protocol):
    """Hypercorn's, except that data for a stream that was answered is taken in and dropped, and resets are counted."""

    resets = 0

    async def _handle_events(self, events: list[Any]) -> None:
        for event in events:
            if isinstance(event, StreamReset):
                self.resets += 1
                if self.resets > MAX_RESETS:
                    log.warning("an HTTP/2 connection was closed: its client took back %d requests", self.resets)
                    await self.send(Closed())
                    return
            if isinstance(event, DataReceived) and event.stream_id not in self.streams:
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                await self._flush()
            else:
                await super()._handle_events([event])

    def frames_now(self, stream_id: int, data: bytes) -> bytes:
        """The frames that carry data of a stream, past the queue of what Hypercorn has yet to send of it.

        Raises BusyResourceError, or a ProtocolError, when the data cannot go now.
        """
        waiting = self.stream_buffers.get(stream_id)
        if waiting is None or waiting.buffer or self.connection.local_flow_control_window(stream_id) < len(data):
            raise trio.BusyResourceError("the stream's turn or its window has yet to come")
        size = self.connection.max_outbound_frame_size
        for start in range(0, len(data), size):
            self.connection.send_data(stream_id, data[start : start + size])
        return self.connection.data_to_send()

    async def refuse_frame(self) -> None:
        """Says why the connection ends: a frame is too long."""
        self.connection.close_connection(ErrorCodes.FRAME_SIZE_ERROR)
        await self._flush()


def _config(streams: int) -> Config:
    """Hypercorn's configuration for our connections."""
    config = Config()
    config.include_server_header = False
    config.h2_max_concurrent_streams = streams
    config.max_app_queue_size = MAX_QUEUED_BODY_PARTS
    return config


class H2Connection:
    """Serves one HTTP/2 connection, whose TLS handshake is done, until either side ends it."""

    def __init__(
        self, stream: trio.abc.Stream, app: Application, certificate: Identity | None, streams: int, peer: str = ""
    ) -> None:
        """`streams`: so many at once."""
        self._stream = stream
        self._face: Any = _Face(app, certificate, peer, self)
        self._config = _config(streams)
        self._context = WorkerContext(None)
        self._scope = trio.CancelScope()
        self._send_lock = trio.Lock()
        self._idle = True
        self._closing = False
        self._leaving = False
        self._group: TaskGroup | None = None
        self._protocol: _Protocol | None = None

    def shut_down(self) -> None:
        """Closes the connection as soon as it is idle; new streams are refused from now on."""
        self._closing = True
        self._spawn(self._finish if self._idle else self.leave)

    def _spawn(self, what: Callable[[], Awaitable[None]]) -> None:
        if self._group is None:
            self._scope.cancel()
        else:
            self._group.spawn(what)

    async def _finish(self) -> None:
        """Ends the connection, which is idle, once the last answer is on its way."""
        with trio.move_on_after(LAST_WORDS_SECONDS):
            while self._protocol is not None and self._protocol.stream_buffers:  # noqa: ASYNC110  # tells nobody
                await trio.sleep(FLUSH_SECONDS)
            async with self._send_lock:
                pass
        if self._idle:
            self._scope.cancel()

    async def leave(self) -> None:
        """Asks the client to open another connection: what it has begun on this one is served, then it closes."""
        if not self._leaving:
            self._leaving = True
            await self._send(RawData(GoAwayFrame(0, last_stream_id=MAX_STREAM_ID, error_code=0).serialize()))

    def sender(self, stream_id: int) -> Sender | None:
        """What sends data of a stream without a task switch; None where nothing does."""
        stream = self._stream
        if not isinstance(stream, SecureStream):
            return None

        def send_now(data: bytes) -> bool:
            if stream.busy or self._send_lock.locked() or self._protocol is None:
                raise trio.BusyResourceError("something else goes first")
            return stream.send_now(self._protocol.frames_now(stream_id, data))

        return Sender("data", b"".join, send_now)

    def send_rest(self) -> None:
        """Has what a `sender` has left over sent, by the connection: a stream's end must not cut others off."""
        self._spawn(self._send_rest)

    async def _send_rest(self) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # of which who reads learns
            await self._send(RawData(b""))

    async def run(self) -> None:
        """Serves until the connection ends. The stream is left for the caller to close."""
        try:
            with self._scope:
                await self._serve()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        except Exception:
            log.exception("an HTTP/2 connection failed")

    async def _serve(self) -> None:
        async with TaskGroup() as group:
            self._group = group
            self._protocol = protocol = _Protocol(
                self._face,
                self._config,
                self._context,
                group,
                ConnectionState({}),
                True,
                None,
                None,
                self._send,
            )
            lengths = FrameLengths()
            await protocol.initiate()
            self._scope.deadline = trio.current_time() + IDLE_SECONDS
            try:
                while True:
                    data = await self._stream.receive_some(RECEIVE_BYTES)
                    if not data:
                        break
                    if self._closing:
                        await self._context.terminated.set()
                    if not lengths.allows(bytes(data)):
                        await protocol.refuse_frame()
                        break
                    await protocol.handle(RawData(bytes(data)))
            finally:
                await protocol.handle(Closed())
            self._scope.cancel()

    async def _send(self, event: Event) -> None:
        if isinstance(event, RawData):
            async with self._send_lock:
                await self._stream.send_all(event.data)
        elif isinstance(event, Closed):
            self._scope.cancel()
        elif isinstance(event, Updated):
            self._idle = event.idle
            if event.idle and (self._closing or self._leaving):
                self._spawn(self._finish)
            self._scope.deadline = trio.current_time() + (IDLE_SECONDS if event.idle else float("inf"))


class _Face:
    """The application as ASGI, in the form in which Hypercorn calls one."""

    def __init__(self, app: Application, certificate: Identity | None, peer: str, connection: H2Connection) -> None:
        self._app = app
        self._connection = connection
        self._certificate = certificate
        self._peer = peer

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
        sync_spawn: object,
        call_soon: object,
    ) -> None:
        query = scope["query_string"].decode("latin-1")
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            headers[name] = joined(headers[name], value) if name in headers else value
        uri = scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
        request = Request(
            scope["method"], scope["path"], query, headers, self._certificate, lambda: _body(receive), uri, self._peer
        )
        if random() < self._app.goaway_chance:
            await self._connection.leave()
        bodyless = request.method == "HEAD"
        response: Response | None = None
        always: Headers = ()
        with trio.move_on_after(self._app.time_limit(request.method, query)):
            try:
                response, always = await self._app.handle(request)
            except BodyError:
                return
            if response.stream is None:
                await _reply(response, always, send, bodyless=bodyless)
                return
        if response is not None and response.stream is not None:
            await _reply(response, always, send, bodyless=bodyless)
            await self._stream(response.stream, receive, send)
        elif response is None:
            with trio.move_on_after(LAST_WORDS_SECONDS):
                await _reply(error_response(request, timed_out()), always, send, bodyless=bodyless)

    async def _stream(
        self,
        stream: Stream,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Sends a body while it is made."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_notice_end, receive, nursery.cancel_scope)
                one = getattr(send, "__self__", None)  # of all that Hypercorn hands over this alone knows which it is
                direct = self._connection.sender(one.stream_id) if isinstance(one, HTTPStream) else None
                stream.bind(nursery.cancel_scope, direct)
                async with aclosing(stream.batches()) as batches:
                    async for batch in batches:
                        if batch:
                            await send({"type": "http.response.body", "body": b"".join(batch), "more_body": True})
                        else:
                            self._connection.send_rest()
                nursery.cancel_scope.cancel()
        finally:
            stream.close()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _reply(
    response: Response,
    always: Headers,
    send: Callable[[Message], Awaitable[None]],
    *,
    bodyless: bool,
) -> None:
    """Sends the head, and the body unless it is a stream."""
    headers = [*always, *response.headers]
    if response.content_type:
        headers.append((b"content-type", response.content_type))
    if response.stream is None:
        headers.append((b"content-length", b"%d" % response.size))
    lowered = [(name.lower(), value) for name, value in headers]
    await send({"type": "http.response.start", "status": response.status, "headers": lowered})
    if response.stream is None:
        for piece in () if bodyless else response.in_pieces():
            if response.size > PIECE_BYTES:
                await turn_to_send()
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _body(receive: Callable[[], Awaitable[Message]]) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BodyError
        part = message["body"]
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise status.request_entity_too_large(MAX_BODY_BYTES)
        parts.append(part)
        if not message["more_body"]:
            return b"".join(parts)


async def _notice_end(receive: Callable[[], Awaitable[Message]], scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
