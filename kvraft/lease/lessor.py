"""The leader's clock over leases: when they end, and what of that is written down. Synchronous, the clock is given.

Only a leader that has applied everything from before its term keeps time. It hears of grants and revokes as they are
applied, renews without an entry in the log, and has those that have ended revoked, under its term, so that a revoke
decided by a leader that is none any more does nothing (etcd #15247).

A new leader knows nothing of its predecessor's renewals, and must not renew for free what nobody has renewed. So half
an election timeout after a lease's last renewal it is written down, once, when it will end, on a clock that is in the
log too: the leader writes down twice in an election timeout how late it is, for all leases together. A new leader goes
on from there, and a lease that is not written down gets all of its TTL; each gets a quarter of an election timeout on
top, for clocks that differ. So nobody gains more than an election timeout by a change of leaders. Time without a
leader does not count.
A renewal of what is written down must first change that in the log, as it would otherwise be lost with the leader.
Whoever renews again before it would have been written down has it taken back, and writes nothing from then on; whoever
renews seldom has it written down at once when the lease ends now, which is the same entry, and the only one. All
renewals of a turn of the member go into one command.

Every lease has one place in a heap, for the first thing that is to happen to it. A renewal that changes no more than
the time of that does not touch the heap: it is found out when the old time comes. Leases that nothing happens to cost
nothing.
"""

from __future__ import annotations

from functools import partial
from heapq import heapify, heappop, heappush, heapreplace
from math import ceil, inf
from typing import TYPE_CHECKING, Protocol

from kvraft.errors import KvraftError, NotLeader, TooManyRequests
from kvraft.types import LeaseCheckpointRequest, LeaseRevokeRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvraft.types import LeaseCommand

    Propose = Callable[[LeaseCommand, Callable[[object], None]], None]
    """Proposes on this member and calls back with the answer or an error."""
    Renewed = Callable[["int | KvraftError"], None]
    """Gets the TTL, 0 when there is no such lease, or an error."""

EXPIRIES_PER_SECOND = 1000
CHECKPOINT_LEASES = 1000
"""Leases in one entry that writes down what is left."""
LOADED_PER_TICK = 2000
"""Leases that a new leader takes up per tick, so that many of them do not hold it up."""
CHECKED_PER_TICK = 5000
RETRY_SECONDS = 1.0
"""A revoke that failed is not tried again before."""
UNWRITTEN_SHARE = 0.5
"""Of an election timeout: after so long without a renewal it is written down when a lease ends."""
CLOCK_SHARE = 0.5
"""Of an election timeout: so often the leases' clock is written down."""
MARGIN_SHARE = 0.25
"""Of an election timeout: so much more a new leader gives to every lease."""
MIN_SURPLUS = 1000
"""Places in the heap that are not valid any more, beside as many as there are leases, before they are thrown out."""
MAX_WAITING = 10_000
"""Renewals that wait for the end of a lease; past it: TooManyRequests."""


class Records(Protocol):
    """The replicated state of leases; see :class:`~kvraft.lease.table.LeaseTable`."""

    @property
    def clock_ms(self) -> int:
        """How late it was on the leases' clock when that was last written down."""
        ...

    def get(self, lease_id: int) -> tuple[int, int] | None:
        """The TTL in seconds, and what was left of it at ``clock_ms``, in milliseconds; 0: it is not written down."""
        ...

    def walk(self, after: int | None, limit: int) -> Sequence[tuple[int, int, int]]: ...


class _Timer:
    """One lease on the leader's clock."""

    __slots__ = ("checkpoint_at", "expiry", "is_revoking", "is_written_down", "renewing", "ttl", "wake")

    def __init__(self, ttl: int, expiry: float, checkpoint_at: float, *, is_written_down: bool) -> None:
        self.ttl = ttl
        self.expiry = expiry
        self.checkpoint_at = checkpoint_at
        self.is_written_down = is_written_down
        """Whether the log says, or may say, when it ends."""
        self.is_revoking = False
        self.renewing = 0
        """Renewals on their way into the log: nothing else is written of it until they have ended."""
        self.wake = min(expiry, checkpoint_at)
        """Its place in the heap; an entry that says anything else is not valid any more."""


