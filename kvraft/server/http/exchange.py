"""One HTTP request and its answer, whichever version of HTTP carries it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from kvraft.server.http.access import allowed_origin

if TYPE_CHECKING:
    from kvraft.server.clients import ClientConnection

PLAIN_TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


class Exchange(ABC):
    """See the module. Its body arrives at the ``http2.stream.Receiver`` that ``app.opened`` returns for it."""

    __slots__ = ("connection", "headers", "host", "method", "origin", "path", "query")

    def __init__(
        self, connection: ClientConnection, method: str, target: str, headers: dict[str, str], host: str
    ) -> None:
        self.connection = connection
        self.host = host
        """What the client calls this member, a port included."""
        self.origin = allowed_origin(connection.member.config.cors, headers.get("origin", ""))
        """Whose pages may read the answer, as browsers are told."""
        self.method = method
        self.path, _, self.query = target.partition("?")
        if self.path.startswith("/v3beta/"):  # as clients of etcd 3.3 have it
            self.path = self.path.replace("/v3beta/", "/v3/", 1)
        self.headers = headers
        """Names in small letters."""

    @property
    @abstractmethod
    def full(self) -> bool:
        """Whether so much of the answer waits to be read that it must not grow; then ``drained`` will follow."""

    @abstractmethod
    def respond(self, status: int, content_type: str, body: bytes) -> None:
        """The whole answer."""

    @abstractmethod
    def start(self, status: int, content_type: str) -> None:
        """The head of an answer whose body comes in parts."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """A part of the body."""

    @abstractmethod
    def finish(self) -> None:
        """The end of the body."""
