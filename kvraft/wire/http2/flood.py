"""Bounds on what costs us more than the peer: resets of streams, and pings that keep alive more than allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MIN_PING_SECONDS = 5.0
"""The default of ``--grpc-keepalive-min-time``."""
IDLE_PING_SECONDS = 7200.0
"""Without a stream open there is nothing to keep alive."""
MAX_STRIKES = 2


class Bucket:
    """``burst`` at once, ``per_second`` in the long run."""

    __slots__ = ("_burst", "_clock", "_left", "_per_second", "_when")

    def __init__(self, burst: int, per_second: float, clock: Callable[[], float]) -> None:
        self._burst = float(burst)
        self._per_second = per_second
        self._clock = clock
        self._left = self._burst
        self._when = clock()

    def take(self) -> bool:
        """One more; False when it is one too many."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._when) * self._per_second) - 1
        self._when = now
        return self._left >= 0


class PingPolicy:
    """gRPC's rule for a server: the third ping that comes too soon, without an answer of ours between, is too many."""

    __slots__ = ("_answered", "_clock", "_last", "_strikes", "min_seconds")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = float("-inf")
        self._strikes = 0
        self._answered = False
        self.min_seconds = MIN_PING_SECONDS

    def answered(self) -> None:
        """We sent something of a stream: a ping may follow, which measures the way there and back."""
        self._answered = True

    def allow(self, *, idle: bool) -> bool:
        """A ping has come; ``idle``: no stream is open."""
        now = self._clock()
        if self._answered:
            self._answered = False
            self._strikes = 0
        elif now - self._last < (IDLE_PING_SECONDS if idle else self.min_seconds):
            self._strikes += 1
        self._last = now
        return self._strikes <= MAX_STRIKES
