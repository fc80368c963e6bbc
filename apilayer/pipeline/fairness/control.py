"""Priority and fairness in force: the configuration as it stands in the cluster, and requests that run or wait.

The configuration is looked at again when it has changed, by the request that comes next.
"""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import attrs
import trio

from apilayer.api import status
from apilayer.pipeline.fairness import shares
from apilayer.pipeline.fairness.counts import FlowCounts
from apilayer.pipeline.fairness.queues import CANCELLED, TIME_OUT, QueueSet, Rejected
from apilayer.pipeline.fairness.refusals import RetryAfter
from apilayer.pipeline.fairness.rules import CATCH_ALL, EXEMPT, Level, Schema, in_order, read_level, read_schema
from apilayer.pipeline.fairness.shuffle import flow_hash, hand
from apilayer.pipeline.fairness.work import ONE_SEAT, list_work, write_work
from apilayer.pipeline.flow_control import MESSAGE, READ_ONLY, Place, is_uncounted
from apilayer.pipeline.turns import turn_to_send

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence

    from apilayer.api.status import StatusError
    from apilayer.pipeline.authentication import User
    from apilayer.pipeline.fairness.queues import Ticket
    from apilayer.pipeline.fairness.work import Work
    from apilayer.pipeline.request import Headers
    from apilayer.pipeline.request_info import RequestInfo
    from apilayer.registry.options import Query

Object = dict[str, Any]
T = TypeVar("T")

ADJUST_SECONDS = 10.0
MAX_WAIT_SECONDS = 15.0
WAIT_PART = 0.25
"""Of the time that a request has left it waits at most this part."""
MAX_REMEMBERED_FLOWS = 4096
FLOW_SCHEMA_HEADER = b"X-Kubernetes-Pf-Flowschema-Uid"
PRIORITY_LEVEL_HEADER = b"X-Kubernetes-Pf-Prioritylevel-Uid"
_WATCHED_WRITES = frozenset({"create", "update", "patch", "delete"})

log = logging.getLogger("apilayer.pipeline.fairness")


class Source(Protocol):
    """Where the configuration and the estimates come from; all of it is in memory."""

    def version(self) -> Hashable:
        """Changes when a schema or a level does."""

    def schemas(self) -> Sequence[Object]:
        """Every FlowSchema."""

    def levels(self) -> Sequence[Object]:
        """Every PriorityLevelConfiguration."""

    def size(self, group: str, resource: str) -> tuple[int, int]:
        """How many objects a resource has, and their bytes; zeros for one that is not known."""

    def watchers(self, info: RequestInfo) -> int:
        """How many watch the object that the request names, or the collection that it adds to."""


@attrs.define(eq=False)
class LevelState:
    """A priority level with its queues and what it has of the seats."""

    spec: Level
    limits: shares.Limits
    queues: QueueSet
    most_seats: int
    retry_after: RetryAfter = attrs.Factory(RetryAfter)


@attrs.frozen(eq=False)
class Flow:
    """Requests that wait in the same queues: of one distinguisher under one schema."""

    schema: Schema
    level: LevelState
    hand: tuple[int, ...]
    label: tuple[str, str]
    counts: FlowCounts
    headers: Headers


