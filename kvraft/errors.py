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
        Exception.__init__(self, message or self.text)  # ``super`` costs as much again, where many are told this


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
        Exception.__init__(self, message or self.text)
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


class KeyNotFound(InvalidArgument):
    wire = 21
    text = "etcdserver: key not found"


class ValueProvided(InvalidArgument):
    wire = 22
    text = "etcdserver: value is provided"


class LeaseProvided(InvalidArgument):
    wire = 23
    text = "etcdserver: lease is provided"


class InvalidSortOption(InvalidArgument):
    wire = 24
    text = "etcdserver: invalid sort option"


class BadMemberUrls(InvalidArgument):
    wire = 25
    text = "etcdserver: given member URLs are invalid"


class UserEmpty(InvalidArgument):
    wire = 26
    text = "etcdserver: user name is empty"


class RoleEmpty(InvalidArgument):
    wire = 27
    text = "etcdserver: role name is empty"


class AuthFailed(InvalidArgument):
    wire = 28
    text = "etcdserver: authentication failed, invalid user ID or password"


class PermissionNotGiven(InvalidArgument):
    wire = 29
    text = "etcdserver: permission not given"


class InvalidAuthManagement(InvalidArgument):
    wire = 30
    text = "etcdserver: invalid auth management"


class AuthOldRevision(InvalidArgument):
    wire = 31
    text = "etcdserver: revision of auth store is old"


class LeaseTtlTooLarge(KvraftError):
    code = "OutOfRange"
    wire = 32
    text = "etcdserver: too large lease TTL"


class MemberNotFound(KvraftError):
    code = "NotFound"
    wire = 33
    text = "etcdserver: member not found"


class LeaseExists(KvraftError):
    code = "FailedPrecondition"
    wire = 34
    text = "etcdserver: lease already exists"


class MemberExists(KvraftError):
    code = "FailedPrecondition"
    wire = 35
    text = "etcdserver: member ID already exist"


class PeerUrlExists(KvraftError):
    code = "FailedPrecondition"
    wire = 36
    text = "etcdserver: Peer URLs already exists"


class NotEnoughStarted(KvraftError):
    code = "FailedPrecondition"
    wire = 37
    text = "etcdserver: re-configuration failed due to not enough started members"


class MemberNotLearner(KvraftError):
    code = "FailedPrecondition"
    wire = 38
    text = "etcdserver: can only promote a learner member"


class LearnerNotReady(KvraftError):
    code = "FailedPrecondition"
    wire = 39
    text = "etcdserver: can only promote a learner member which is in sync with leader"


class TooManyLearners(KvraftError):
    code = "FailedPrecondition"
    wire = 40
    text = "etcdserver: too many learner members in cluster"


class ClusterIdMismatch(KvraftError):
    code = "FailedPrecondition"
    wire = 41
    text = "etcdserver: cluster ID mismatch"


class RootUserNotExist(KvraftError):
    code = "FailedPrecondition"
    wire = 42
    text = "etcdserver: root user does not exist"


class RootRoleNotExist(KvraftError):
    code = "FailedPrecondition"
    wire = 43
    text = "etcdserver: root user does not have root role"


class UserAlreadyExist(KvraftError):
    code = "FailedPrecondition"
    wire = 44
    text = "etcdserver: user name already exists"


class UserNotFound(KvraftError):
    code = "FailedPrecondition"
    wire = 45
    text = "etcdserver: user name not found"


class RoleAlreadyExist(KvraftError):
    code = "FailedPrecondition"
    wire = 46
    text = "etcdserver: role name already exists"


class RoleNotFound(KvraftError):
    code = "FailedPrecondition"
    wire = 47
    text = "etcdserver: role name not found"


class RoleNotGranted(KvraftError):
    code = "FailedPrecondition"
    wire = 48
    text = "etcdserver: role is not granted to the user"


class PermissionNotGranted(KvraftError):
    code = "FailedPrecondition"
    wire = 49
    text = "etcdserver: permission is not granted to the role"


class AuthNotEnabled(KvraftError):
    code = "FailedPrecondition"
    wire = 50
    text = "etcdserver: authentication is not enabled"


class BadLeaderTransferee(KvraftError):
    code = "FailedPrecondition"
    wire = 51
    text = "etcdserver: bad leader transferee"


class NotSupportedForLearner(KvraftError):
    code = "FailedPrecondition"
    wire = 52
    text = "etcdserver: rpc not supported for learner"


class PermissionDenied(KvraftError):
    code = "PermissionDenied"
    wire = 53
    text = "etcdserver: permission denied"


class InvalidAuthToken(KvraftError):
    code = "Unauthenticated"
    wire = 54
    text = "etcdserver: invalid auth token"


class TimeoutLeaderFailure(OutcomeUnknown):
    code = "Unavailable"
    wire = 56
    text = "etcdserver: request timed out, possibly due to previous leader failure"


class TimeoutLeaderTransfer(OutcomeUnknown):
    code = "Unavailable"
    wire = 59
    text = "etcdserver: request timed out, leader transfer took too long"


class WatchCanceled(KvraftError):
    code = "Canceled"
    wire = 57
    text = "etcdserver: watch canceled"


class NotSupported(KvraftError):
    """This member does not know the operation."""

    code = "Unimplemented"
    wire = 58
    text = "etcdserver: not supported"


class WrongDowngradeVersion(InvalidArgument):
    wire = 85
    text = "etcdserver: wrong downgrade target version format"


class NoDowngradeTarget(InvalidArgument):
    """No earlier version can serve this one's data."""

    wire = 86
    text = "etcdserver: invalid downgrade target version"


class NoDowngrade(KvraftError):
    code = "FailedPrecondition"
    wire = 87
    text = "etcdserver: no inflight downgrade job"


class UnknownMethod(KvraftError):
    wire = 88
    text = "etcdserver: unknown method"


class SessionExpired(KvraftError):
    """Whoever waited for a lock, or ran for an election, has lost the lease that its key hung on."""

    wire = 80
    text = "mutex: session is expired"


class NotElected(KvraftError):
    """Only the leader of an election may do that, and it is none or no longer."""

    wire = 81
    text = "election: not leader"


class NobodyElected(KvraftError):
    wire = 82
    text = "election: no leader"


class LeaderKeyMissing(KvraftError):
    wire = 83
    text = '"leader" field must be provided'


class Locked(KvraftError):
    """Somebody else has the lock, and the caller did not want to wait."""

    wire = 84
    text = "mutex: Locked by another session"


class AnswerTooLarge(KvraftError):
    code = "ResourceExhausted"
    wire = 70
    text = "etcdserver: answer is too large: ask for the range in pages, with a limit"


class ReadsTooMuch(KvraftError):
    """Of a transaction, or of a delete that gives back what it deletes: the bounds are in ``kvraft.mvcc.bounds``."""

    code = "ResourceExhausted"
    wire = 71
    text = "etcdserver: request reads too much at once: ask for ranges in pages, outside of transactions"


def _tree(base: type[KvraftError]) -> dict[int, type[KvraftError]]:
    found = {base.wire: base}
    for sub in base.__subclasses__():
        found.update(_tree(sub))
    return found


BY_WIRE: dict[int, type[KvraftError]] = _tree(KvraftError)
"""Every error class by its number on the native protocol."""
