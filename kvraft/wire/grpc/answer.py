"""The head of an answer, and what follows its messages: as gRPC reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvraft.wire.http2.headers import Header

UNKNOWN = 2
UNAVAILABLE = 14
_BY_HTTP = {b"400": 13, b"401": 16, b"403": 7, b"404": 12, b"429": 14, b"502": 14, b"503": 14, b"504": 14}
"""The status that a proxy's answer stands for."""
MAX_MESSAGE_CHARS = 4096


class AnswerHead:
    """A block of headers: the beginning of an answer, or with a status its end. Read-only, for it may be shared."""

    __slots__ = ("encoding", "is_informational", "message", "status")

    def __init__(self, received: Sequence[Header]) -> None:
        fields = dict(received)
        http = fields.get(b":status")
        self.is_informational = http is not None and http[:1] == b"1"
        self.encoding = fields.get(b"grpc-encoding", b"").decode("latin-1")
        self.status: int | None = None
        """gRPC's; None when the answer goes on."""
        self.message = ""
        code = fields.get(b"grpc-status")
        content_type = fields.get(b"content-type", b"").lower()
        if code is not None:
            self.status = int(code) if code.isdigit() and len(code) < 4 else UNKNOWN
            self.message = unquote(fields.get(b"grpc-message", b"").decode("latin-1"))[:MAX_MESSAGE_CHARS]
        elif http is not None and not self.is_informational:
            if http != b"200":
                self.status = _BY_HTTP.get(http, UNKNOWN)
                self.message = f"unexpected HTTP status code received from server: {http.decode('latin-1')}"
            elif not content_type.startswith(b"application/grpc"):
                self.status = UNKNOWN
                self.message = f'received unexpected content-type "{content_type.decode("latin-1")}"'