class Fairness:
    """`FlowControl` by FlowSchemas and PriorityLevelConfigurations, over `total` seats. `run` must be running.

    `defaults` are the objects that every cluster starts with: (schemas, levels). They hold while there are none; those
    named exempt and catch-all always do when nothing else is said under their names.
    """

    def __init__(self, source: Source, total: int, defaults: tuple[Sequence[Object], Sequence[Object]]) -> None:
        self.running = [0, 0]
        self.counts: dict[tuple[str, str], FlowCounts] = {}
        """By the names of level and schema."""
        self.levels: dict[str, LevelState] = {}
        self.total = total
        self._source = source
        self._defaults = defaults
        self._schemas: list[Schema] = []
        self._catch_all = next(schema for schema in map(read_schema, defaults[0]) if schema.name == CATCH_ALL)
        self._flows: dict[tuple[object, ...], Flow] = {}
        self._version: Hashable = None
        self._alarm: trio.Event | None = None
        self.time = trio.lowlevel.current_clock().current_time

    # ------------------------------------------------------------------ requests

    def admit(self, user: User, info: RequestInfo, query: Query) -> Place | Awaitable[Place]:
        """See `FlowControl.admit`."""
        source = self._source
        if source.version() != self._version:
            self._reload(self.time())
        if (info.subresource or not info.is_resource) and is_uncounted(info):
            return Place()
        if info.is_resource:
            key: tuple[object, ...] = (
                user.name, user.groups, info.verb, info.group, info.resource, info.subresource, info.namespace,
            )  # fmt: skip
        else:
            key = user.name, user.groups, info.verb, info.path
        flow = self._flows.get(key) or self._classify(key, user, info)
        counts = flow.counts
        work = ONE_SEAT if info.verb == "get" else self._work(flow, info, query)
        if work is ONE_SEAT:
            counts.of_one_seat += 1
        else:
            counts.widths.observe(work.max_seats)
        try:
            ticket = flow.level.queues.enter(work, flow.hand, flow.label, self.time())
        except Rejected as rejected:
            return self._refuse(flow, rejected.reason)
        if ticket.started is None:
            return self._wait(flow, ticket, info.verb)
        counts.at_once += 1
        return self._seat(flow, ticket, info.verb)

    async def _refuse(self, flow: Flow, reason: str) -> Place:
        """Those who ask again at once, by hundreds, get one answer in each pass of the loop."""
        refusal = self.refusal(flow, reason)
        await turn_to_send()
        raise refusal

    async def _wait(self, flow: Flow, ticket: Ticket, verb: str) -> Place:
        """Until the ticket is started. Raises StatusError 429 when that takes too long."""
        counts, queues = flow.counts, flow.level.queues
        turn = trio.Event()
        ticket.wake = turn.set
        left = trio.current_effective_deadline() - ticket.arrived
        reason = CANCELLED
        refusal: StatusError | None = None
        counts.waiting += 1
        self.ring()
        try:
            with trio.move_on_after(min(left * WAIT_PART, MAX_WAIT_SECONDS)):
                await turn.wait()
            reason = TIME_OUT
        finally:
            now = trio.current_time()
            counts.waiting -= 1
            counts.waited[ticket.started is not None].observe(now - ticket.arrived)
            if ticket.started is None:
                queues.abandon(ticket, now)
                refusal = self.refusal(flow, reason)
            elif reason == CANCELLED:
                queues.finish(ticket, now)  # its turn came while it was being cancelled
        if refusal is not None:
            raise refusal
        return self._seat(flow, ticket, verb)

    def _seat(self, flow: Flow, ticket: Ticket, verb: str) -> _Seat:
        """The place of a request that runs from now on."""
        assert ticket.started is not None
        kind, counts = 0 if verb in READ_ONLY else 1, flow.counts
        counts.dispatched += 1
        counts.executing += 1
        counts.seats += ticket.work.max_seats
        self.running[kind] += 1
        waited_seconds = ticket.started - ticket.arrived
        return _Seat(flow.headers, waited_seconds, control=self, flow=flow, ticket=ticket, verb=verb, kind=kind)

    def _work(self, flow: Flow, info: RequestInfo, query: Query) -> Work:
        if not info.is_resource:
            return ONE_SEAT
        level = flow.level
        if info.verb in ("list", "watch"):
            objects, size = self._source.size(info.group, info.resource)
            return list_work(info, query, objects, size, level.most_seats)
        if info.verb in _WATCHED_WRITES:
            return write_work(self._source.watchers(info), level.most_seats)
        return ONE_SEAT

    def _classify(self, key: tuple[object, ...], user: User, info: RequestInfo) -> Flow:
        schema = next((schema for schema in self._schemas if schema.matches(user, info)), self._catch_all)
        level = self.levels[schema.level]
        distinguisher = schema.flow(user, info)
        names = level.spec.name, schema.name
        counts = self.counts.get(names)
        if counts is None:
            counts = self.counts[names] = FlowCounts()
        headers = ((FLOW_SCHEMA_HEADER, schema.uid.encode()), (PRIORITY_LEVEL_HEADER, level.spec.uid.encode()))
        if len(self._flows) >= MAX_REMEMBERED_FLOWS:
            self._flows.clear()
        label = schema.name, distinguisher
        queuing = level.spec.queuing
        dealt = hand(flow_hash(*label), queuing.queues, queuing.hand_size) if queuing is not None else ()
        flow = Flow(schema, level, dealt, label, counts, headers)
        self._flows[key] = flow
        return flow

    def refusal(self, flow: Flow, reason: str) -> StatusError:
        """429 for a request of the flow, counted."""
        rejected = flow.counts.rejected
        rejected[reason] = rejected.get(reason, 0) + 1
        retry_after = flow.level.retry_after
        retry_after.refused(int(trio.current_time()))
        error = status.too_many_requests(MESSAGE, retry_after.seconds)
        shown = tuple((name.decode(), value.decode()) for name, value in flow.headers)
        return status.StatusError(error.code, error.status, (*error.headers, *shown))

    # ------------------------------------------------------------------ configuration

    def _reload(self, now: float) -> None:
        """Takes in the configuration as it stands. Requests that wait stay where they are."""
        self._version = self._source.version()
        schemas, levels = self._source.schemas(), self._source.levels()
        if not schemas and not levels:
            schemas, levels = self._defaults
        found = {level.name: level for level in _read(read_level, levels)}
        for obj in self._defaults[1]:
            if obj["metadata"]["name"] in (EXEMPT, CATCH_ALL):
                found.setdefault(obj["metadata"]["name"], read_level(obj))
        self._configure(found, now)
        known = {schema.name: schema for schema in _read(read_schema, schemas) if schema.level in found}
        for obj in self._defaults[0]:
            if obj["metadata"]["name"] in (EXEMPT, CATCH_ALL):
                known.setdefault(obj["metadata"]["name"], read_schema(obj))
        self._schemas = in_order(known.values())
        self._catch_all = known[CATCH_ALL]
        self._flows.clear()
        names = {(schema.level, schema.name) for schema in self._schemas}
        self.counts = {key: counts for key, counts in self.counts.items() if key in names or not counts.idle}

    def _configure(self, levels: dict[str, Level], now: float) -> None:
        limits = shares.limits(levels.values(), self.total)
        for name in self.levels.keys() - levels.keys():
            # Who still waits in a level that is no more may run: there is nothing left to wait for.
            self.levels.pop(name).queues.configure(None, None, now)
        for name, spec in levels.items():
            state, bounds = self.levels.get(name), limits[name]
            most = shares.most_seats(spec, bounds.nominal)
            if state is None:
                seats = None if spec.exempt else bounds.first
                self.levels[name] = LevelState(spec, bounds, QueueSet(spec.queuing, seats, now), most)
            elif (state.spec, state.limits) != (spec, bounds):
                seats = None if spec.exempt else bounds.first
                state.spec, state.limits, state.most_seats = spec, bounds, most
                state.queues.configure(spec.queuing, seats, now)

    def adjust(self, now: float) -> None:
        """Lends seats of levels that do not want them to those that do, by the demand since the last time."""
        left = sum(state.limits.nominal for state in self.levels.values())
        wishes: dict[str, shares.Wish] = {}
        for name, state in self.levels.items():
            queues = state.queues
            queues.tick(now)
            demand = queues.demand
            demand.settle(queues.seats_in_use + queues.seats_waiting)
            if state.spec.exempt:
                left -= max(state.limits.least, demand.high)
            else:
                wishes[name] = shares.wish(state.limits, demand.high, demand.smoothed)
        limits = {name: state.limits for name, state in self.levels.items()}
        for name, seats in shares.borrowed(left, wishes, limits).items():
            state = self.levels[name]
            if seats != state.queues.limit:
                state.queues.configure(state.spec.queuing, seats, now)

    # ------------------------------------------------------------------ time

    async def run(self) -> None:
        """Frees seats whose time is over, and adjusts every ten seconds."""
        adjust_at = trio.current_time() + ADJUST_SECONDS
        while True:
            self._alarm = trio.Event()
            until = min((state.queues.next_release for state in self.levels.values()), default=inf)
            with trio.move_on_at(min(until, adjust_at)):
                await self._alarm.wait()
            now = trio.current_time()
            for state in self.levels.values():
                state.queues.tick(now)
            if now >= adjust_at:
                self.adjust(now)
                adjust_at = now + ADJUST_SECONDS

    def ring(self) -> None:
        """Somebody has begun to wait for what time alone may free."""
        if self._alarm is not None:
            self._alarm.set()


class _Seat(Place, kw_only=True):
    """A place in the queues of a priority level, from the moment that its request runs."""

    control: Fairness
    flow: Flow
    ticket: Ticket
    verb: str
    kind: int
    """Reads or writes, as `Fairness.running` tells them apart."""

    def leave(self) -> None:
        """See `Place.leave`."""
        ticket, flow, control = self.ticket, self.flow, self.control
        now, queues, counts = control.time(), flow.level.queues, flow.counts
        assert ticket.started is not None
        counts.ran[self.verb == "watch"].observe(now - ticket.started)
        counts.executing -= 1
        counts.seats -= ticket.work.max_seats
        control.running[self.kind] -= 1
        queues.finish(ticket, now)
        if ticket.work.extra_seconds and queues.waiting:
            control.ring()


def _read(read: Callable[[Object], T], objects: Iterable[Object]) -> list[T]:
    """What can be read; what somebody has written past the API server's checks is left out."""
    found = []
    for obj in objects:
        try:
            found.append(read(obj))
        except (AttributeError, KeyError, TypeError) as error:
            log.warning("flow control: an object of the cluster cannot be used: %r", error)
    return found
