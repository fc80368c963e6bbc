"""One HTTP request and its answer, whichever version of HTTP carries it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvraft.server.clients import ClientConnection

PLAIN_TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
CORS = (
    ("access-control-allow-headers", "accept, content-type, authorization"),
    ("access-control-allow-methods", "POST, GET, OPTIONS, PUT, DELETE"),
    ("access-control-allow-origin", "*"),
)
"""etcd's answer to browsers, by its default of ``--cors``."""


class Exchange(ABC):
    """See the module. Its body arrives at the ``http2.stream.Receiver`` that ``app.opened`` returns for it."""

    __slots__ = ("connection", "headers", "method", "path", "query")

    def __init__(self, connection: ClientConnection, method: str, target: str, headers: dict[str, str]) -> None:
        self.connection = connection
        self.method = method
        self.path, _, self.query = target.partition("?")
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
