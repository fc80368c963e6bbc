"""One call of a client, as services see it; each edge has its own kind."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from kvraft.errors import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvraft.auth.identity import Credentials
    from kvraft.server.clients import ClientConnection
    from kvraft.server.etcd.services import Method
    from kvraft.server.timers import Timer
    from kvraft.types import WatchBatch
    from kvraft.wire.etcd import rpc_pb2 as pb


class Handler(Protocol):
    """What serves one streaming call. Nothing here may raise."""

    def message(self, message: Any) -> None:
        """The client sent a message."""
        ...

    def half_closed(self) -> None:
        """The client will send no more."""
        ...

    def drained(self) -> None:
        """The client has read what was held back for it; see ``Call.full``."""
        ...

    def closed(self) -> None:
        """The call is over, for whatever reason. Comes once, and last."""
        ...


class Call(ABC):
    """See the module; also a ``service.Caller``."""

    __slots__ = ("_began", "_timer", "connection", "handler", "method", "over")

    forwards = True
    """Clients of these protocols stay with the member that they chose."""

    def __init__(self, connection: ClientConnection, method: Method, began: float) -> None:
        """``began`` is the time of ``time.monotonic``."""
        self.connection = connection
        self.method = method
        self._began = began
        self.handler: Handler | None = None
        self.over = False
        self._timer: Timer | None = None

    # ------------------------------------------------------------------ what the service asks

    @property
    @abstractmethod
    def credentials(self) -> Credentials:
        """What the client shows of who it is."""

    @property
    @abstractmethod
    def congested(self) -> bool:
        """See ``service.Caller``."""

    @abstractmethod
    def hold(self, retry: Callable[[], None]) -> None:
        """See ``service.Caller``."""

    def _unless_over(self, retry: Callable[[], None]) -> Callable[[], None]:
        """``retry`` for later: a call that is over by then needs no answer."""

        def later() -> None:
            if self.over:
                self.connection.unanswered -= 1
            else:
                retry()

        return later

    # ------------------------------------------------------------------ what handlers ask

    @property
    def full(self) -> bool:
        """Whether so much of this call waits to be read that it must get no more; then ``drained`` will follow."""
        return self.congested

    @abstractmethod
    def send(self, message: bytes) -> None:
        """One message of several, encoded."""

    def encode_events(self, batch: WatchBatch) -> bytes:
        """The events of a batch, or of a part of one, for ``send_events``."""
        return self.connection.member.etcd.encoded_events(batch)

    def send_events(self, head: pb.WatchResponse, parts: Sequence[bytes]) -> None:
        """``head``, and in it events that were encoded in parts."""
        # Protobuf puts together what follows each other.
        self.send(b"".join((head.SerializeToString(), *parts)))

    @abstractmethod
    def reply(self, message: bytes) -> None:
        """The only message, encoded, and the end."""

    @abstractmethod
    def end(self) -> None:
        """The good end of a stream."""

    @abstractmethod
    def fail(self, error: Exception) -> None:
        """The bad end, a ``KvraftError``. After the end all of these do nothing."""

    # ------------------------------------------------------------------ for the edges

    def give(self, seconds: float) -> None:
        """Fail the call unless it is over within ``seconds``."""
        member = self.connection.member
        self._timer = member.timers.at(member.clock() + seconds, self._expire)

    def _expire(self) -> None:
        self.fail(DeadlineExceeded())

    def _is_over(self, failure: str = "") -> None:
        """Let go of everything; each edge calls it once, when either side has ended the call.

        ``failure`` is the name of its status, when that is not OK.
        """
        self.over = True
        if failure:
            self.method.failed[failure] += 1
        else:
            self.method.succeeded += 1
        seconds = time.monotonic() - self._began
        if seconds > self.method.noted_from_seconds:
            self.connection.member.etcd.lasted(self.method, seconds)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.handler is not None:
            self.connection.member.etcd.need_leader.pop(self, None)
            self.handler.closed()
            self.handler = None
