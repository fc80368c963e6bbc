"""The statuses that end calls to etcd as our errors: what is certain about them, and what is not."""

from __future__ import annotations

from kvraft.errors import (
    BY_WIRE,
    AnswerTooLarge,
    DeadlineExceeded,
    InvalidArgument,
    InvalidAuthToken,
    KvraftError,
    NotSupported,
    OutcomeUnknown,
    PermissionDenied,
    RequestTooLarge,
    Stopped,
    WatchCanceled,
)
from kvraft.wire.grpc.status import CODES

_BY_TEXT = {kind.text: kind for kind in BY_WIRE.values() if kind.text.startswith("etcdserver: ")}
_BY_CODE: dict[int, type[KvraftError]] = {
    CODES["InvalidArgument"]: InvalidArgument,
    CODES["DeadlineExceeded"]: DeadlineExceeded,
    CODES["NotFound"]: KvraftError,
    CODES["AlreadyExists"]: KvraftError,
    CODES["PermissionDenied"]: PermissionDenied,
    CODES["ResourceExhausted"]: KvraftError,
    CODES["FailedPrecondition"]: KvraftError,
    CODES["OutOfRange"]: KvraftError,
    CODES["Unimplemented"]: NotSupported,
    CODES["Unauthenticated"]: InvalidAuthToken,
}
"""What is refused with these has not happened. Of anything else nobody knows."""


def to_error(status: int, message: str) -> KvraftError:
    """The error that a call's status stands for. What this side does not know is not taken for a definite end."""
    known = _BY_TEXT.get(message)
    if known is Stopped:
        return OutcomeUnknown(message)  # etcd also says so to writes that were under way when it stopped
    if known is not None:
        return known(message)
    if status == CODES["ResourceExhausted"]:
        if message.startswith("grpc: received message"):
            return RequestTooLarge(message)
        if message.startswith("trying to send message"):
            return AnswerTooLarge(message)
    return _BY_CODE.get(status, OutcomeUnknown)(message)


_REASON_PREFIX = "rpc error: code = "
_REASON_TEXT = " desc = "


def to_cancel(reason: str) -> KvraftError:
    """Why a watch was cancelled, or could not be created."""
    if reason.startswith(_REASON_PREFIX):
        reason = reason.partition(_REASON_TEXT)[2]
    known = _BY_TEXT.get(reason) or _BY_TEXT.get(f"etcdserver: {reason}")
    if known is not None:
        return known()
    return WatchCanceled(f"{WatchCanceled.text}: {reason}" if reason else "")
