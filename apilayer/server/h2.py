"""HTTP/2 by Hypercorn: its TCP server and protocol over our streams, and an ASGI face of the application.

Imported when the first client speaks HTTP/2: most never do, and it costs a fifth of a second.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import trio
from h2.events import DataReceived
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

from apilayer.api import status
from apilayer.pipeline.encoding import error_response
from apilayer.pipeline.pipeline import timed_out
from apilayer.pipeline.request import MAX_BODY_BYTES, BodyError, Request
from apilayer.server import wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hypercorn.config import Config

    from apilayer.pipeline.request import Headers, Identity, Response
    from apilayer.server.application import Application

Message = dict[str, Any]

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


async def serve(
    stream: trio.SSLStream[trio.SocketStream], app: Application, certificate: Identity | None, config: Config
) -> None:
    """Serves one HTTP/2 connection, whose handshake is done, until it ends."""
    server = TCPServer(_Face(app, certificate), config, WorkerContext(None), {}, stream)  # type: ignore[arg-type]
    try:
        await server.run()
    except Exception:
        log.exception("an HTTP/2 connection failed")


class _Face:
    """The application as ASGI, in the form in which Hypercorn calls one."""

    def __init__(self, app: Application, certificate: Identity | None) -> None:
        self._app = app
        self._certificate = certificate

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
        sync_spawn: object,
        call_soon: object,
    ) -> None:
        query = scope["query_string"].decode("latin-1")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        request = Request(
            scope["method"], scope["path"], query, headers, self._certificate, lambda: _body(receive)
        )
        response: Response | None = None
        with trio.move_on_after(self._app.time_limit(request.method, query)):
            try:
                response, always = await self._app.handle(request)
            except BodyError:
                return
        if response is None:
            response, always = error_response(request, timed_out()), ()
        await self._reply(response, always, receive, send, bodyless=request.method == "HEAD")

    async def _reply(
        self,
        response: Response,
        always: Headers,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
        *,
        bodyless: bool,
    ) -> None:
        headers = [*always, *response.headers, (b"content-type", response.content_type)]
        headers.append((b"date", wire.DATE.value()))
        if response.stream is None:
            headers.append((b"content-length", b"%d" % len(response.body)))
        lowered = [(name.lower(), value) for name, value in headers]
        await send({"type": "http.response.start", "status": response.status, "headers": lowered})
        if response.stream is None:
            body = b"" if bodyless else response.body
            await send({"type": "http.response.body", "body": body, "more_body": False})
            return
        stream = response.stream
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_notice_end, receive, nursery.cancel_scope)
                async for part in stream.chunks():
                    await send({"type": "http.response.body", "body": part, "more_body": True})
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
