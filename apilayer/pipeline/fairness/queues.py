"""The queues of one priority level: fair queuing of requests by virtual time, with a bound on seats. Sans-IO.

Each queue has a virtual start: where on the level's progress meter R its next request begins. The queue whose oldest
request would end first goes next, so that queues get equal shares of the seats however much waits in each. R moves as
fast as the queues that are in use go on average. The time is handed in; it never runs backwards.

In three points this differs from kube-apiserver, whose requests take a millisecond where ours take ten. A queue is
charged for what its running requests have taken already, not only when they end. R moves by the seats that are taken,
not by those that there are. And a wide request whose turn it is, but for whom there are too few seats yet, lets narrow
ones have those for a moment.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING

import attrs
import msgspec

from apilayer.pipeline.fairness.demand import Demand
from apilayer.pipeline.fairness.work import SERVICE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from apilayer.pipeline.fairness.work import Work

QUEUE_FULL = "queue-full"
CONCURRENCY_LIMIT = "concurrency-limit"
TIME_OUT = "time-out"
CANCELLED = "cancelled"
YIELD_SECONDS = 0.1
"""So long a request whose turn it is lets those pass that fit where it does not; then seats are kept for it."""


class Rejected(Exception):
    """The request is not served; `reason` is the metric's word for why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@attrs.frozen
class Queuing:
    """How requests wait: queues, those of them that one flow may use, and the bound of each."""

    queues: int
    hand_size: int
    length_limit: int


class Queue:
    """Requests of some flows, oldest first."""

    __slots__ = (
        "_begun",
        "_running_seats",
        "executing",
        "index",
        "seats_in_use",
        "start_r",
        "waiting",
        "waiting_work",
    )

    def __init__(self, index: int) -> None:
        self.index = index
        self.waiting: deque[Ticket] = deque()
        self.waiting_work = 0.0
        """Seat-seconds of those that wait."""
        self.executing = 0
        self.seats_in_use = 0
        self.start_r = 0.0
        self._running_seats = 0
        self._begun = 0.0

    def began(self, work: Work, now: float) -> None:
        """A request runs from now on; it was charged as one that takes the usual time."""
        seats = work.seats
        self.executing += 1
        self.seats_in_use += work.max_seats
        self._running_seats += seats
        self._begun += seats * now

    def ended(self, seats: int, started: float, now: float) -> None:
        """It has run from `started` to `now`: that is what it is charged for."""
        self.executing -= 1
        self._running_seats -= seats
        self._begun -= seats * started
        self.start_r += seats * (now - started - SERVICE_SECONDS)
        if not self.executing:
            self._begun = 0.0  # what rounding has left

    def next_r(self, now: float) -> float:
        """Where its next request would begin, if those that run ended now: none is charged less than the usual."""
        seats = self._running_seats
        return self.start_r + max(0.0, seats * now - self._begun - seats * SERVICE_SECONDS)

    def bound(self) -> None:
        """Nothing starts before it has come: a queue that used less than its share does not save it up."""
        if self.waiting and self.start_r < self.waiting[0].arrival_r:
            self.start_r = self.waiting[0].arrival_r


class Ticket(msgspec.Struct, eq=False):
    """A request's place: waiting until `started`; then to be given back with `QueueSet.finish`."""

    work: Work
    label: tuple[str, str]
    """The FlowSchema and the flow within it, for people."""
    arrived: float
    arrival_r: float
    queue: Queue | None = None
    started: float | None = None
    wake: Callable[[], None] | None = None
    """Called when a request that waited may run."""


