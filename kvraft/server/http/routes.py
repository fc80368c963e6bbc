"""The plain routes of a member: what needs no protobuf and no body."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from kvraft.server.observe.routes import ROUTES

if TYPE_CHECKING:
    from kvraft.server.http.app import Reply, Route
    from kvraft.server.member import Member
    from kvraft.server.observe.routes import Handler


def routes(member: Member) -> dict[str, Route]:
    """Every route by its path."""
    return {path: partial(_serve, handler, member) for path, handler in ROUTES.items()}


async def _serve(handler: Handler, member: Member, path: str, query: str) -> Reply:
    return await handler(path, parse_qs(query, keep_blank_values=True), member)
