"""Which web pages may use a member through a browser: origins (CORS), and names that it may be called by.

A page that has its own name resolve to a member's address is of the same origin as that member for a browser. Only the
name that the browser says it calls gives it away, where TLS does not check names ("DNS rebinding", CVE-2018-5702).
"""

from __future__ import annotations

import json
import logging
from functools import lru_cache
from typing import TYPE_CHECKING

from kvraft.logs import Throttle, fields
from kvraft.server.clients import Offer

if TYPE_CHECKING:
    from kvraft.server.http.exchange import Exchange

log = logging.getLogger(__name__)

ANY = "*"
MISDIRECTED = 421
_UNKNOWN_HOST = """
etcd received your request, but the Host header was unrecognized.

To fix this, choose one of the following options:
- Enable TLS, then any HTTPS request will be allowed.
- Add the hostname you want to use to the whitelist in settings.
  - e.g. etcd --host-whitelist %s

This requirement has been added to help prevent "DNS Rebinding" attacks (CVE-2018-5702).

"""
_lines = Throttle(1.0)


def allowed_origin(allowed: tuple[str, ...], origin: str) -> str:
    """What to tell browsers about a request of ``origin``, by ``--cors``; "": nothing."""
    if not allowed or ANY in allowed:
        return ANY
    return origin if origin in allowed else ""


@lru_cache(maxsize=64)
def cors_fields(origin: str) -> tuple[tuple[str, str], ...]:
    """The headers for that; as many as there are origins in ``--cors``."""
    if not origin:
        return ()
    return (
        ("access-control-allow-headers", "accept, content-type, authorization"),
        ("access-control-allow-methods", "POST, GET, OPTIONS, PUT, DELETE"),
        ("access-control-allow-origin", origin),
    )


def refusal_of_host(exchange: Exchange) -> bytes:
    """Why the name that ``exchange`` calls this member by is none of ``--host-whitelist``; "" when it may be."""
    connection = exchange.connection
    known = connection.member.config.host_whitelist
    if not known or ANY in known or connection.is_secure or connection.offer is Offer.ROUTES:
        return b""
    name = _without_port(exchange.host)
    if name in known:
        return b""
    skipped = _lines.skipped_since_last()
    if skipped is not None:
        log.warning("rejecting HTTP request to prevent DNS rebinding attacks", extra=fields(host=name, skipped=skipped))
    return (_UNKNOWN_HOST % json.dumps(name)).encode()


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdigit() or (":" in name and not name.endswith("]")):
        return host
    return name.removeprefix("[").removesuffix("]")
