"""The request and the response as the pipeline sees them, whatever protocol brought them."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol

import attrs
import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence

    import trio

MAX_BODY_BYTES = 3 * 1024 * 1024
"""Kubernetes' limit for request bodies."""
PIECE_BYTES = 64 * 1024
"""Of a large body so much is sent at a time."""

Headers = tuple[tuple[bytes, bytes], ...]


class Repeated(str):
    """The values of a header that came more than once: joined by commas as HTTP wants it, and each in `values`.

    A value may hold a comma itself, so where each of them matters, as for groups, the joined text would say more
    than the sender did.
    """

    __slots__ = ("values",)
    values: tuple[str, ...]


def joined(first: str, further: str) -> Repeated:
    """The header with one more value."""
    both = Repeated(f"{first},{further}")
    both.values = (*values_of(first), further)
    return both


def values_of(header: str) -> tuple[str, ...]:
    """Each value of a header, in the order in which they came."""
    return header.values if isinstance(header, Repeated) else (header,)


class Lasting(str):
    """A header with credentials that comes with every request of a connection, as the very same object."""

    __slots__ = ("digest",)
    digest: bytes
    """Of its token, b"" until somebody has needed it."""


def lasting(header: str) -> Lasting:
    """The header, with room for what is made of it."""
    kept = Lasting(header)
    kept.digest = b""
    return kept


@attrs.frozen
class Identity:
    """Who a verified client certificate names: subject common name, organizations and uid; and which it is."""

    name: str
    groups: tuple[str, ...]
    uid: str = ""
    fingerprint: str = ""
    """SHA-256 of the certificate, in hexadecimal."""
    authorities: frozenset[str] = frozenset()
    """SHA-256 of every certificate of the chain that was verified."""
    expires: float = inf
    """When it ends, in seconds since 1970; a connection may outlive its certificate."""
    flaw: str = ""
    """Why it names nobody although it is valid; "": it does."""


class Request(msgspec.Struct, eq=False):
    """One request. Header names are lower case; `read_body` may be awaited once."""

    method: str
    path: str
    """Percent-decoded."""
    query: str
    headers: dict[str, str]
    certificate: Identity | None
    read_body: Callable[[], Awaitable[bytes]]
    """Answers the whole body. Raises StatusError 413 for one over MAX_BODY_BYTES, BodyError when cut off."""
    raw_uri: str = ""
    """Path and query as they came; "" when nobody kept them."""
    peer: str = ""
    """The address that the connection comes from."""
    may_park: bool = False
    """Whether the answer may be made in another task's turn, where nothing can be waited for: see `Freshness`."""


class BodyError(Exception):
    """The request's body cannot be read: the peer went away or broke the protocol."""


@attrs.frozen
class Sender:
    """Sends to one peer without waiting."""

    kind: str
    """Senders of one kind frame alike, so that what one has framed others may send."""
    framed: Callable[[list[bytes]], bytes]
    """Messages of a batch as they go over the wire."""
    send_now: Callable[[bytes], bool]
    """Sends what was framed as far as the peer takes it; False: the rest goes with the next batch.

    Raises BusyResourceError, with nothing sent, when it cannot go now: it is to be sent as batches are.
    """


class Stream(Protocol):
    """A body that is sent while it is made. The server closes it when the peer goes away."""

    def batches(self) -> AsyncGenerator[list[bytes], None]:
        """Messages, each batch to be sent at once; put together they are the body.

        An empty batch asks for what `Sender.send_now` has left over to be sent.
        """

    def unframed(self, message: bytes) -> str | bytes:
        """A message of a batch for a protocol that keeps messages apart itself; str is text."""

    def bind(self, scope: trio.CancelScope, sender: Sender | None = None) -> None:
        """Names the scope to cancel when the peer takes nothing for too long.

        Messages that come while the stream waits for them may go straight to `sender`.
        """

    def close(self) -> None:
        """Frees what the stream holds. Called once, after the last part."""


class Parts:
    """A body whose parts are put together as it is sent: `head`, `items` with `separator` between them, `tail`."""

    __slots__ = ("_head", "_items", "_separator", "_tail", "size")

    def __init__(self, head: bytes, items: Sequence[bytes], separator: bytes, tail: bytes, size: int) -> None:
        """`size` are the bytes of all items."""
        self._head = head
        self._items = items
        self._separator = separator
        self._tail = tail
        self.size = len(head) + size + len(separator) * max(0, len(items) - 1) + len(tail)
        """Bytes of the whole body."""

    def __iter__(self) -> Iterator[bytes]:
        """The body in pieces of about PIECE_BYTES."""
        separator = self._separator
        before, group, size = self._head, list[bytes](), 0
        for item in self._items:
            if size >= PIECE_BYTES:
                yield before + separator.join(group)
                before, group, size = separator, [], 0
            group.append(item)
            size += len(item)
        yield before + separator.join(group) + self._tail


class Response:
    """An answer: a body, whole or in pieces, or a stream. Headers beyond Content-Type and those of every reply are in
    `headers`.
    """

    __slots__ = ("_body", "content_type", "headers", "parts", "size", "status", "stream")

    def __init__(
        self,
        status: int,
        body: bytes,
        content_type: bytes = b"application/json",
        headers: Headers = (),
        stream: Stream | None = None,
        parts: Parts | None = None,
    ) -> None:
        self.status = status
        self._body = body
        self.content_type = content_type
        self.headers = headers
        self.stream = stream
        self.parts = parts
        """The body, where `body` would have to be put together first."""
        self.size = len(body) if parts is None else parts.size
        """How many bytes the body has."""

    @property
    def body(self) -> bytes:
        """The whole body."""
        return self._body if self.parts is None else b"".join(self.parts)

    @body.setter
    def body(self, body: bytes) -> None:
        self._body = body
        self.parts = None
        self.size = len(body)

    def in_pieces(self) -> Iterator[bytes]:
        """A large body, piece by piece."""
        if self.parts is not None:
            yield from self.parts
            return
        for start in range(0, len(self._body), PIECE_BYTES):
            yield self._body[start : start + PIECE_BYTES]
