"""The application that the protocols serve: the pipeline with its routes, and the limits around a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from apilayer.api.status import StatusError
from apilayer.audit.interface import NO_AUDIT
from apilayer.pipeline.deadline import READS, asked_timeout, time_limit
from apilayer.pipeline.flow_control import DEFAULT_READS, DEFAULT_WRITES, InFlightLimit
from apilayer.pipeline.metrics import RequestMetrics
from apilayer.pipeline.pipeline import Pipeline, timed_out
from apilayer.pipeline.request import Response
from apilayer.registry.options import parse_query
from apilayer.server import compression, wire
from apilayer.server.metrics import Metrics
from apilayer.server.router import Router
from apilayer.server.shutdown import is_probe, try_elsewhere

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from apilayer.audit.interface import Audit
    from apilayer.pipeline.flow_control import FlowControl
    from apilayer.pipeline.request import Headers, Request
    from apilayer.registry.registry import Registry
    from apilayer.server.health import Health
    from apilayer.server.reviews import Access
    from apilayer.server.token_requests import TokenIssuer
    from apilayer.storage.measured import MeasuredStore


class Application:
    """Answers requests; protocol classes call `handle` and hold to `time_limit`."""

    def __init__(
        self,
        registry: Registry,
        access: Access,
        health: Health,
        *,
        server_address: str,
        issuer: TokenIssuer | None = None,
        store: MeasuredStore | None = None,
        flow_control: FlowControl | None = None,
        request_timeout_seconds: float = 60.0,
        goaway_chance: float = 0.0,
        audit: Audit = NO_AUDIT,
    ) -> None:
        self.health = health
        self.flow_control = flow_control or InFlightLimit(DEFAULT_READS, DEFAULT_WRITES)
        self.requests = requests = RequestMetrics()
        metrics = Metrics(
            requests, self.flow_control, registry, store, audit.counts, access.authorizer, access.authenticator.counts
        )
        router = Router(registry, health, metrics, server_address, access, issuer)
        self._pipeline = Pipeline(
            access.authenticator, access.authorizer, self.flow_control, router.route, requests, audit, self.time_limit
        )
        self._request_timeout_seconds = request_timeout_seconds
        self._read_seconds = time_limit("GET", 0.0, request_timeout_seconds)
        self._write_seconds = time_limit("PUT", 0.0, request_timeout_seconds)
        self.goaway_chance = goaway_chance
        """How often an HTTP/2 client is asked, with a request, to open another connection."""
        self.refusing = False
        """Whether the server is about to end and new requests are to go elsewhere."""

    async def handle(self, request: Request) -> tuple[Response, Headers]:
        """The answer and the headers of every reply. Raises BodyError when the body cannot be read."""
        response, headers = await self.answer(request)
        if response.size > compression.MIN_BYTES:
            await compression.compress(request, response)
        return response, headers

    def answer(self, request: Request) -> Coroutine[Any, Any, tuple[Response, Headers]]:
        """As `handle`, but that what is large is yet to be compressed."""
        if self.refusing and not is_probe(request.path):
            return _elsewhere()
        return self._pipeline.handle(request)

    def time_limit(self, method: str, query: str) -> float:
        """How many seconds the request may take."""
        if "timeout=" not in query:
            return self._read_seconds if method in READS else self._write_seconds
        try:
            asked = asked_timeout(parse_query(query).get("timeout"))
        except StatusError:
            asked = 0.0  # the router says what is wrong with it
        return time_limit(method, asked, self._request_timeout_seconds)

    def timeout_answer(self) -> bytes:
        """The whole HTTP/1.1 answer to a request whose time is over."""
        error = timed_out()
        body = orjson.dumps(error.status)
        framing = b"Content-Length: %d\r\nConnection: close\r\n" % len(body)
        return wire.head(Response(error.code, body), (), framing) + body


async def _elsewhere() -> tuple[Response, Headers]:
    return try_elsewhere(), ()
