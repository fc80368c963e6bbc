"""What a member does for those who ask, whichever protocol they speak: one request in, one answer out.

The native protocol, gRPC and the JSON gateway turn what they receive into the requests of ``kvraft.types``, hand them
to ``Service.start``, and turn the answer into their own words. Nothing here knows a protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from kvraft.errors import EmptyKey, KvraftError, NotSupported, NotSupportedForLearner, RequestTooLarge
from kvraft.types import (
    Command,
    CompactRequest,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    Response,
    StatusRequest,
    TxnRequest,
    WatchRequest,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvraft.server.member import Member
    from kvraft.watch.watcher import Sink, Watcher
    from kvraft.wire.native import Request

    Answer = Callable[[Response | KvraftError], None]
    """Called once, from the loop, perhaps before ``start`` returns. It must not raise."""
    Handler = Callable[[Any, bytes, "Caller", Answer], None]


class Caller(Protocol):
    """A connection, or one of its streams, on whose behalf something is asked."""

    @property
    def congested(self) -> bool:
        """Whether so much is waiting to be read by it that a large answer must not be made now."""
        ...

    def hold(self, retry: Callable[[], None]) -> None:
        """Call ``retry`` once it is no longer congested; drop it when the connection ends."""
        ...


class Service:
    """One member's operations, by the kind of request."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._handlers: dict[type, Handler] = {
            PutRequest: self._propose,
            RangeRequest: self._range,
            DeleteRangeRequest: self._propose,
            TxnRequest: self._propose,
            CompactRequest: self._propose,
            StatusRequest: self._status,
            **member.membership.handlers,
        }

    def start(self, request: Request, body: bytes, caller: Caller, answer: Answer) -> None:
        """Begin ``request``; ``answer`` gets its response or error.

        ``body`` is ``request`` in the native encoding (``native.encode_body``): what a log entry will hold.
        """
        handler = self._handlers.get(type(request))
        try:
            if self._member.is_learner and not _is_served_by_learners(request):
                raise NotSupportedForLearner
            if handler is None:
                raise NotSupported(f"etcdserver: {type(request).__name__} is not supported")
            handler(request, body, caller, answer)
        except KvraftError as error:
            answer(error)

    def _propose(self, request: Command, body: bytes, caller: Caller, answer: Answer) -> None:
        member = self._member
        if len(body) > member.config.max_request_bytes:
            raise RequestTooLarge
        member.machine.admit(request)
        member.driver.propose(body, answer)  # type: ignore[arg-type]

    def _status(self, request: StatusRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        answer(self._member.status())

    def _range(self, request: RangeRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        if not request.key:
            raise EmptyKey

        def read(error: KvraftError | None) -> None:
            if error is not None:
                answer(error)
            elif caller.congested:  # small questions with large answers must not fill the memory
                caller.hold(lambda: read(None))
            else:
                try:
                    found = self._member.machine.range(request)
                except KvraftError as failure:
                    answer(failure)
                else:
                    answer(found)

        if request.serializable:
            read(None)
        else:
            self._member.driver.read(read)

    def watch(self, request: WatchRequest, sink: Sink) -> Watcher:
        """Start a watch. Raises what is wrong with it as a ``KvraftError``."""
        if self._member.is_learner:
            raise NotSupportedForLearner
        return self._member.machine.watch.watch(request, sink)


def _is_served_by_learners(request: Request) -> bool:
    """As etcd has it: who has no vote may lag behind, and answers only what may be old."""
    return isinstance(request, StatusRequest) or (isinstance(request, RangeRequest) and request.serializable)
