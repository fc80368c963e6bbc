"""One request's way into the audit: which stages are told, and what each event holds.

Source: Kubernetes' ``apiserver/pkg/endpoints/filters/audit.go`` and ``apiserver/pkg/audit/context.go``.
"""

from __future__ import annotations

from functools import lru_cache, partial
from time import time
from typing import TYPE_CHECKING, Any, Protocol

import trio

from apilayer.api import status
from apilayer.audit import bodies
from apilayer.audit.event import (
    NOBODY,
    AuthenticationMetadata,
    Event,
    ObjectReference,
    ResponseStatus,
    UserInfo,
    micro_time,
)
from apilayer.audit.interface import Audit, Record
from apilayer.audit.policy import NOTHING, PANIC, REQUEST_RECEIVED, RESPONSE_COMPLETE, RESPONSE_STARTED, Level
from apilayer.audit.source import request_uri, source_ips, user_agent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    import msgspec

    from apilayer.audit.counts import AuditCounts
    from apilayer.audit.policy import Decision, Policy
    from apilayer.pipeline.authentication import User
    from apilayer.pipeline.authorization import Verdict
    from apilayer.pipeline.request import Request, Response, Sender, Stream
    from apilayer.pipeline.request_info import RequestInfo

    Decide = Callable[[User | None, RequestInfo], Decision]

DECISION = "authorization.k8s.io/decision"
REASON = "authorization.k8s.io/reason"
LATENCY = "apiserver.latency.k8s.io/total"
SLOW_SECONDS = 0.5
MAX_ANNOTATIONS = 64
MAX_DECISIONS = 4096
"""So many requests of somebody are remembered with what the policy, which never changes, says of them."""
MAX_BYTES_ON_LOOP = 64 * 1024
"""Larger bodies are turned into JSON in another thread."""
_LONG_VERBS = frozenset({"watch", "proxy"})
_LONG_SUBRESOURCES = frozenset({"attach", "exec", "proxy", "log", "portforward"})
_NAMING = frozenset({"create", "update"})
"""Whose bodies say which object it is, for every level."""
_WITH_BODY = frozenset({"create", "update", "patch", "delete", "deletecollection"})


class Sink(Protocol):
    """Where events go."""

    async def process(self, event: Event) -> bool:
        """Takes an event; False when it had to be written and could not be."""

    def process_soon(self, event: Event) -> None:
        """Takes an event of a request that nobody waits for any more."""

    async def run(self) -> None:
        """Writes until it is cancelled, and then what is left."""


class RecordingAudit(Audit):
    """Records what the policy says."""

    def __init__(self, policy: Policy, sink: Sink, counts: AuditCounts) -> None:
        remembered = lru_cache(maxsize=MAX_DECISIONS)(policy.decide)
        self._decide: Decide = lambda user, info: (remembered if info.is_small else policy.decide)(user, info)
        self._sink = sink
        self._begun = counts
        self.counts = counts

    def begin(self, request: Request, audit_id: str) -> Record:
        return _Recording(request, audit_id, self._decide, self._sink, self._begun)

    async def run(self) -> None:
        await self._sink.run()


