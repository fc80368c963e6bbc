"""A small HTTPS server in this process, for tests of what asks others: webhooks, identity providers."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import h11
import orjson
import trio

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    Handler = Callable[["Asked"], Awaitable["Reply | None"]]


@attrs.frozen
class Asked:
    """A request as it came; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    certificate: dict[str, Any]

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@attrs.frozen
class Reply:
    """What to answer; an object goes as JSON."""

    body: Any = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


class HttpsServer:
    """Answers with `handler`; one that answers None breaks the connection. `asked` holds what came."""

    def __init__(self, port: int, handler: Handler, *, secure: bool) -> None:
        self.url = f"{'https' if secure else 'http'}://127.0.0.1:{port}"
        self.asked: list[Asked] = []
        self.connections = 0
        self.handler = handler

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        try:
            await self._connection(stream)
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            return
        finally:
            with trio.move_on_after(0.5, shield=True):
                await trio.aclose_forcefully(stream)

    async def _connection(self, stream: trio.abc.Stream) -> None:
        protocol = h11.Connection(h11.SERVER)
        while True:
            asked = await self._request(stream, protocol)
            if asked is None:
                return
            self.asked.append(asked)
            reply = await self.handler(asked)
            if reply is None:
                return
            body = reply.body if isinstance(reply.body, bytes) else orjson.dumps(reply.body)
            headers = [("Content-Length", str(len(body))), *reply.headers]
            parts = [
                protocol.send(h11.Response(status_code=reply.status, headers=headers)),
                protocol.send(h11.Data(data=body)),
                protocol.send(h11.EndOfMessage()),
            ]
            await stream.send_all(b"".join(part or b"" for part in parts))
            if protocol.our_state is not h11.DONE or protocol.their_state is not h11.DONE:
                return
            protocol.start_next_cycle()

    @staticmethod
    async def _request(stream: trio.abc.Stream, protocol: h11.Connection) -> Asked | None:
        head: h11.Request | None = None
        body = b""
        while True:
            event = protocol.next_event()
            if event is h11.NEED_DATA:
                protocol.receive_data(await stream.receive_some(65536))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                headers = {name.decode(): value.decode() for name, value in head.headers}
                certificate = stream.getpeercert() if isinstance(stream, trio.SSLStream) else None
                return Asked(head.method.decode(), head.target.decode(), headers, body, certificate or {})
            else:
                return None


@asynccontextmanager
async def https_server(context: ssl.SSLContext | None, handler: Handler) -> AsyncIterator[HttpsServer]:
    """Serves on a free port of loopback; without a context in the clear."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = HttpsServer(listeners[0].socket.getsockname()[1], handler, secure=context is not None)

    async def secure(stream: trio.SocketStream) -> None:
        await server.serve(
            trio.SSLStream(stream, context, server_side=True, https_compatible=True) if context else stream
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, secure, listeners)
        yield server
        nursery.cancel_scope.cancel()