class _Renewal:
    """A renewal that changes what is written down. ``left_ms`` is what the log is told: 0 takes it back."""

    __slots__ = ("answer", "lease_id", "left_ms", "timer")

    def __init__(self, lease_id: int, timer: _Timer, answer: Renewed) -> None:
        self.lease_id = lease_id
        self.timer = timer
        self.answer = answer
        self.left_ms = 0


class Lessor:
    """One member's; see the module. ``term`` is the one that it keeps time in, 0 when it does not."""

    def __init__(self, records: Records, propose: Propose, clock: Callable[[], float], election_seconds: float) -> None:
        self._records = records
        self._propose = propose
        self._clock = clock
        self._election_seconds = election_seconds
        self.term = 0
        self._timers: dict[int, _Timer] = {}
        self._heap: list[tuple[float, int]] = []
        self._loaded_to: int | None = None
        self._loading = False
        self._since = 0.0
        self._since_ms = 0
        """How late it was on the leases' clock at ``_since``."""
        self._clock_due = 0.0
        self._last_tick = 0.0
        self._allowance = 0.0
        self._waiting: dict[int, list[Renewed]] = {}
        self._waiting_count = 0
        self._renewals: list[_Renewal] = []
        """Of what is written down; they go into the log with the next ``flush``."""
        self.expired = 0
        """How many have been revoked because their time was over."""

    # ------------------------------------------------------------------ time

    def tick(self, term: int) -> None:
        """Time has passed. ``term``: the one that this member leads in, with its first entry applied; 0: it does not.

        Proposes the end of what has ended.
        """
        if term != self.term:
            self._demote()
            if term:
                self._promote(term)
        if not term:
            return
        now = self._clock()
        if self._loading:
            self._load()
        allowance = self._allowance + EXPIRIES_PER_SECOND * (now - self._last_tick)
        self._allowance = min(allowance, EXPIRIES_PER_SECOND)
        self._last_tick = now
        if self._heap and self._heap[0][0] <= now:
            self._happen(now)
        if self._timers and self._clock_due <= now:
            self._write(now, [])

    def _promote(self, term: int) -> None:
        self.term = term
        self._since = self._last_tick = self._clock_due = self._clock()
        self._since_ms = self._records.clock_ms
        self._allowance = 0.0
        self._loading, self._loaded_to = True, None

    def _demote(self) -> None:
        self.term = 0
        self._timers.clear()
        self._heap.clear()
        self._loading = False
        waiting, self._waiting, self._waiting_count = self._waiting, {}, 0
        unwritten, self._renewals = self._renewals, []
        for renewals in (*waiting.values(), [renewal.answer for renewal in unwritten]):
            for answer in renewals:
                answer(NotLeader())

    def _load(self) -> None:
        """Take up the next leases of those that were there when this member came to lead."""
        found = self._records.walk(self._loaded_to, LOADED_PER_TICK)
        for lease_id, ttl, remaining in found:
            if lease_id not in self._timers:
                self._take_up(lease_id, ttl, remaining)
        self._loading = len(found) == LOADED_PER_TICK
        self._loaded_to = found[-1][0] if found else None

    def _take_up(self, lease_id: int, ttl: int, left_ms: int) -> _Timer:
        margin = self._election_seconds * MARGIN_SHARE
        if left_ms:
            timer = _Timer(ttl, self._since + left_ms / 1000 + margin, inf, is_written_down=True)
        else:
            expiry = self._since + ttl + margin
            timer = _Timer(ttl, expiry, self._since + self._unwritten_seconds, is_written_down=False)
        self._timers[lease_id] = timer
        heappush(self._heap, (timer.wake, lease_id))
        return timer

    @property
    def _unwritten_seconds(self) -> float:
        return self._election_seconds * UNWRITTEN_SHARE

    def _happen(self, now: float) -> None:
        """What is due."""
        heap, timers = self._heap, self._timers
        written: list[tuple[int, int]] = []
        for _ in range(CHECKED_PER_TICK):
            if not heap or heap[0][0] > now:
                break
            wake, lease_id = heap[0]
            timer = timers.get(lease_id)
            if timer is None or timer.wake != wake or timer.is_revoking:
                heappop(heap)
            elif timer.expiry <= now:
                if self._allowance < 1:
                    break
                self._allowance -= 1
                heappop(heap)
                self._expire(lease_id, timer)
            else:
                if timer.checkpoint_at <= now:
                    timer.checkpoint_at = inf
                    if not timer.renewing:
                        timer.is_written_down = True
                        written.append((lease_id, ceil((timer.expiry - now) * 1000)))
                timer.wake = min(timer.expiry, timer.checkpoint_at)
                heapreplace(heap, (timer.wake, lease_id))
        for start in range(0, len(written), CHECKPOINT_LEASES):
            self._write(now, written[start : start + CHECKPOINT_LEASES])

    def _write(self, now: float, left: list[tuple[int, int]]) -> None:
        """Have it written down what is left of leases, and how late it is."""
        request = LeaseCheckpointRequest(tuple(left), self._now_ms(now))
        self._propose(request, partial(self._wrote, [lease for lease, _ in left]))

    def _now_ms(self, now: float) -> int:
        """How late it is on the leases' clock; it is about to be written down."""
        self._clock_due = now + self._election_seconds * CLOCK_SHARE
        return self._since_ms + int((now - self._since) * 1000)

    def _wrote(self, lease_ids: list[int], outcome: object) -> None:
        """What got lost is written down again with the next tick."""
        if isinstance(outcome, KvraftError):
            self._clock_due = self._clock()
            for lease_id in lease_ids:
                timer = self._timers.get(lease_id)
                if timer is not None and timer.checkpoint_at == inf:
                    self._write_at(self._clock(), lease_id, timer)

    def _write_at(self, when: float, lease_id: int, timer: _Timer) -> None:
        timer.checkpoint_at = when
        if timer.wake > timer.checkpoint_at and not timer.is_revoking:
            self._place(lease_id, timer)

    def _place(self, lease_id: int, timer: _Timer) -> None:
        """Give it another place in the heap."""
        timer.wake = min(timer.expiry, timer.checkpoint_at)
        heappush(self._heap, (timer.wake, lease_id))
        if len(self._heap) > 2 * len(self._timers) + MIN_SURPLUS:
            self._heap = [(known.wake, lease) for lease, known in self._timers.items() if not known.is_revoking]
            heapify(self._heap)

    def _expire(self, lease_id: int, timer: _Timer) -> None:
        timer.is_revoking = True
        self._propose(LeaseRevokeRequest(lease_id, self.term), partial(self._expired, lease_id, timer))

    def _expired(self, lease_id: int, timer: _Timer, answer: object) -> None:
        """The revoke has been answered; unless it has been applied the lease is still there, and tried again."""
        self.expired += not isinstance(answer, KvraftError)
        if self._timers.get(lease_id) is timer:
            timer.is_revoking = False
            timer.wake = self._clock() + RETRY_SECONDS
            heappush(self._heap, (timer.wake, lease_id))

    # ------------------------------------------------------------------ what is asked

    def renew(self, lease_id: int, answer: Renewed) -> None:
        """Start its TTL afresh. Whoever asks has made sure that this member leads, in ``term``.

        For a lease that has ended the answer comes when it is gone.
        """
        timer = self._find(lease_id)
        if timer is None:
            answer(0)
        elif timer.is_revoking or timer.expiry <= self._clock():
            if self._waiting_count >= MAX_WAITING:
                answer(TooManyRequests())
            else:
                self._waiting_count += 1
                self._waiting.setdefault(lease_id, []).append(answer)
        elif timer.is_written_down:
            timer.renewing += 1
            self._renewals.append(_Renewal(lease_id, timer, answer))
        else:
            self._start_afresh(lease_id, timer)
            answer(timer.ttl)

    def flush(self) -> None:
        """Propose the renewals that must be in the log, those of a turn together."""
        if not self._renewals:
            return
        renewals, self._renewals = self._renewals, []
        for start in range(0, len(renewals), CHECKPOINT_LEASES):
            self._write_renewals(self._clock(), renewals[start : start + CHECKPOINT_LEASES])

    def _write_renewals(self, now: float, renewals: list[_Renewal]) -> None:
        for renewal in renewals:
            timer = renewal.timer
            is_frequent = now - (timer.expiry - timer.ttl) < self._unwritten_seconds
            renewal.left_ms = 0 if is_frequent else timer.ttl * 1000
        left = tuple((renewal.lease_id, renewal.left_ms) for renewal in renewals)
        self._propose(LeaseCheckpointRequest(left, self._now_ms(now)), partial(self._renewed, now, renewals))

    def _start_afresh(self, lease_id: int, timer: _Timer) -> None:
        timer.expiry = self._clock() + timer.ttl
        self._write_at(self._clock() + self._unwritten_seconds, lease_id, timer)

    def _renewed(self, asked: float, renewals: list[_Renewal], outcome: object) -> None:
        if isinstance(outcome, KvraftError):
            self._clock_due = self._clock()
        for renewal in renewals:
            renewal.timer.renewing -= 1
            if self._timers.get(renewal.lease_id) is not renewal.timer:
                gone = self.term and self._records.get(renewal.lease_id) is None
                renewal.answer(0 if gone else NotLeader())
            elif isinstance(outcome, KvraftError):
                if not renewal.timer.renewing:  # nobody knows what the log says now
                    self._write_at(self._clock(), renewal.lease_id, renewal.timer)
                renewal.answer(outcome)
            else:
                self._changed_in_log(asked, renewal)

    def _changed_in_log(self, asked: float, renewal: _Renewal) -> None:
        """The log has the renewal that was written at ``asked``."""
        lease_id, timer = renewal.lease_id, renewal.timer
        timer.is_written_down = bool(renewal.left_ms)
        if timer.is_revoking or timer.expiry <= self._clock():
            self.renew(lease_id, renewal.answer)
            return
        if timer.is_written_down:
            timer.expiry = max(asked + timer.ttl, timer.expiry)  # later: its place in the heap can stay
            timer.checkpoint_at = inf
        else:
            self._start_afresh(lease_id, timer)
        renewal.answer(timer.ttl)

    def remaining(self, lease_id: int) -> tuple[float, int] | None:
        """What is left of it and what it was granted for, in seconds; None when there is no such lease."""
        timer = self._find(lease_id)
        return None if timer is None else (max(timer.expiry - self._clock(), 0.0), timer.ttl)

    def _find(self, lease_id: int) -> _Timer | None:
        timer = self._timers.get(lease_id)
        if timer is None and self._loading and (known := self._records.get(lease_id)) is not None:
            timer = self._take_up(lease_id, *known)
        return timer

    # ------------------------------------------------------------------ what has been applied

    def granted(self, lease_id: int, ttl: int) -> None:
        """A lease has come into being."""
        if self.term:
            now = self._clock()
            timer = _Timer(ttl, now + ttl, now + self._unwritten_seconds, is_written_down=False)
            self._timers[lease_id] = timer
            heappush(self._heap, (timer.wake, lease_id))

    def revoked(self, lease_id: int) -> None:
        """A lease has gone, and its keys with it."""
        self._timers.pop(lease_id, None)
        renewals = self._waiting.pop(lease_id, ())
        self._waiting_count -= len(renewals)
        for answer in renewals:
            answer(0)
