"""The one tree of errors. Each error knows whether the outcome of what was asked is definite.

``definite``: the operation did not happen and never will. A write with an indefinite error may or may not have
happened; nothing below the caller may repeat it. ``code`` is the gRPC status name that etcd uses, and the texts are
etcd's to the letter, because clients compare them.
"""

from __future__ import annotations

from typing import ClassVar


class KvraftError(Exception):
    """Base of everything that a store answers. ``wire`` identifies the class on the native protocol."""

    definite: ClassVar[bool] = True
    code: ClassVar[str] = "Unknown"
    wire: ClassVar[int] = 0
    text: ClassVar[str] = "etcdserver: unknown error"

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.text)


class InvalidArgument(KvraftError):
    code = "InvalidArgument"
    wire = 1
    text = "etcdserver: invalid argument"


class EmptyKey(InvalidArgument):
    wire = 2
    text = "etcdserver: key is not provided"


class TooManyOps(InvalidArgument):
    wire = 3
    text = "etcdserver: too many operations in txn request"


class DuplicateKey(InvalidArgument):
    wire = 4
    text = "etcdserver: duplicate key given in txn request"


class RequestTooLarge(InvalidArgument):
    wire = 5
    text = "etcdserver: request is too large"


class Compacted(KvraftError):
    code = "OutOfRange"
    wire = 6
    text = "etcdserver: mvcc: required revision has been compacted"


class FutureRevision(KvraftError):
    code = "OutOfRange"
    wire = 7
    text = "etcdserver: mvcc: required revision is a future revision"


class TooManyRequests(KvraftError):
    code = "ResourceExhausted"
    wire = 8
    text = "etcdserver: too many requests"


class NoSpace(KvraftError):
    code = "ResourceExhausted"
    wire = 9
    text = "etcdserver: mvcc: database space exceeded"


class Unavailable(KvraftError):
    code = "Unavailable"
    wire = 10
    text = "etcdserver: unhealthy cluster"


class NoLeader(Unavailable):
    wire = 11
    text = "etcdserver: no leader"


class NotLeader(Unavailable):
    """This member does not lead. ``leader`` is the client URL of the one that does, "" when unknown."""

    code = "FailedPrecondition"
    wire = 12
    text = "etcdserver: not leader"

    def __init__(self, message: str = "", leader: str = "") -> None:
        super().__init__(message)
        self.leader = leader


class Stopped(Unavailable):
    wire = 13
    text = "etcdserver: server stopped"


class Corrupt(KvraftError):
    code = "DataLoss"
    wire = 14
    text = "etcdserver: corrupt cluster"


class OutcomeUnknown(KvraftError):
    """A write may or may not have happened: its answer was lost, or its entry may yet be committed."""

    definite = False
    code = "Unavailable"
    wire = 15
    text = "etcdserver: request timed out"


class LeaderChanged(OutcomeUnknown):
    wire = 16
    text = "etcdserver: leader changed"


class ConnectionLost(OutcomeUnknown):
    """Client side: the connection ended before the answer came."""

    wire = 17
    text = "connection lost before the answer came"


class ProtocolError(KvraftError):
    """A peer broke the rules of the native protocol: the connection is closed with this reason."""

    code = "InvalidArgument"
    wire = 18
    text = "protocol error"


class DeadlineExceeded(OutcomeUnknown):
    code = "DeadlineExceeded"
    wire = 19
    text = "context deadline exceeded"


class LeaseNotFound(KvraftError):
    code = "NotFound"
    wire = 20
    text = "etcdserver: requested lease not found"


def _tree(base: type[KvraftError]) -> dict[int, type[KvraftError]]:
    found = {base.wire: base}
    for sub in base.__subclasses__():
        found.update(_tree(sub))
    return found


BY_WIRE: dict[int, type[KvraftError]] = _tree(KvraftError)
"""Every error class by its number on the native protocol."""
