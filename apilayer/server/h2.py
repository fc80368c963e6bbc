"""HTTP/2 by Hypercorn: its protocol over our streams, and an ASGI face of the application.

Imported when the first client speaks HTTP/2: most never do, and it costs a fifth of a second.
"""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import trio
from h2.errors import ErrorCodes
from h2.events import DataReceived
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from apilayer.api import status
from apilayer.pipeline.encoding import error_response
from apilayer.pipeline.pipeline import timed_out
from apilayer.pipeline.request import MAX_BODY_BYTES, BodyError, Request, joined
from apilayer.server.h2_frames import FrameLengths

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hypercorn.config import Config
    from hypercorn.events import Event

    from apilayer.pipeline.request import Headers, Identity, Response
    from apilayer.server.application import Application

Message = dict[str, Any]

RECEIVE_BYTES = 64 * 1024
IDLE_SECONDS = 90.0

log = logging.getLogger("apilayer.server.h2")


class _Protocol(H2Protocol):
    """Hypercorn's, except that data for a stream that was answered already is taken in and dropped."""

    async def _handle_events(self, events: list[Any]) -> None:
        for event in events:
            if isinstance(event, DataReceived) and event.stream_id not in self.streams:
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                await self._flush()
            else:
                await super()._handle_events([event])

    async def refuse_frame(self) -> None:
        """Says why the connection ends: a frame is too long."""
        self.connection.close_connection(ErrorCodes.FRAME_SIZE_ERROR)
        await self._flush()


class H2Connection:
    """Serves one HTTP/2 connection, whose TLS handshake is done, until either side ends it."""

    def __init__(
        self, stream: trio.abc.Stream, app: Application, certificate: Identity | None, config: Config, peer: str = ""
    ) -> None:
        self._stream = stream
        self._face: Any = _Face(app, certificate, peer)
        self._config = config
        self._context = WorkerContext(None)
        self._scope = trio.CancelScope()
        self._send_lock = trio.Lock()
        self._idle = True
        self._closing = False

    def shut_down(self) -> None:
        """Closes the connection as soon as it is idle; new streams are refused from now on."""
        self._closing = True
        if self._idle:
            self._scope.cancel()

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
            protocol = _Protocol(
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
            if event.idle and self._closing:
                self._scope.cancel()
            self._scope.deadline = trio.current_time() + (IDLE_SECONDS if event.idle else float("inf"))


class _Face:
    """The application as ASGI, in the form in which Hypercorn calls one."""

    def __init__(self, app: Application, certificate: Identity | None, peer: str) -> None:
        self._app = app
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
        response: Response | None = None
        always: Headers = ()
        with trio.move_on_after(self._app.time_limit(request.method, query)):
            try:
                response, always = await self._app.handle(request)
            except BodyError:
                return
        if response is None:
            response = error_response(request, timed_out())
        await _reply(response, always, receive, send, bodyless=request.method == "HEAD")


async def _reply(
    response: Response,
    always: Headers,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
    *,
    bodyless: bool,
) -> None:
    headers = [*always, *response.headers]
    if response.content_type:
        headers.append((b"content-type", response.content_type))
    if response.stream is None:
        headers.append((b"content-length", b"%d" % response.size))
    lowered = [(name.lower(), value) for name, value in headers]
    await send({"type": "http.response.start", "status": response.status, "headers": lowered})
    if response.stream is None:
        parts = () if bodyless else response.parts or (response.body,)
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    stream = response.stream
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_notice_end, receive, nursery.cancel_scope)
            stream.bind(nursery.cancel_scope)
            async with aclosing(stream.batches()) as batches:
                async for batch in batches:
                    await send({"type": "http.response.body", "body": b"".join(batch), "more_body": True})
            nursery.cancel_scope.cancel()
    finally:
        stream.close()
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
