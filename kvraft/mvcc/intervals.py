"""Sets of key ranges that are asked whether they hold a key."""

from __future__ import annotations

from bisect import bisect_right


class Intervals:
    """Half-open ranges of keys: those added, joined where they overlap when somebody asks."""

    __slots__ = ("_pending", "_reach", "_starts")

    def __init__(self) -> None:
        self._pending: list[tuple[bytes, bytes | None]] = []
        self._starts: list[bytes] = []
        self._reach: list[bytes | None] = []  # how far the ranges that start here or before reach; None: to the end

    def add(self, key: bytes, range_end: bytes) -> None:
        """The one key when ``range_end`` is empty, every key from ``key`` on when it is ``b"\\0"``."""
        self._pending.append((key, range_end if range_end != b"\0" else None) if range_end else (key, key + b"\0"))

    def update(self, other: Intervals) -> None:
        """Add the ranges of ``other``."""
        self._pending += other._pending
        self._pending += zip(other._starts, other._reach, strict=True)

    def __contains__(self, key: bytes) -> bool:
        if self._pending:
            self._join()
        at = bisect_right(self._starts, key)
        if not at:
            return False
        reach = self._reach[at - 1]
        return reach is None or key < reach

    def _join(self) -> None:
        ranges = sorted([*self._pending, *zip(self._starts, self._reach, strict=True)], key=lambda pair: pair[0])
        self._pending, self._starts, self._reach = [], [], []
        furthest: bytes | None = b""
        for start, end in ranges:
            furthest = None if end is None or furthest is None else max(furthest, end)
            self._starts.append(start)
            self._reach.append(furthest)
