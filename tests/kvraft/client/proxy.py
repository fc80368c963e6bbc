"""A TCP proxy in front of a member, which can freeze, lose answers and cut connections."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Proxy:
    """``lose_answers``: what the member says is dropped. ``frozen``: nothing passes, nothing is closed."""

    def __init__(self, target_port: int) -> None:
        self.url = ""
        self.lose_answers = False
        self.lost_bytes = 0
        self.connections = 0
        self._target_port = target_port
        self._thawed = trio.Event()
        self._thawed.set()
        self._scopes: list[trio.CancelScope] = []

    def freeze(self) -> None:
        """Pass nothing until ``thaw``."""
        self._thawed = trio.Event()

    def thaw(self) -> None:
        """Pass everything again, the held back included."""
        self._thawed.set()

    def cut(self) -> None:
        """Close every connection."""
        for scope in self._scopes:
            scope.cancel()
        self._scopes.clear()

    async def serve(self, client: trio.SocketStream) -> None:
        """One connection of a client."""
        self.connections += 1
        with trio.CancelScope() as scope:
            self._scopes.append(scope)
            async with (
                client,
                await trio.open_tcp_stream("127.0.0.1", self._target_port) as member,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(self._pass, client, member, False, scope)
                nursery.start_soon(self._pass, member, client, True, scope)

    async def _pass(
        self, source: trio.SocketStream, sink: trio.SocketStream, is_answer: bool, scope: trio.CancelScope
    ) -> None:
        try:
            async for data in source:
                await self._thawed.wait()
                if is_answer and self.lose_answers:
                    self.lost_bytes += len(data)
                else:
                    await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the same as an end
        scope.cancel()


@asynccontextmanager
async def open_proxy(target_url: str) -> AsyncIterator[Proxy]:
    """A proxy in front of ``target_url``."""
    async with trio.open_nursery() as nursery:
        proxy = Proxy(int(target_url.rsplit(":", 1)[1]))
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        proxy.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.start_soon(trio.serve_listeners, proxy.serve, [listener])
        yield proxy
        nursery.cancel_scope.cancel()
