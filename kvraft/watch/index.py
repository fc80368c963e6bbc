"""Which watchers a changed key concerns: exact keys by hash, ranges by an interval tree.

Watchers of the same range with the same options are one group, so that what they get is made once.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvraft.watch.watcher import Watcher, WatchOptions

PENDING_RANGES = 64
"""So many new ranges are searched one by one before the tree is rebuilt with them."""


class Group:
    """Watchers of ``[key, end)`` (``end`` b"": the one key, None: every key from ``key`` on)."""

    __slots__ = ("end", "key", "options", "watchers")

    def __init__(self, key: bytes, end: bytes | None, options: WatchOptions) -> None:
        self.key = key
        self.end = end
        self.options = options
        self.watchers: dict[Watcher, None] = {}


class Ranges:
    """Groups with bounded ranges: a balanced tree laid out in sorted arrays, and the few that came since.

    Position ``mid`` of every slice is the root of that slice's subtree; ``_reach[mid]`` is the subtree's largest end.
    A group without watchers is dead: it is skipped, and dropped with the next rebuild.
    """

    __slots__ = ("_dead", "_groups", "_pending", "_reach")

    def __init__(self) -> None:
        self._groups: list[Group] = []
        self._reach: list[bytes] = []
        self._pending: list[Group] = []
        self._dead = 0

    def add(self, group: Group) -> None:
        self._pending.append(group)
        if len(self._pending) > PENDING_RANGES:
            self._rebuild()

    def remove(self, group: Group) -> None:
        """Forget ``group``, which has no watchers any more."""
        assert not group.watchers
        self._dead += 1
        if self._dead > PENDING_RANGES and self._dead * 2 > len(self._groups):
            self._rebuild()

    def find(self, key: bytes, found: list[Group]) -> None:
        """Append the groups whose range holds ``key``."""
        found += [
            group
            for group in self._pending
            if group.key <= key < group.end and group.watchers  # type: ignore[operator]
        ]
        groups, reach = self._groups, self._reach
        stack = [(0, len(groups))]
        while stack:
            low, high = stack.pop()
            if low >= high:
                continue
            mid = (low + high) // 2
            if reach[mid] <= key:
                continue
            stack.append((low, mid))
            group = groups[mid]
            if group.key <= key:
                if key < group.end and group.watchers:  # type: ignore[operator]
                    found.append(group)
                stack.append((mid + 1, high))

    def _rebuild(self) -> None:
        alive = [group for group in (*self._groups, *self._pending) if group.watchers]
        alive.sort(key=lambda group: group.key)
        self._groups, self._pending, self._dead = alive, [], 0
        self._reach = [b""] * len(alive)
        self._measure(0, len(alive))

    def _measure(self, low: int, high: int) -> bytes:
        if low >= high:
            return b""
        mid = (low + high) // 2
        end = self._groups[mid].end
        assert end is not None
        reach = max(end, self._measure(low, mid), self._measure(mid + 1, high))
        self._reach[mid] = reach
        return reach


class WatcherIndex:
    """The watchers in one state."""

    def __init__(self) -> None:
        self._groups: dict[tuple[bytes, bytes | None, WatchOptions], Group] = {}
        self._exact: dict[bytes, list[Group]] = {}
        self._ranges = Ranges()
        self._open: list[tuple[bytes, WatchOptions, Group]] = []  # sorted by key; each (key, options) once

    def __bool__(self) -> bool:
        return bool(self._groups)

    def add(self, watcher: Watcher) -> None:
        name = (watcher.key, watcher.end, watcher.options)
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = Group(*name)
            group.watchers[watcher] = None
            if group.end == b"":
                self._exact.setdefault(group.key, []).append(group)
            elif group.end is None:
                insort(self._open, (group.key, group.options, group))
            else:
                self._ranges.add(group)
        else:
            group.watchers[watcher] = None

    def remove(self, watcher: Watcher) -> None:
        name = (watcher.key, watcher.end, watcher.options)
        group = self._groups[name]
        del group.watchers[watcher]
        if group.watchers:
            return
        del self._groups[name]
        if group.end == b"":
            left = self._exact[group.key]
            left.remove(group)
            if not left:
                del self._exact[group.key]
        elif group.end is None:
            self._open.remove((group.key, group.options, group))
        else:
            self._ranges.remove(group)

    def group_of(self, watcher: Watcher) -> Group:
        """The group of a watcher that is in here."""
        return self._groups[watcher.key, watcher.end, watcher.options]

    def watchers(self) -> list[Watcher]:
        """Everyone, in the order of the groups' creation."""
        return [watcher for group in self._groups.values() for watcher in group.watchers]

    def match(self, key: bytes) -> list[Group]:
        """The groups that a change of ``key`` concerns."""
        found = list(self._exact.get(key, ()))
        self._ranges.find(key, found)
        if self._open:
            found += [entry[2] for entry in self._open[: bisect_right(self._open, key, key=_open_key)]]
        return found


def _open_key(entry: tuple[bytes, WatchOptions, Group]) -> bytes:
    return entry[0]
