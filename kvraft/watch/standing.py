"""Where watchers that lag stand: found by revision, so that a step looks at those alone whom it serves."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvraft.watch.watcher import Watcher


class Standing:
    """Watchers by their ``next_revision``, which nobody else changes while they are in here."""

    def __init__(self) -> None:
        self._at: dict[int, dict[Watcher, None]] = {}
        self._revisions: list[int] = []  # sorted; those at which somebody stands

    def add(self, watcher: Watcher) -> None:
        there = self._at.get(watcher.next_revision)
        if there is None:
            insort(self._revisions, watcher.next_revision)
            there = self._at[watcher.next_revision] = {}
        there[watcher] = None

    def remove(self, watcher: Watcher) -> None:
        revision = watcher.next_revision
        there = self._at[revision]
        del there[watcher]
        if not there:
            del self._at[revision]
            del self._revisions[bisect_left(self._revisions, revision)]

    def move(self, watcher: Watcher, revision: int) -> None:
        """The watcher has everything below ``revision``."""
        self.remove(watcher)
        watcher.next_revision = revision
        self.add(watcher)

    def within(self, low: int, high: int) -> list[Watcher]:
        """Those who stand at ``low`` to ``high``, the furthest behind first."""
        revisions = self._revisions
        found = revisions[bisect_left(revisions, low) : bisect_right(revisions, high)]
        return [watcher for revision in found for watcher in self._at[revision]]
