"""Which part of the member answers an HTTP request: a plain route, or the JSON gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.server.clients import Offer
from kvraft.server.http.access import MISDIRECTED, refusal_of_host
from kvraft.server.http.exchange import PLAIN_TEXT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kvraft.server.http.exchange import Exchange
    from kvraft.wire.http2.stream import Receiver

    Reply = tuple[int, str, bytes]
    """Status, content type, body."""
    Route = Callable[[str, str], Awaitable[Reply]]
    """What answers GET and HEAD of a path, given the path and the query. It may wait."""

GATEWAY_PREFIX = "/v3/"
NOT_FOUND = (404, PLAIN_TEXT, b"404 page not found\n")
METHOD_NOT_ALLOWED = (405, PLAIN_TEXT, b"Method Not Allowed\n")


class Answered:
    """Takes the rest of a request whose answer does not depend on it."""

    def data(self, data: bytes) -> None:
        """A body that nobody reads."""

    def half_closed(self) -> None:
        """Its end."""

    def lost(self) -> None:
        """The client went away."""

    def drained(self) -> None:
        """Nothing waits for it."""


ANSWERED = Answered()


class Pending(Answered):
    """The same while the answer is being made: a client that has gone needs none."""

    def __init__(self) -> None:
        self.gone = False

    def lost(self) -> None:
        """The client went away."""
        self.gone = True


async def _answer(exchange: Exchange, route: Route, pending: Pending) -> None:
    reply = await route(exchange.path, exchange.query)
    if not pending.gone:
        exchange.respond(*reply)
        exchange.connection.flush()


def opened(exchange: Exchange) -> Receiver:
    """Begin to serve ``exchange``; the receiver takes its body."""
    refusal = refusal_of_host(exchange)
    if refusal:
        exchange.origin = ""
        exchange.respond(MISDIRECTED, PLAIN_TEXT, refusal)
        return ANSWERED
    if exchange.method == "OPTIONS":
        exchange.respond(200, PLAIN_TEXT, b"")
        return ANSWERED
    offer = exchange.connection.offer
    route = exchange.connection.member.routes.get(exchange.path) if Offer.ROUTES in offer else None
    if route is not None:
        if exchange.method in ("GET", "HEAD"):
            pending = Pending()
            exchange.connection.member.spawn(_answer, exchange, route, pending)
            return pending
        exchange.respond(*METHOD_NOT_ALLOWED)
        return ANSWERED
    if exchange.path.startswith(GATEWAY_PREFIX) and Offer.GATEWAY in offer:
        from kvraft.server.http import gateway  # protobuf comes with it

        return gateway.opened(exchange)
    exchange.respond(*NOT_FOUND)
    return ANSWERED
