"""Statuses: their numbers, and the header blocks that carry them."""

from __future__ import annotations

from kvraft.errors import KvraftError
from kvraft.wire.http2 import headers

CODES = {
    "OK": 0,
    "Canceled": 1,
    "Unknown": 2,
    "InvalidArgument": 3,
    "DeadlineExceeded": 4,
    "NotFound": 5,
    "AlreadyExists": 6,
    "PermissionDenied": 7,
    "ResourceExhausted": 8,
    "FailedPrecondition": 9,
    "Aborted": 10,
    "OutOfRange": 11,
    "Unimplemented": 12,
    "Internal": 13,
    "Unavailable": 14,
    "DataLoss": 15,
    "Unauthenticated": 16,
}
"""Numbers by the names that ``KvraftError.code`` uses."""

CONTENT_TYPE = b"application/grpc"
HEADERS = headers.encode([(b":status", b"200"), (b"content-type", CONTENT_TYPE)])
"""How every answer begins."""
OK = headers.encode([(b"grpc-status", b"0")])
"""How every good answer ends."""


class Internal(KvraftError):
    """The client broke a rule of gRPC."""

    code = "Internal"
    text = "grpc: malformed message"


class Unimplemented(KvraftError):
    """There is no such service, method or encoding."""

    code = "Unimplemented"
    text = "unknown service"


class InvalidClientVersion(KvraftError):
    """What the client says of its version is no text."""

    code = "InvalidArgument"
    text = "etcdserver: invalid client api version"


class MessageTooLarge(KvraftError):
    """A message over the limit, before or after it is decompressed."""

    code = "ResourceExhausted"
    text = "grpc: received message larger than max"


def trailers(error: KvraftError) -> bytes:
    """The block that ends a call whose answer has begun."""
    return headers.encode(_fields(error))


def trailers_only(error: KvraftError, http_status: int = 200) -> bytes:
    """The block that is the whole answer."""
    return headers.encode(
        [(b":status", b"%d" % http_status), (b"content-type", CONTENT_TYPE), *_fields(error)],
    )


def _fields(error: KvraftError) -> list[tuple[bytes, bytes]]:
    return [(b"grpc-status", b"%d" % CODES[error.code]), (b"grpc-message", percent_encoded(str(error)))]


def percent_encoded(text: str) -> bytes:
    """A message as a header's value: what is not printable ASCII, and ``%``, as ``%XX``."""
    raw = text.encode("utf-8", "replace")
    return b"".join(b"%c" % byte if 0x20 <= byte < 0x7F and byte != 0x25 else b"%%%02X" % byte for byte in raw)
