"""Compaction by itself: by time or by number of revisions, as etcd does it. Decisions alone; the owner has the clock.

By time, the revision of the present is noted ten times in each interval, which is the retention or an hour, whichever
is shorter; what was noted one retention ago is compacted, first after a whole retention, then once in each interval.
By revision, everything but the last so many is compacted every five minutes.
"""

from __future__ import annotations

from collections import deque

from kvraft.durations import parse_duration

PERIODIC = "periodic"
REVISION = "revision"
MODES = (PERIODIC, REVISION)
MAX_INTERVAL_SECONDS = 3600.0
NOTES_PER_INTERVAL = 10
REVISION_CHECK_SECONDS = 300.0


class PeriodicCompaction:
    """Keeps ``retention_seconds`` of the past. Call ``look`` every ``pause_seconds``."""

    def __init__(self, retention_seconds: float) -> None:
        self._interval_seconds = min(retention_seconds, MAX_INTERVAL_SECONDS)
        self._retention_seconds = retention_seconds
        self.pause_seconds = self._interval_seconds / NOTES_PER_INTERVAL
        self._revisions: deque[int] = deque(maxlen=int(retention_seconds / self.pause_seconds + 0.5) + 1)
        self._wait_seconds = retention_seconds
        self._since: float | None = None
        self._compacted = 0

    def look(self, now: float, revision: int, *, leads: bool) -> int | None:
        """The revision to compact at ``now``; None: nothing. The owner tells with ``done`` that it was compacted."""
        if self._since is None:
            self._since = now
        target = self._revisions[0] if self._revisions else 0
        due = now - self._since >= self._wait_seconds * (1 - 1e-9)
        self._revisions.append(revision)
        return target if leads and due and target > self._compacted else None

    def done(self, now: float, revision: int) -> None:
        """``revision`` is compacted, by this member or another."""
        self._since, self._compacted = now, revision
        self._wait_seconds = self._interval_seconds


class RevisionCompaction:
    """Keeps ``retention`` revisions. Call ``look`` every ``pause_seconds``."""

    pause_seconds = REVISION_CHECK_SECONDS

    def __init__(self, retention: int) -> None:
        self._retention = retention
        self._compacted = 0

    def look(self, now: float, revision: int, *, leads: bool) -> int | None:
        """As ``PeriodicCompaction``'s."""
        target = revision - self._retention
        return target if leads and target > self._compacted else None

    def done(self, now: float, revision: int) -> None:
        """As ``PeriodicCompaction``'s."""
        self._compacted = revision


AutoCompaction = PeriodicCompaction | RevisionCompaction


def parse_retention(mode: str, retention: str) -> AutoCompaction | None:
    """What ``--auto-compaction-mode`` and ``--auto-compaction-retention`` ask for; None: nothing (``0``).

    A whole number is of hours by time, of revisions by revision; by time it may be a duration as Go writes it. Raises
    ``ValueError`` with etcd's texts, where etcd has one.
    """
    if mode not in MODES:
        raise ValueError(f'unknown auto-compaction-mode "{mode}"')
    if retention.isascii() and retention.isdecimal():
        amount = float(retention) if mode == REVISION else float(retention) * 3600
    elif mode == REVISION:
        raise ValueError(f'error parsing CompactionRetention: "{retention}" is not a number of revisions')
    else:
        try:
            amount = parse_duration(retention)
        except ValueError as error:
            raise ValueError(f"error parsing CompactionRetention: {error}") from error
    if amount < 0:
        raise ValueError(f'error parsing CompactionRetention: "{retention}" is negative')
    if amount == 0:
        return None
    return RevisionCompaction(int(amount)) if mode == REVISION else PeriodicCompaction(amount)
