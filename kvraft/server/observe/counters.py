"""What a member counts as it goes, in plain numbers; ``metrics`` makes text of them when it is asked."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

import attrs


def exponential(first: float, factor: float, count: int) -> tuple[float, ...]:
    """Bounds of a histogram's buckets, as etcd's metrics have them."""
    return tuple(first * factor**place for place in range(count))


class Histogram:
    """How often values fell where. One thread at a time."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds and how many values are at or below each, as Prometheus wants them."""
        found: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*map(repr, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            found.append((bound, total))
        return found


def _disk_seconds() -> Histogram:
    return Histogram(exponential(0.001, 2, 14))


@attrs.define
class Counters:
    """One member's."""

    wal_fsync_seconds: Histogram = attrs.field(factory=_disk_seconds)
    backend_commit_seconds: Histogram = attrs.field(factory=_disk_seconds)
    peer_round_trip_seconds: dict[int, Histogram] = attrs.field(factory=dict)
    """By the peer's id."""
    leader_changes: int = 0
    slow_applies: int = 0
    slow_syncs: int = 0
    late_ticks: int = 0
    """While this member led: heartbeats that went out late."""
    health_checks: Counter[tuple[str, str, str]] = attrs.field(factory=Counter)
    """By kind ("livez"), check and outcome."""
    health_successes: int = 0
    health_failures: int = 0
    client_sent_bytes: int = 0
    client_received_bytes: int = 0
    client_connections: int = 0
    client_waits: int = 0
    """How often connections had to wait because there were as many as there may be."""
