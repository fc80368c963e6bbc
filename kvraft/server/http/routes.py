"""The plain routes of a member: what needs no protobuf and no body."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from kvraft.server.http.exchange import JSON
from kvraft.version import VERSION

if TYPE_CHECKING:
    from kvraft.server.http.app import Route
    from kvraft.server.member import Member


def routes(member: Member) -> dict[str, Route]:
    """Every route by its path."""
    return {"/version": _version}


def _version(path: str, query: str) -> tuple[int, str, bytes]:
    cluster = ".".join((*VERSION.split(".")[:2], "0"))
    return 200, JSON, orjson.dumps({"etcdserver": VERSION, "etcdcluster": cluster})
