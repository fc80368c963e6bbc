"""The table of methods, and how calls of one message become requests of the service."""

from __future__ import annotations

import logging
from collections import Counter
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from kvraft.durations import format_duration
from kvraft.errors import KvraftError, NoLeader, NotSupportedForLearner, TooManyRequests
from kvraft.logs import Throttle, fields
from kvraft.raft.messages import NO_NODE
from kvraft.server import clients
from kvraft.server.etcd import recipes
from kvraft.server.etcd.health import Health
from kvraft.server.etcd.keep_alive import KeepAlive
from kvraft.server.etcd.reflection import V1, V1ALPHA, Reflection
from kvraft.server.etcd.snapshot import Snapshot
from kvraft.server.etcd.watch import WatchStream
from kvraft.server.observe.counters import Histogram
from kvraft.watch.encoding import Shared
from kvraft.wire.etcd import election_pb2, health_pb2, lock_pb2, reflection_pb2, reflection_v1alpha_pb2, rpc_pb2
from kvraft.wire.etcd.event_json import events_as_json
from kvraft.wire.etcd.methods import TRANSLATIONS
from kvraft.wire.etcd.responses import from_events
from kvraft.wire.etcd.stamp import Stamp
from kvraft.wire.native import encode_request_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvraft.server.etcd.call import Call, Handler
    from kvraft.server.member import Member

log = logging.getLogger(__name__)

UNARY = "unary"
KINDS = {
    (False, False): UNARY,
    (False, True): "server_stream",
    (True, False): "client_stream",
    (True, True): "bidi_stream",
}
"""By whether clients, and members, send several messages."""
MAX_VERSIONS = 16
"""Versions of clients that are told apart: they come from clients, and each takes memory and a line of the metrics."""
OTHER_VERSION = "other"
CALL_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Prometheus's usual buckets, which go-grpc has too."""
SNAPSHOT = "/etcdserverpb.Maintenance/Snapshot"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
OLDER_REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
SERVED_BY_LEARNERS = (SNAPSHOT, REFLECTION, OLDER_REFLECTION)
"""Streams that those without a vote serve; what calls of one message they serve the service says."""
MAX_LEADERLESS_ELECTIONS = 3
"""So many election timeouts without a leader end the streams that ask for one."""


class Method:
    """One method: either ``unary`` serves its calls, or ``stream`` makes the handler of each."""

    __slots__ = (
        *("answers", "failed", "kind", "misread", "noted_from_seconds", "parse", "path", "received"),
        *("request", "seconds", "sent", "started", "stream", "succeeded", "unary"),
    )

    def __init__(
        self,
        path: str,
        request: Any,
        answers: Any,
        kind: str,
        unary: Callable[[Call, Any], None] | None = None,
        stream: Callable[[Call], Handler] | None = None,
    ) -> None:
        self.path = path
        self.kind = kind
        """What go-grpc's metrics call it: ``unary`` or, say, ``bidi_stream``."""
        self.request = request
        """The class of its messages."""
        self.answers = answers
        """The class of its answers."""
        self.parse: Callable[[bytes], Any] = request.FromString
        self.unary = unary
        self.stream = stream
        self.started: dict[str | None, int] = {}
        """How many of its calls have begun, by the version that clients say they have; None: it was no text."""
        self.succeeded = 0
        """How many have ended well."""
        self.failed: Counter[str] = Counter()
        """How many have ended otherwise, by the name of their status."""
        self.received = self.sent = 0
        """Messages of clients, and those of streams of answers."""
        self.seconds: Histogram | None = None
        """How long calls take, where that is wanted."""
        self.noted_from_seconds = inf
        """Calls that take longer are told to ``EtcdServices.lasted``."""
        self.misread = 0
        """Streams that ended because what the client sent could not be read."""

    def first_of(self, version: str | None) -> None:
        """A client calls whose version is not in ``started`` yet."""
        if version is not None and len(self.started) >= MAX_VERSIONS:
            version = OTHER_VERSION
        self.started[version] = self.started.get(version, 0) + 1


