"""Simulated time: a heap of events, the run's random numbers, its trace and the digest of both. Nothing of raft."""

from __future__ import annotations

import hashlib
import random
from collections import deque
from functools import partial
from heapq import heappop, heappush
from itertools import count, repeat
from math import floor
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

MILLISECOND = 1_000
SECOND = 1_000_000
MAX_STEPS = 200_000
"""Events of one run; more means a storm of messages that feeds itself."""
EVENTS_AT_ONCE = 500
"""Between two additions to the digest."""
TRACE_LENGTH = 60
"""Events shown with a violation."""
_encode = msgspec.msgpack.Encoder().encode
TraceEvent = tuple[int, str, Any]
"""(time, what, item); formatted only when somebody looks."""


def _call(planned: tuple[Callable[..., None], tuple[Any, ...]]) -> None:
    function, arguments = planned
    function(*arguments)


class Violation(Exception):
    """A promise was broken. ``check`` is which one."""

    def __init__(self, check: str, detail: str) -> None:
        super().__init__(f"{check}: {detail}")
        self.check = check
        self.detail = detail


class World:
    """Time in microseconds since the start, and what is to happen when.

    Events of one instant run in the order in which they were asked for, so nothing depends on hashing or addresses.
    """

    __slots__ = (
        "_digest",
        "_done",
        "_folded",
        "halted",
        "heap",
        "now",
        "numbers",
        "random",
        "record",
        "rng",
        "sent",
        "trace",
    )

    def __init__(self, seed: int, on_trace: Callable[[TraceEvent], None] | None = None) -> None:
        self.rng = random.Random(seed)
        self.random = self.rng.random
        self.now = 0
        self.halted = False
        self.sent: list[Any] = []
        """The latest messages, in order: what the digest is made of, with the events."""
        self._done: list[int] = []  # of the latest events the time and the number
        self._folded = 0  # events that the digest has
        self._digest = hashlib.blake2b(digest_size=8)
        self.trace: deque[TraceEvent] = deque(maxlen=TRACE_LENGTH)
        self.heap: list[tuple[int, int, Callable[[Any], None], Any]] = []
        self.numbers = count(1)
        self.record: Callable[[TraceEvent], None] = (
            self.trace.append if on_trace is None else partial(self._print_too, on_trace)
        )
        """``note`` for what happens all the time."""

    @property
    def steps(self) -> int:
        """How many events there have been."""
        return self._folded + len(self._done) // 2

    def after(self, delay: int, function: Callable[..., None], *arguments: Any) -> None:
        """Call ``function`` in ``delay`` microseconds."""
        self.plan(delay, _call, (function, arguments))

    def plan(self, delay: int, function: Callable[[Any], None], argument: Any) -> None:
        """The same with one argument: what happens all the time is planned so, for this and the call cost less. The two
        that plan most of all do it themselves."""
        heappush(self.heap, (self.now + delay, next(self.numbers), function, argument))

    def between(self, low: int, high: int) -> int:
        """A random number of ``[low, high)``; cheaper than ``randrange``."""
        return low + floor(self.random() * (high - low))

    def note(self, what: str, item: Any = "") -> None:
        """One event of the trace."""
        self.record((self.now, what, item))

    def _print_too(self, on_trace: Callable[[TraceEvent], None], event: TraceEvent) -> None:
        self.trace.append(event)
        on_trace(event)

    def digest(self) -> bytes:
        """Of all that has happened."""
        self._fold()
        return self._digest.digest()

    def _fold(self) -> None:
        """Take the latest events and messages into the digest, many at a time: arithmetic at each would cost dearly,
        and a whole run's would no longer be in the processor's cache."""
        self._digest.update(_encode((self.now, self._done, self.sent)))
        self._folded = self.steps
        self._done.clear()
        self.sent.clear()

    def halt(self) -> None:
        """Nothing more is to happen, whatever was planned."""
        self.halted = True
        self.heap.clear()

    def run(self, until: int) -> None:
        """Run events up to time ``until``, or until one of them halts the world."""
        while self._run_some(until):
            self._fold()
            if self._folded >= MAX_STEPS:
                raise Violation("rest", f"{self._folded} events in {self.now / SECOND:.3f} simulated seconds")

    def _run_some(self, until: int) -> bool:
        """Run a few hundred events. False: those were the last."""
        heap, done = self.heap, self._done
        for _ in repeat(None, EVENTS_AT_ONCE):
            if not heap:
                return False
            event = heappop(heap)
            now, sequence, function, argument = event
            if now > until:
                heappush(heap, event)
                return False
            self.now = now
            done.append(now)
            done.append(sequence)
            function(argument)
        return True
