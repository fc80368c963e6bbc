"""The whole API server but for its sockets: requests go in, responses and watches come out."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import orjson
import trio

from apilayer.audit.interface import NO_AUDIT
from apilayer.pipeline.authentication import Authenticator, parse_token_file
from apilayer.pipeline.authorization import Privileged
from apilayer.pipeline.request import MAX_BODY_BYTES, Request
from apilayer.registry.bootstrap import bootstrap
from apilayer.registry.registry import Registry
from apilayer.server.application import Application
from apilayer.server.health import Health
from apilayer.server.reviews import Access
from tests.apilayer.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from apilayer.audit.interface import Audit
    from apilayer.pipeline.request import Stream
    from apilayer.storage.interface import Store

HEADERS = {"authorization": "Bearer secret", "user-agent": "test/1"}


@attrs.frozen
class Answer:
    """A response that is complete."""

    status: int
    body: bytes
    media: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class Watching:
    """An open watch. `taken` holds what it has shown so far."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._batches: AsyncGenerator[list[bytes], None] = stream.batches()
        self.taken: list[Any] = []
        self.ended = False

    async def run(self) -> None:
        """Takes everything until the watch ends."""
        async for batch in self._batches:
            self.taken += [orjson.loads(line) for line in batch]
        self.ended = True

    async def close(self) -> None:
        await self._batches.aclose()
        self._stream.close()


class Server:
    """An application over a store. Only its watch cache runs; there are no controllers."""

    def __init__(self, store: Store, audit: Audit = NO_AUDIT) -> None:
        self.store = store
        self.registry = Registry(store)
        health = Health(store, self.registry.cache)
        health.started = True
        authenticator = Authenticator(parse_token_file(['secret,admin,1,"system:masters"']))
        access = Access(authenticator, Privileged())
        self.app = Application(self.registry, access, health, server_address="127.0.0.1:6443", audit=audit)

    async def start(self, nursery: trio.Nursery) -> None:
        """Loads the cache and makes what every cluster has."""
        nursery.start_soon(self.registry.cache.run)
        await self.registry.cache.loaded.wait()
        await bootstrap(self.registry)

    async def send(self, method: str, target: str, body: Any = None, **headers: str) -> Any:
        """The response object (header names with _ for -)."""
        path, _, query = target.partition("?")
        data = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        assert len(data) <= MAX_BODY_BYTES

        async def read_body() -> bytes:
            return data

        named = HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
        response, _ = await self.app.handle(Request(method, path, query, named, None, read_body))
        return response

    async def request(self, method: str, target: str, body: Any = None, **headers: str) -> Answer:
        """The answer to a request."""
        response = await self.send(method, target, body, **headers)
        assert response.stream is None
        return Answer(response.status, response.body, response.content_type)

    async def watch(self, target: str) -> Watching:
        """Opens a watch, which must not be refused."""
        response = await self.send("GET", target)
        assert response.status == 200, response.body
        assert response.stream is not None
        return Watching(response.stream)


@asynccontextmanager
async def serving(store: Store | None = None, audit: Audit = NO_AUDIT) -> AsyncIterator[Server]:
    """A started server, over a store of its own unless one is given."""
    async with trio.open_nursery() as nursery:
        server = Server(store if store is not None else MemoryStore(), audit)
        await server.start(nursery)
        yield server
        nursery.cancel_scope.cancel()
