"""What a member counts as it goes, in plain numbers; ``metrics`` makes text of them when it is asked."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator


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

    @property
    def total(self) -> int:
        """How many values there were."""
        return sum(self.counts)

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds and how many values are at or below each, as Prometheus wants them."""
        found: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*map(repr, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            found.append((bound, total))
        return found

    @contextmanager
    def time(self) -> Iterator[None]:
        """Observe how long the block takes, if it ends well."""
        began = time.monotonic()
        yield
        self.observe(time.monotonic() - began)


class Transfers:
    """Snapshots on their way to one peer, or from it."""

    def __init__(self) -> None:
        self.successes = self.failures = self.under_way = 0
        self.seconds = Histogram(exponential(0.1, 2, 10))
        """Of those that have succeeded."""

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count the block as a transfer."""
        self.under_way += 1
        try:
            with self.seconds.time():
                yield
            self.successes += 1
        except Exception:
            self.failures += 1
            raise
        finally:
            self.under_way -= 1


def _disk_seconds() -> Histogram:
    return Histogram(exponential(0.001, 2, 14))


def _hash_seconds() -> Histogram:
    return Histogram(exponential(0.01, 2, 15))


@attrs.define
class Counters:
    """One member's."""

    wal_fsync_seconds: Histogram = attrs.field(factory=_disk_seconds)
    backend_commit_seconds: Histogram = attrs.field(factory=_disk_seconds)
    peer_round_trip_seconds: dict[int, Histogram] = attrs.field(factory=dict)
    """By the peer's id."""
    apply_seconds: Histogram = attrs.field(factory=lambda: Histogram(exponential(0.0001, 2, 20)))
    """Of what one turn applies together."""
    snapshot_seconds: Histogram = attrs.field(factory=lambda: Histogram(exponential(0.01, 2, 17)))
    """For how long the state was read for a snapshot, whoever it was for."""
    defragment_seconds: Histogram = attrs.field(factory=lambda: Histogram(exponential(0.1, 2, 13)))
    hash_seconds: Histogram = attrs.field(factory=_hash_seconds)
    """Of the whole state."""
    hash_kv_seconds: Histogram = attrs.field(factory=_hash_seconds)
    """Of the keys up to a revision."""
    compaction_milliseconds: Histogram = attrs.field(factory=lambda: Histogram(exponential(100, 2, 14)))
    """From the first piece of a compaction to the last, to within a tick."""
    last_compaction: float = 0.0
    """When one has ended, in seconds of Unix; 0: none since the start."""
    learners_promoted: int = 0
    """While this member led, as for the next one."""
    learners_not_promoted: Counter[str] = attrs.field(factory=Counter)
    """By the reason."""
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
    native_requests: int = 0
    client_connections: int = 0
    client_waits: int = 0
    """How often connections had to wait because there were as many as there may be."""
