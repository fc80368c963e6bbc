"""What the headers of a WebSocket request say: that it is one, its subprotocols, and the token among them. Pure.

Source: RFC 6455; a browser cannot set Authorization, so it may name its token as a subprotocol.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

BEARER_PREFIX = "base64url.bearer.authorization.k8s.io."
_UPGRADE = re.compile(r"(^|,\s*)upgrade($|\s*,)")
_RAW_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


class ProtocolTokenError(Exception):
    """The token among the subprotocols cannot be used."""


def is_websocket_request(headers: Mapping[str, str]) -> bool:
    """Whether the client asks to go on in WebSocket."""
    if headers.get("upgrade", "").lower() != "websocket":
        return False
    return _UPGRADE.search(headers.get("connection", "").lower()) is not None


def subprotocols(headers: Mapping[str, str]) -> list[str]:
    """The subprotocols that the client offers, in its order, without those that carry a token."""
    return [protocol for protocol in _offered(headers) if not protocol.startswith(BEARER_PREFIX)]


def protocol_token(headers: Mapping[str, str]) -> str:
    """The bearer token that a WebSocket request carries as a subprotocol, "" for none. Raises ProtocolTokenError."""
    if not is_websocket_request(headers):
        return ""
    offered = _offered(headers)
    tokens = [protocol[len(BEARER_PREFIX) :] for protocol in offered if protocol.startswith(BEARER_PREFIX)]
    if len(tokens) > 1:
        raise ProtocolTokenError("multiple base64.bearer.authorization tokens specified")
    if not tokens or not tokens[0]:
        return ""
    if len(offered) == 1:  # one must be left to be named in the answer
        raise ProtocolTokenError("missing additional subprotocol")
    return _decoded(tokens[0])


def _offered(headers: Mapping[str, str]) -> list[str]:
    header = headers.get("sec-websocket-protocol", "").strip()
    return [protocol.strip() for protocol in header.split(",")] if header else []


def _decoded(text: str) -> str:
    if _RAW_BASE64URL.fullmatch(text) is None or len(text) % 4 == 1:
        raise ProtocolTokenError("invalid base64.bearer.authorization token encoding")
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except UnicodeDecodeError as error:
        raise ProtocolTokenError("invalid base64.bearer.authorization token") from error