class _Recording(Record):
    """A record with its policy's decision; while there is none, nobody has proved who he is."""

    __slots__ = (
        "_agent",
        "_annotations",
        "_asked",
        "_body",
        "_constraint",
        "_counts",
        "_decide",
        "_decision",
        "_id",
        "_impersonated",
        "_info",
        "_known",
        "_named",
        "_panic",
        "_recorded",
        "_reference",
        "_request_object",
        "_shared",
        "_sink",
        "_sources",
        "_started",
        "_started_text",
        "_user",
        "tells",
    )

    # Set once there is something to record.
    _info: RequestInfo
    _annotations: dict[str, str]
    _shared: dict[str, str] | None
    _body: bytes | None
    _named: bodies.Metadata | None
    _request_object: msgspec.Raw | None
    _impersonated: UserInfo | None
    _constraint: AuthenticationMetadata | None
    _panic: Exception | None
    _reference: ObjectReference | None

    def __init__(self, request: Request, audit_id: str, decide: Decide, sink: Sink, counts: AuditCounts) -> None:
        self._asked = request
        self._id = audit_id
        self._decide = decide
        self._sink = sink
        self._counts = counts
        self._started = time()
        self._decision = NOTHING
        self._recorded = False
        self._known = False
        self.tells = True

    # ------------------------------------------------------------------ what the pipeline says

    def concerns(self, info: RequestInfo, user: User) -> bool:
        self._known = True
        self.tells = self._begin(info, user)
        return self.tells

    async def received(self) -> None:
        info = self._info
        told = _NAMING if self._decision.level < Level.REQUEST else _WITH_BODY
        if info.is_resource and info.verb in told:
            self._asked.read_body = partial(self._reading, self._asked.read_body)
        if not await self._tell(REQUEST_RECEIVED):
            self._counts.rejected += 1
            self._recorded = self.tells = False
            raise status.internal_error("failed to store audit event")

    def impersonated(self, user: User, constraint: str = "") -> None:
        if self._recorded:
            self._impersonated = user_info(user)
            self._constraint = AuthenticationMetadata(constraint) if constraint else None

    def decided(self, verdict: Verdict) -> None:
        if not self._recorded:
            return
        if verdict.error and not verdict.allowed:
            self.annotate(REASON, "internal error")
            return
        self.annotate(DECISION, "allow" if verdict.allowed else "forbid")
        self.annotate(REASON, verdict.reason)

    def names(self, metadata: Mapping[str, Any]) -> None:
        if self._recorded:
            said = (metadata.get(name, "") for name in ("name", "namespace", "uid", "resourceVersion"))
            self._named = bodies.Metadata(*said)

    def share(self, annotations: dict[str, str]) -> None:
        if self._recorded:
            self._shared = annotations

    def annotate(self, key: str, value: str) -> None:
        if self._recorded and len(self._annotations) < MAX_ANNOTATIONS:
            self._annotations.setdefault(key, value)

    def panicked(self, error: Exception) -> None:
        if self._recorded:
            self._panic = error

    async def answered(self, info: RequestInfo | None, response: Response) -> None:
        if not self._known:
            if info is not None and self._begin(info, None):
                await self._tell(RESPONSE_STARTED, bodies.response_status(response), self._answer(response))
            return
        if self._panic is not None:
            await self._tell(PANIC, _panicked(self._panic))
            return
        if self._body is not None:
            await self._read_request()
        found, answer = await self._read_response(response)
        if _is_long_running(self._info):
            await self._tell(RESPONSE_STARTED, found, answer)
        if response.stream is None:
            await self._tell(RESPONSE_COMPLETE, found, answer)
        else:
            response.stream = _Followed(response.stream, partial(self._tell_soon, RESPONSE_COMPLETE, found))

    def given_up(self) -> None:
        if not self._recorded:
            return
        error = status.timeout("request did not complete within the time that it may take")
        self._tell_soon(RESPONSE_COMPLETE, bodies.of_status(error.status, error.code))

    # ------------------------------------------------------------------ what is recorded

    def _begin(self, info: RequestInfo, user: User | None) -> bool:
        """Asks the policy; whether there is anything to record."""
        self._decision = self._decide(user, info)
        level = self._decision.level
        self._counts.levels[level] += 1
        if level == Level.NONE:
            return False
        self._recorded = True
        self._info = info
        self._annotations = {}
        self._shared = None
        self._body = None
        self._named = None
        self._request_object = None
        self._impersonated = None
        self._constraint = None
        self._panic = None
        self._started_text = micro_time(self._started)
        request = self._asked
        self._sources = source_ips(request.headers, request.peer)
        self._agent = user_agent(request.headers.get("user-agent", ""))
        self._user = NOBODY if user is None else user_info(user)
        self._reference = None
        if info.is_resource:
            self._reference = ObjectReference(
                resource=info.resource,
                namespace=info.namespace,
                name=info.name,
                api_group=info.group,
                api_version=info.version,
                subresource=info.subresource,
            )
        return True

    async def _reading(self, read: Callable[[], Awaitable[bytes]]) -> bytes:
        """The request's body, which the handler asks for; kept until the answer is there."""
        self._body = body = await read()
        return body

    async def _read_request(self) -> None:
        body, self._body = self._body, None
        reference, info = self._reference, self._info
        assert body is not None
        assert reference is not None
        content_type = self._asked.headers.get("content-type", "")
        if info.verb in _NAMING:
            found = self._named or bodies.metadata_of(body, content_type)
            reference.name = reference.name or found.name
            reference.namespace = reference.namespace or found.namespace
            reference.uid, reference.resource_version = found.uid, found.resource_version
        if self._decision.level >= Level.REQUEST and body:
            self._request_object = await self._as_json(body, content_type, compact=False)

    async def _read_response(self, response: Response) -> tuple[ResponseStatus, msgspec.Raw | None]:
        found = bodies.response_status(response)
        if self._decision.level < Level.REQUEST_RESPONSE or not self._tells_response(response):
            return found, None
        content_type = response.content_type.decode("latin-1")
        return found, await self._as_json(response.body, content_type, compact=b"\n" not in response.body)

    def _answer(self, response: Response) -> msgspec.Raw | None:
        """The answer to somebody unknown, which is a small Status."""
        if self._decision.level < Level.REQUEST_RESPONSE:
            return None
        content_type = response.content_type.decode("latin-1")
        return bodies.as_json(response.body, content_type, omit_managed_fields=False, compact=False)

    def _tells_response(self, response: Response) -> bool:
        """Whether the answer is an object of the API, and not a document or text."""
        info = self._info
        if response.stream is not None or not response.body:
            return False
        return response.status >= 400 or info.is_resource or info.path.startswith(("/api", "/apis"))

    async def _as_json(self, body: bytes, content_type: str, *, compact: bool) -> msgspec.Raw | None:
        turned = partial(
            bodies.as_json,
            body,
            content_type,
            omit_managed_fields=self._decision.omit_managed_fields,
            compact=compact,
        )
        return await trio.to_thread.run_sync(turned) if len(body) > MAX_BYTES_ON_LOOP else turned()

    # ------------------------------------------------------------------ events

    async def _tell(self, stage: str, found: ResponseStatus | None = None, answer: msgspec.Raw | None = None) -> bool:
        if stage in self._decision.omit_stages:
            return True
        self._counts.events += 1
        return await self._sink.process(self._event(stage, found, answer))

    def _tell_soon(self, stage: str, found: ResponseStatus) -> None:
        if stage not in self._decision.omit_stages:
            self._counts.events += 1
            self._sink.process_soon(self._event(stage, found, None))

    def _event(self, stage: str, found: ResponseStatus | None, answer: msgspec.Raw | None) -> Event:
        info = self._info
        request, now = self._asked, self._started if stage == REQUEST_RECEIVED else time()
        return Event(
            level=self._decision.level.text,
            audit_id=self._id,
            stage=stage,
            request_uri=request.raw_uri if request.raw_uri[:1] == "/" else request_uri(request.path, request.query),
            verb=info.verb,
            user=self._user,
            impersonated_user=self._impersonated,
            authentication_metadata=self._constraint,
            source_ips=self._sources,
            user_agent=self._agent,
            object_ref=self._reference,
            response_status=found,
            request_object=self._request_object,
            response_object=answer,
            request_received_timestamp=self._started_text,
            stage_timestamp=self._started_text if stage == REQUEST_RECEIVED else micro_time(now),
            annotations=self._noted(stage, now - self._started),
        )

    def _noted(self, stage: str, seconds: float) -> dict[str, str] | None:
        annotations = self._annotations
        if self._shared:
            annotations = self._annotations = {**self._shared, **annotations}
        slow = seconds > SLOW_SECONDS and stage == RESPONSE_COMPLETE and not _is_long_running(self._info)
        if slow:
            annotations[LATENCY] = f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"
        return annotations or None


