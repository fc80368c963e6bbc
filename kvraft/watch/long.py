"""A revision with very many changes, for watchers that have it still to see: made in pieces, delivered as a whole.

A revision is told in one batch, and making that of a million deletions takes seconds. So its changes are read, matched
and made into events some at a time, and between two pieces the member's loop does everything else. The watchers that
waited for it when it was begun are served; whoever comes meanwhile waits for the next round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kvraft.types import WatchBatch
from kvraft.watch.watcher import WatcherState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvraft.mvcc.records import Change
    from kvraft.types import Event, KeyValue
    from kvraft.watch.index import Group, WatcherIndex
    from kvraft.watch.watcher import Watcher


class PartSource(Protocol):
    """Where its changes are read; the store."""

    def part(self, revision: int, sub: int, max_changes: int) -> tuple[list[Change], int | None]:
        """Changes of ``revision`` from place ``sub`` on, and the place of the next one; None: there is none."""
        ...

    def previous(self, change: Change) -> KeyValue | None:
        """The key before ``change``."""
        ...


class LongRevision:
    """``revision`` on its way to ``watchers``, which are in ``index``."""

    def __init__(self, source: PartSource, revision: int, index: WatcherIndex, watchers: Iterable[Watcher]) -> None:
        self.revision = revision
        self.watchers = tuple(watchers)
        self._source = source
        self._index = index
        self._sub: int | None = 0
        self._groups: dict[Group, list[Watcher]] = {}
        for watcher in self.watchers:
            self._groups.setdefault(index.group_of(watcher), []).append(watcher)
        self._events: dict[Group, list[Event]] = {}
        self._batches: dict[Group, WatchBatch] = {}

    def step(self, max_changes: int) -> bool:
        """Go on with so many changes; True when that were the last."""
        assert self._sub is not None
        changes, self._sub = self._source.part(self.revision, self._sub, max_changes)
        made: dict[Group, list[Event]] = {}
        for change in changes:
            plain = full = None
            for group in self._index.match(change.kv.key):
                options = group.options
                if group not in self._groups or (options.no_put if change.kv.version else options.no_delete):
                    continue
                if options.prev_kv:
                    event = full = full or change.event(self._source.previous(change))
                else:
                    event = plain = plain or change.event(None)
                made.setdefault(group, []).append(event)
        for group, events in made.items():
            self._prepare(group, events)
        if self._sub is None:
            self._batches = {group: WatchBatch(self.revision, events) for group, events in self._events.items()}
            return True
        return False

    def _prepare(self, group: Group, events: list[Event]) -> None:
        known = self._events.setdefault(group, [])
        part = WatchBatch(self.revision, events)
        for watcher in self._groups[group]:
            if (
                watcher.state is WatcherState.LAGGING
                and (prepare := getattr(watcher.sink, "prepare", None)) is not None
            ):
                prepare(part, is_first=not known)
        known += events

    def batch(self, watcher: Watcher) -> WatchBatch | None:
        """What one of ``watchers``, which still lags, is to be told; None: nothing of it concerns the watcher."""
        return self._batches.get(self._index.group_of(watcher))
