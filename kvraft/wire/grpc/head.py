"""The head of a request: HTTP's own rules, and what gRPC adds. Made once for each header block that is sent again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvraft.wire.http2.headers import Header

_PSEUDO = {b":method", b":path", b":scheme", b":authority"}
_OF_CONNECTIONS = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")
UNKNOWN_VERSION = "unknown"
"""Of clients that do not say theirs."""
MAX_VERSION_CHARS = 40
"""What is longer is cut: it is kept for the metrics."""
_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


class Head:
    """A request's head; read-only, for many requests may share it.

    ``malformed`` says how it breaks HTTP/2, "" when it does not. ``refusal`` is an HTTP status and why gRPC refuses
    it, when ``is_grpc``.
    """

    __slots__ = (
        *("authority", "client_version", "encoding", "headers", "is_grpc", "malformed", "method"),
        *("path", "refusal", "timeout"),
    )

    def __init__(self, received: Sequence[Header]) -> None:
        pseudo: dict[bytes, bytes] = {}
        self.headers: dict[str, str] = {}
        """Regular headers, names in small letters; values of a repeated one are joined by commas."""
        self.malformed = _read(received, pseudo, self.headers)
        self.method = pseudo.get(b":method", b"").decode("latin-1")
        self.path = pseudo.get(b":path", b"").decode("latin-1")
        self.authority = pseudo.get(b":authority", b"").decode("latin-1")
        content_type = self.headers.get("content-type", "").lower()
        self.is_grpc = content_type.startswith("application/grpc")
        self.encoding = self.headers.get("grpc-encoding", "")
        self.timeout: float | None = None
        """Seconds that the client gives the call."""
        self.client_version = _client_version(self.headers)
        """Which version of etcd's interface the client says that it has; None for what is no text."""
        self.refusal: tuple[int, str] | None = None
        if self.is_grpc:
            self._check_grpc(content_type)

    def _check_grpc(self, content_type: str) -> None:
        if self.method != "POST":
            self.refusal = (405, f'Received a HEADERS frame with :method "{self.method}" which should be POST')
        elif content_type[len("application/grpc") :][:1] not in ("", "+", ";"):
            self.refusal = (415, f'invalid gRPC request content-type "{content_type}"')
        else:
            text = self.headers.get("grpc-timeout")
            if text is not None:
                match = _TIMEOUT.fullmatch(text)
                if match is None:
                    self.refusal = (400, f'malformed grpc-timeout: "{text}"')
                else:
                    self.timeout = int(match[1]) * _SECONDS[match[2]]


def _client_version(headers: dict[str, str]) -> str | None:
    version = headers.get("client-api-version", UNKNOWN_VERSION)
    try:
        return version.encode("latin-1").decode()[:MAX_VERSION_CHARS]
    except UnicodeDecodeError:
        return None


def _read(received: Sequence[Header], pseudo: dict[bytes, bytes], headers: dict[str, str]) -> str:
    """Sort headers into ``pseudo`` and ``headers``; what is wrong with them (RFC 9113, section 8.2 and 8.3)."""
    for name, value in received:
        if name[:1] == b":":
            if name not in _PSEUDO or name in pseudo or headers:
                return f"pseudo-header {name!r}"
            pseudo[name] = value
            continue
        if _NAME.fullmatch(name) is None or name in _OF_CONNECTIONS or (name == b"te" and value != b"trailers"):
            return f"header {name!r}"
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    if not (pseudo.get(b":method") and pseudo.get(b":path") and pseudo.get(b":scheme")):
        return "a pseudo-header is missing"
    return ""
