"""How many keys a range holds, without walking it again.

A count at a fixed revision never changes. One of the latest revision is kept current by the keys that have come and
gone since, in the order in which they did: a put of a key that exists costs nothing here, a create or a delete one
append, and a count pays for what has happened since it was last asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvraft.storage.keytable import KeyTable

MAX_COUNTS = 512
"""Remembered counts of either kind; the oldest go first."""
MAX_MOVES = 20_000
"""Created and deleted keys that are remembered: counts from before them are forgotten."""
NEAR_KEYS = 5000
"""Between the beginnings of two ranges of which the one helps to count the other; some 2 ms."""


class _Moves:
    """Keys that were created, or deleted, since some number of them."""

    __slots__ = ("base", "keys")

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.base = 0

    @property
    def total(self) -> int:
        return self.base + len(self.keys)

    def add(self, key: bytes) -> None:
        keys = self.keys
        keys.append(key)
        if len(keys) >= 2 * MAX_MOVES:
            del keys[:MAX_MOVES]
            self.base += MAX_MOVES

    def within(self, since: int, key: bytes, end: bytes | None) -> int:
        """How many of those from number ``since`` on are in ``[key, end)``."""
        recent = self.keys[since - self.base :] if since > self.base else self.keys
        if end is None:
            return sum(1 for moved in recent if key <= moved)
        return sum(1 for moved in recent if key <= moved < end)


class _Latest:
    """A count of the latest revision, and how much had come and gone when it was right."""

    __slots__ = ("count", "created", "deleted")

    def __init__(self, count: int, created: int, deleted: int) -> None:
        self.count = count
        self.created = created
        self.deleted = deleted


class CountCache:
    """Counts of ranges ``[key, end)``; ``end`` None is open, a ``revision`` of None is the latest."""

    def __init__(self) -> None:
        self._fixed: dict[tuple[bytes, bytes | None, int], int] = {}
        self._latest: dict[tuple[bytes, bytes | None], _Latest] = {}
        self._created = _Moves()
        self._deleted = _Moves()

    def created(self, key: bytes) -> None:
        """A key is there that was not."""
        if self._latest:
            self._created.add(key)

    def deleted(self, key: bytes) -> None:
        """A key is gone."""
        if self._latest:
            self._deleted.add(key)

    def get(self, key: bytes, end: bytes | None, revision: int | None) -> int | None:
        """The count, if it is known."""
        if revision is not None:
            return self._fixed.get((key, end, revision))
        known = self._latest.get((key, end))
        if known is None:
            return None
        created, deleted = self._created, self._deleted
        if known.created < created.base or known.deleted < deleted.base:
            del self._latest[key, end]
            return None
        known.count += created.within(known.created, key, end) - deleted.within(known.deleted, key, end)
        known.created, known.deleted = created.total, deleted.total
        return known.count

    def near(self, keys: KeyTable, key: bytes, end: bytes | None) -> int | None:
        """The count of the latest revision, from that of a range which begins a little before and ends where this
        one does: a client that pages by its own idea of where the next page begins asks like that."""
        if end is not None and key >= end:
            return 0
        start = max((low for low, high in self._latest if high == end and low < key), default=None)
        known = None if start is None else self.get(start, end, None)
        if start is None or known is None:
            return None
        between = 0
        for counted in keys.counts(start, key, NEAR_KEYS):
            between += counted
            if between > NEAR_KEYS:
                return None
        return known - between

    def put(self, key: bytes, end: bytes | None, revision: int | None, count: int) -> None:
        """Remember a count."""
        if revision is not None:
            if len(self._fixed) >= MAX_COUNTS:
                del self._fixed[next(iter(self._fixed))]
            self._fixed[key, end, revision] = count
            return
        if len(self._latest) >= MAX_COUNTS:
            del self._latest[next(iter(self._latest))]
        self._latest[key, end] = _Latest(count, self._created.total, self._deleted.total)

    def clear(self) -> None:
        """Forget everything: the state is another one."""
        self.__init__()  # type: ignore[misc]
