"""gRPC's health checking: a member serves, as a whole, while it knows of a leader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.errors import KvraftError, NotSupportedForLearner
from kvraft.raft.messages import NO_NODE
from kvraft.wire.etcd import health_pb2 as pb

if TYPE_CHECKING:
    from kvraft.server.etcd.call import Call
    from kvraft.server.member import Member

SERVICE = ""
"""The name that stands for the whole server; there is no other, as in etcd."""


class UnknownService(KvraftError):
    """Its health was asked for."""

    code = "NotFound"
    text = "unknown service"


class Health:
    """The service. Whoever watches learns of a change within an election timeout."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._watches: dict[HealthWatch, None] = {}

    def status_of(self, service: str) -> pb.HealthCheckResponse.ServingStatus:
        """The whole server's status, or that the service is unknown."""
        if service != SERVICE:
            return pb.HealthCheckResponse.SERVICE_UNKNOWN
        serving = self._member.driver.raft.leader != NO_NODE
        return pb.HealthCheckResponse.SERVING if serving else pb.HealthCheckResponse.NOT_SERVING

    def check(self, call: Call, message: pb.HealthCheckRequest) -> None:
        """Check. As in etcd a learner has no answer: clients are not to be sent there."""
        if self._member.is_learner:
            call.fail(NotSupportedForLearner())
            return
        status = self.status_of(message.service)
        if status == pb.HealthCheckResponse.SERVICE_UNKNOWN:
            call.fail(UnknownService())
        else:
            call.reply(pb.HealthCheckResponse(status=status).SerializeToString())

    def watch(self, call: Call) -> HealthWatch:
        """Watch."""
        return HealthWatch(self, self._watches, call)

    def check_watches(self) -> None:
        """Tell of what has changed."""
        for watch in list(self._watches):
            watch.tell()


class HealthWatch:
    """One call of Watch; see ``call.Handler``."""

    def __init__(self, health: Health, watches: dict[HealthWatch, None], call: Call) -> None:
        self._health = health
        self._watches = watches
        self._call = call
        self._service = SERVICE
        self._told: int | None = None

    def message(self, message: pb.HealthCheckRequest) -> None:
        """What is to be watched; only the first counts."""
        if self not in self._watches:
            self._service = message.service
            self._watches[self] = None
            self.tell()

    def tell(self) -> None:
        """Send the status if it is another one than before, and the client reads."""
        status = self._health.status_of(self._service)
        if status != self._told and not self._call.full:
            self._told = status
            self._call.send(pb.HealthCheckResponse(status=status).SerializeToString())

    def half_closed(self) -> None:
        """It has asked."""

    def drained(self) -> None:
        """The next check tells what was missed."""

    def closed(self) -> None:
        """Nobody listens any more."""
        self._watches.pop(self, None)