class QueueSet:
    """All queues of a level. Without `queuing` what does not fit is refused; with limit None everything runs."""

    def __init__(self, queuing: Queuing | None, limit: int | None, now: float) -> None:
        self.limit = limit
        self.queues: list[Queue] = []
        self.queuing: Queuing | None = None
        self.demand = Demand()
        self.executing = 0
        self.waiting = 0
        self.seats_in_use = 0
        self.seats_waiting = 0
        self.r = 0.0
        self._busy: dict[Queue, None] = {}
        """Queues in which somebody waits."""
        self._active = 0
        self._last = now
        self._robin = 0
        self._blocked_since: float | None = None
        """When it began that the next request does not fit."""
        self._dealt = 0
        self._lingering: list[tuple[float, int, Ticket]] = []
        self.configure(queuing, limit, now)

    def configure(self, queuing: Queuing | None, limit: int | None, now: float) -> None:
        """Other numbers from now on. Who waits in a queue that is no more is served all the same."""
        self._advance(now)
        count = queuing.queues if queuing is not None else 0
        self.queues = self.queues[:count] + [Queue(index) for index in range(len(self.queues), count)]
        self.queuing = queuing
        self.limit = limit
        self._dispatch(now)

    @property
    def idle(self) -> bool:
        """Whether nothing runs or waits."""
        return not self.executing and not self.waiting

    @property
    def next_release(self) -> float:
        """When seats become free by time alone, while somebody waits for them; else never."""
        return self._lingering[0][0] if self._lingering and self.waiting else inf

    # ------------------------------------------------------------------ requests

    def enter(self, work: Work, hand: tuple[int, ...], label: tuple[str, str], now: float) -> Ticket:
        """A place for a request whose flow has this hand of queues: running, or waiting. Raises Rejected.

        `hand` is of no use where there are no queues.
        """
        self._advance(now)
        ticket = Ticket(work, label, now, self.r)
        limit, seats = self.limit, work.max_seats
        if self.queuing is None or limit is None:
            if limit is not None and not self._fits(seats):
                raise Rejected(CONCURRENCY_LIMIT)
            self._run(ticket, now)
            self.demand.raised(self.seats_in_use + self.seats_waiting)
            return ticket
        if self.waiting:
            queue = self._emptiest(hand)
        else:
            self._dealt += 1
            queue = self.queues[hand[self._dealt % len(hand)]]
        ticket.queue = queue
        if self.seats_in_use >= limit and len(queue.waiting) >= self.queuing.length_limit:
            raise Rejected(QUEUE_FULL)
        if not queue.waiting and not queue.executing:
            self._active += 1
            queue.start_r = self.r
        if not self.waiting and self.seats_in_use + seats <= limit:
            # As the queue would do, were it put in and taken out at once: nearly every request comes this way.
            queue.start_r += work.total
            self._run(ticket, now)
            if self.seats_in_use > self.demand.highest:
                self.demand.highest = self.seats_in_use
            return ticket
        queue.waiting.append(ticket)
        queue.waiting_work += work.total
        queue.bound()
        self._busy[queue] = None
        self.waiting += 1
        self.seats_waiting += seats
        self.demand.raised(self.seats_in_use + self.seats_waiting)
        self._dispatch(now)
        return ticket

    def abandon(self, ticket: Ticket, now: float) -> None:
        """Takes a request that still waits out of its queue."""
        self._advance(now)
        queue = ticket.queue
        assert queue is not None
        queue.waiting.remove(ticket)
        self._left(queue, ticket)
        if not queue.waiting and not queue.executing:
            self._active -= 1
        queue.bound()
        self._dispatch(now)

    def finish(self, ticket: Ticket, now: float) -> None:
        """A request that ran has its answer; what it took longer or shorter than expected its queue is charged for."""
        self._advance(now)
        assert ticket.started is not None
        self.executing -= 1
        queue, work = ticket.queue, ticket.work
        if queue is not None:
            queue.ended(work.seats, ticket.started, now)
            if queue.waiting:
                queue.bound()
            elif not queue.executing:
                self._active -= 1
        if work.extra_seconds > 0:
            self._dealt += 1
            heappush(self._lingering, (now + work.extra_seconds, self._dealt, ticket))
        else:
            self._release(ticket)
        if self.waiting:
            self._dispatch(now)

    def tick(self, now: float) -> None:
        """Frees the seats whose time is over."""
        self._advance(now)
        self._dispatch(now)

    # ------------------------------------------------------------------ inside

    def _advance(self, now: float) -> None:
        """Moves R on: the present state has been in effect since the last call."""
        while self._lingering and self._lingering[0][0] <= now:
            until, _, ticket = heappop(self._lingering)
            self._move(until)
            self._release(ticket)
        self._move(now)

    def _move(self, now: float) -> None:
        seconds = now - self._last
        if seconds <= 0:
            return
        self._last = now
        seats = self.seats_in_use + self.seats_waiting
        if not seats:
            self.demand.seconds += seconds
            return
        self.demand.lasted(seats, seconds)
        if self._active and self.limit is not None:
            self.r += self.seats_in_use / self._active * seconds

    def _emptiest(self, indices: tuple[int, ...]) -> Queue:
        """The queue of the hand with the least work waiting; the first look goes to another one each time."""
        queues, size = self.queues, len(indices)
        self._dealt += 1
        offset = self._dealt % size
        best = queues[indices[offset]]
        for step in range(1, size):
            queue = queues[indices[(offset + step) % size]]
            if queue.waiting_work < best.waiting_work:
                best = queue
        return best

    def _fits(self, seats: int) -> bool:
        """Whether so many seats are free; a request wider than the level runs when it is alone."""
        limit = self.limit
        if limit is None:
            return True
        if seats > limit:
            return not self.executing and bool(limit)
        return self.seats_in_use + seats <= limit

    def _dispatch(self, now: float) -> None:
        while self.waiting and (self.limit is None or self.seats_in_use < self.limit):
            queue = self._next(now)
            if self._fits(queue.waiting[0].work.max_seats):
                self._blocked_since = None
            else:
                if self._blocked_since is None:
                    self._blocked_since = now
                if now - self._blocked_since >= YIELD_SECONDS or not self._narrow():
                    return
                queue = self._next(now, fitting=True)
            ticket = queue.waiting[0]
            self._robin = queue.index
            queue.waiting.popleft()
            self._left(queue, ticket)
            queue.start_r += ticket.work.total
            self._run(ticket, now)
            queue.bound()
            if ticket.wake is not None:
                ticket.wake()

    def _narrow(self) -> bool:
        """Whether the oldest request of some queue fits."""
        return any(self._fits(queue.waiting[0].work.max_seats) for queue in self._busy)

    def _next(self, now: float, *, fitting: bool = False) -> Queue:
        """The queue whose oldest request (that fits) ends first in virtual time; of equal ones the next in turn."""
        count = len(self.queues) or 1
        best: Queue | None = None
        best_end = best_turn = inf
        for queue in self._busy:
            if fitting and not self._fits(queue.waiting[0].work.max_seats):
                continue
            end = queue.next_r(now) + queue.waiting[0].work.total
            turn = (queue.index - self._robin - 1) % count
            if end < best_end or (end == best_end and turn < best_turn):
                best, best_end, best_turn = queue, end, turn
        assert best is not None
        return best

    def _run(self, ticket: Ticket, now: float) -> None:
        ticket.started = now
        seats = ticket.work.max_seats
        self.executing += 1
        self.seats_in_use += seats
        queue = ticket.queue
        if queue is not None:
            queue.began(ticket.work, now)

    def _left(self, queue: Queue, ticket: Ticket) -> None:
        """`ticket` has been taken out of those that wait."""
        self.waiting -= 1
        self.seats_waiting -= ticket.work.max_seats
        if queue.waiting:
            queue.waiting_work -= ticket.work.total
        else:
            queue.waiting_work = 0.0
            del self._busy[queue]

    def _release(self, ticket: Ticket) -> None:
        """The seats of a request that is over are free."""
        seats = ticket.work.max_seats
        self.seats_in_use -= seats
        queue = ticket.queue
        if queue is not None:
            queue.seats_in_use -= seats
