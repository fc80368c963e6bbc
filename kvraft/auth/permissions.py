"""The maths of permissions: ranges of keys, merged, and whether one range lies within them.

A span is ``(start, end)`` with ``start`` in it and ``end`` not; ``end`` None is open. A single key ``k`` is the span
``[k, k + "\\0")``, which holds no other key.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from kvraft.types import PermissionType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvraft.types import Permission

    Span = tuple[bytes, bytes | None]

OPEN = b"\0"
"""The ``range_end`` of every key at or after the first."""


def span(key: bytes, range_end: bytes) -> Span:
    """The span of a request's or a permission's range. An empty ``key`` starts where the smallest does."""
    start = key or b"\0"
    if not range_end:
        return start, start + b"\0"
    return start, None if range_end == OPEN else range_end


def is_valid(key: bytes, range_end: bytes) -> bool:
    """Whether a permission may have this range: it starts at a key and is not empty."""
    return bool(key) and (not range_end or range_end == OPEN or key < range_end)


class Spans:
    """A set of keys as spans in order, none touching the next."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, spans: Iterable[Span]) -> None:
        self._starts: list[bytes] = []
        self._ends: list[bytes | None] = []
        for start, end in sorted(spans, key=lambda item: item[0]):
            if end is not None and end <= start:
                continue  # holds no key
            last = self._ends[-1] if self._ends else b""
            if self._ends and (last is None or start <= last):
                if last is not None and (end is None or end > last):
                    self._ends[-1] = end
            else:
                self._starts.append(start)
                self._ends.append(end)

    def covers(self, start: bytes, end: bytes | None) -> bool:
        """Whether every key of the span is in the set; of a span without keys its start must be."""
        at = bisect_right(self._starts, start) - 1
        if at < 0:
            return False
        limit = self._ends[at]
        if limit is None:
            return True
        return start < limit and end is not None and end <= limit


class Ranges:
    """What one user may read and write, over all of their roles."""

    __slots__ = ("read", "write")

    def __init__(self, permissions: Iterable[Permission]) -> None:
        read: list[Span] = []
        write: list[Span] = []
        for permission in permissions:
            covered = span(permission.key, permission.range_end)
            if permission.permission != PermissionType.WRITE:
                read.append(covered)
            if permission.permission != PermissionType.READ:
                write.append(covered)
        self.read = Spans(read)
        self.write = Spans(write)