class EtcdServices:
    """Everything of one member that speaks etcd's interface."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.stamp = Stamp(member.config.cluster_id, member.member_id, lambda: member.driver.raft.term)
        self.health = Health(member)
        self.need_leader: dict[Call, None] = {}
        """Streams that end when there has been no leader for too long."""
        self._leaderless = 0
        self._slow_calls = Throttle(1.0)
        self.methods: dict[str, Method] = {}
        """By path, "/package.Service/Method"."""
        self.encoded_events = Shared(lambda batch: from_events(batch.events).SerializeToString())
        self.json_events = Shared(lambda batch: events_as_json(batch.events))
        self._add_methods()
        self._watch_leader()

    @property
    def max_message_bytes(self) -> int:
        """Of one message of a client: larger ones are refused before they are looked at."""
        return self.member.config.max_request_bytes + OVERHEAD_BYTES

    @property
    def has_leader(self) -> bool:
        """Whether this member knows of a leader."""
        return self.member.driver.raft.leader != NO_NODE

    def begin(self, method: Method, call: Call, *, needs_leader: bool) -> None:
        """What comes before the first message of a call; it may be over after that."""
        if method.stream is not None and self.member.is_learner and method.path not in SERVED_BY_LEARNERS:
            call.fail(NotSupportedForLearner())
            return
        if needs_leader:
            if not self.has_leader:
                call.fail(NoLeader())
                return
            if method.stream is not None:
                self.need_leader[call] = None
        if method.stream is not None:
            call.handler = method.stream(call)

    def lasted(self, method: Method, seconds: float) -> None:
        """How long a call has taken, if that is to be noted. The log names the method, never keys or values."""
        if method.seconds is not None:
            method.seconds.observe(seconds)
        if method.kind == UNARY and seconds > self.member.config.warning_unary_seconds:
            skipped = self._slow_calls.skipped_since_last()
            if skipped is not None:
                spent = {"time spent": format_duration(seconds), "response type": method.path}
                log.warning("request stats", extra=fields(**spent, skipped=skipped))

    # ------------------------------------------------------------------ methods

    def _add_methods(self) -> None:
        streams: dict[str, Callable[[Call], Handler]] = {
            **recipes.streams(self),
            "/etcdserverpb.Watch/Watch": partial(WatchStream, self),
            "/etcdserverpb.Lease/LeaseKeepAlive": partial(KeepAlive, self),
            SNAPSHOT: partial(Snapshot, self),
            "/grpc.health.v1.Health/Watch": self.health.watch,
            REFLECTION: partial(Reflection, self, V1),
            OLDER_REFLECTION: partial(Reflection, self, V1ALPHA),
        }
        unaries: dict[str, Callable[[Call, Any], None]] = {"/grpc.health.v1.Health/Check": self.health.check}
        for service, rows in TRANSLATIONS.items():
            for name, (to_request, to_message) in rows.items():
                unaries[f"/{service}/{name}"] = self._asking(to_request, to_message)
        for module in (rpc_pb2, lock_pb2, election_pb2, health_pb2, reflection_pb2, reflection_v1alpha_pb2):
            for service in module.DESCRIPTOR.services_by_name.values():
                for descriptor in service.methods:
                    path = f"/{service.full_name}/{descriptor.name}"
                    request = getattr(module, descriptor.input_type.name)
                    answers = getattr(module, descriptor.output_type.name)
                    kind = KINDS[descriptor.client_streaming, descriptor.server_streaming]
                    self.methods[path] = method = Method(
                        path, request, answers, kind, unaries.pop(path, None), streams.pop(path, None)
                    )
                    if kind == UNARY:
                        method.noted_from_seconds = self.member.config.warning_unary_seconds
                    if self.member.config.metrics == "extensive":
                        method.seconds, method.noted_from_seconds = Histogram(CALL_SECONDS), -1.0
        assert not unaries, unaries
        assert not streams, streams

    def _asking(
        self, to_request: Callable[[Any], Any], to_message: Callable[[Stamp, Any], Any]
    ) -> Callable[[Call, Any], None]:
        """A method that asks the service."""
        service, stamp = self.member.service, self.stamp

        def answered(call: Call, answer: object) -> None:
            call.connection.unanswered -= 1
            if isinstance(answer, KvraftError):
                call.fail(answer)
            elif not call.over:
                call.reply(to_message(stamp, answer).SerializeToString())

        def ask(call: Call, message: Any) -> None:
            connection = call.connection
            try:
                if connection.unanswered >= clients.MAX_UNANSWERED:
                    raise TooManyRequests
                request = to_request(message)
            except KvraftError as error:
                call.fail(error)
                return
            connection.unanswered += 1
            service.start(request, encode_request_body(request), call, partial(answered, call))

        return ask

    # ------------------------------------------------------------------ leaders

    def _watch_leader(self) -> None:
        """Every election timeout: end what cannot do without a leader for longer."""
        member = self.member
        self._leaderless = 0 if self.has_leader else self._leaderless + 1
        if self._leaderless >= MAX_LEADERLESS_ELECTIONS:
            waiting, self.need_leader = self.need_leader, {}
            for call in waiting:
                call.fail(NoLeader())
        self.health.check_watches()
        member.timers.at(member.clock() + member.config.election_ms / 1000, self._watch_leader)


OVERHEAD_BYTES = 512 << 10
"""What etcd adds to the limit of a request for the message around it."""