class _Followed:
    """A stream that tells when it has ended."""

    def __init__(self, stream: Stream, ended: Callable[[], None]) -> None:
        self._stream = stream
        self._ended = ended

    def batches(self) -> AsyncGenerator[list[bytes], None]:
        """See `Stream.batches`."""
        return self._stream.batches()

    def unframed(self, message: bytes) -> str | bytes:
        """See `Stream.unframed`."""
        return self._stream.unframed(message)

    def bind(self, scope: trio.CancelScope, sender: Sender | None = None) -> None:
        """See `Stream.bind`."""
        self._stream.bind(scope, sender)

    def close(self) -> None:
        """See `Stream.close`."""
        self._stream.close()
        self._ended()


def user_info(user: User) -> UserInfo:
    """A user as events show him."""
    return UserInfo(user.name, user.uid, user.groups, dict(user.extra))


def _is_long_running(info: RequestInfo) -> bool:
    return info.verb in _LONG_VERBS or info.subresource in _LONG_SUBRESOURCES


def _panicked(error: Exception) -> ResponseStatus:
    """What an exception says may be secret: its name alone is told."""
    return ResponseStatus(
        metadata={},
        status="Failure",
        message=f"APIServer panic'd: {type(error).__name__}",
        reason="InternalError",
        code=500,
    )
