"""Simulated time: a heap of events, the run's random numbers, its trace and the digest of both. Nothing of raft."""

from __future__ import annotations

import hashlib
import random
from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

MILLISECOND = 1_000
SECOND = 1_000_000
MAX_STEPS = 200_000
"""Events of one run; more means a storm of messages that feeds itself."""
TRACE_LENGTH = 60
"""Events shown with a violation."""
TraceEvent = tuple[int, str, Any]
"""(time, what, item); formatted only when somebody looks."""


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

    __slots__ = ("_done", "_heap", "_print", "_sequence", "halted", "now", "random", "rng", "sent", "steps", "trace")

    def __init__(self, seed: int, on_trace: Callable[[TraceEvent], None] | None = None) -> None:
        self.rng = random.Random(seed)
        self.random = self.rng.random
        self.now = 0
        self.steps = 0
        self.halted = False
        self.sent: list[Any] = []
        """Every message, in order: what the digest is made of, with the events."""
        self._done: list[int] = []  # of all events so far the time and the number
        self.trace: deque[TraceEvent] = deque(maxlen=TRACE_LENGTH)
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0
        self._print = on_trace

    def after(self, delay: int, function: Callable[..., None], *arguments: Any) -> None:
        """Call ``function`` in ``delay`` microseconds."""
        self._sequence += 1
        heappush(self._heap, (self.now + delay, self._sequence, function, arguments))

    def between(self, low: int, high: int) -> int:
        """A random number of ``[low, high)``; cheaper than ``randrange``."""
        return low + int(self.random() * (high - low))

    def note(self, what: str, item: Any = "") -> None:
        """One event of the trace."""
        self.trace.append((self.now, what, item))
        if self._print is not None:
            self._print(self.trace[-1])

    def digest(self) -> bytes:
        """Of all that has happened; made at the end, as each event would pay dearly for arithmetic of its own."""
        encode = msgspec.msgpack.Encoder().encode
        digest = hashlib.blake2b(encode((self.now, self.steps, self._done)), digest_size=8)
        for message in self.sent:
            digest.update(encode(message))
        return digest.digest()

    def run(self, until: int) -> None:
        """Run events up to time ``until``, or until one of them sets ``halted``."""
        heap, done = self._heap, self._done
        while heap and heap[0][0] <= until and not self.halted and self.steps < MAX_STEPS:
            now, sequence, function, arguments = heappop(heap)
            self.now = now
            self.steps += 1
            done += (now, sequence)
            function(*arguments)
        if self.steps >= MAX_STEPS:
            raise Violation("rest", f"{self.steps} events in {self.now / SECOND:.3f} simulated seconds")
