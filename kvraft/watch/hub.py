"""The hub: every applied change to every watcher that asked for it, once, in order, whole revisions at a time.

A synced watcher is served as changes are applied. One that starts in the past, or whose sink was full, lags: it reads
older changes in bounded chunks until it has reached the present. Everything happens on the loop, between two applies,
so that the hand-over from the one to the other has no gap.
"""

from __future__ import annotations

from bisect import bisect_left
from random import random
from typing import TYPE_CHECKING, Protocol

from kvraft.types import Event, WatchBatch
from kvraft.watch.index import Group, WatcherIndex
from kvraft.watch.long import LongRevision
from kvraft.watch.progress import INTERVAL_SECONDS, PeriodicProgress
from kvraft.watch.standing import Standing
from kvraft.watch.watcher import Sink, Watcher, WatcherState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kvraft.mvcc.records import Change
    from kvraft.types import KeyValue, WatchRequest

CHUNK_BYTES = 4 << 20
"""A chunk of older changes ends, at a whole revision, once it is this large."""


class ChangeSource(Protocol):
    """Where older changes are read; the store. ``revision`` is the last applied one."""

    @property
    def revision(self) -> int: ...

    @property
    def compacted_revision(self) -> int: ...

    def changes(self, low: int, max_changes: int, max_bytes: int) -> tuple[list[Change], int]:
        """Whole revisions from ``low`` on until a bound is reached, and the last revision covered: ``low - 1`` when
        ``low`` has so many changes that it must be read in parts."""
        ...

    def part(self, revision: int, sub: int, max_changes: int) -> tuple[list[Change], int | None]:
        """See :class:`~kvraft.watch.long.PartSource`."""
        ...

    def previous(self, change: Change) -> KeyValue | None:
        """The key before ``change``."""
        ...


class _Chunk:
    """Consecutive changes, whose events are made at most once for each option."""

    __slots__ = ("_plain", "_source", "_with_previous", "changes", "last")

    def __init__(self, source: ChangeSource, changes: Sequence[Change], last: int) -> None:
        self._source = source
        self._plain: dict[int, Event] = {}
        self._with_previous: dict[int, Event] = {}
        self.changes = changes
        self.last = last

    def batch(self, places: Sequence[int], prev_kv: bool) -> WatchBatch:
        """The changes at ``places`` as a batch that completes every revision up to the chunk's last."""
        events: list[Event] = []
        made = self._with_previous if prev_kv else self._plain
        for place in places:
            event = made.get(place)
            if event is None:
                change = self.changes[place]
                event = made[place] = change.event(self._source.previous(change) if prev_kv else None)
            events.append(event)
        return WatchBatch(self.last, events)

    def revision_at(self, place: int) -> int:
        return self.changes[place].kv.mod_revision


class WatchHub:
    """All watchers of one store."""

    def __init__(
        self, source: ChangeSource, progress_seconds: float = INTERVAL_SECONDS, chance: Callable[[], float] = random
    ) -> None:
        self._source = source
        self._periodic = PeriodicProgress(progress_seconds, chance)
        self._now = 0.0
        self._synced = WatcherIndex()
        self._lagging = WatcherIndex()
        self._queue: dict[Watcher, None] = {}  # the lagging ones, whose turn is next first
        self._standing = Standing()  # the same ones, by what they have
        self._blocked: dict[Watcher, None] = {}
        self._long: LongRevision | None = None
        self._published = source.revision
        self.events = 0
        """Delivered since the start, once for each watcher."""

    @property
    def has_synced(self) -> bool:
        """Whether anybody waits for the next changes."""
        return bool(self._synced)

    def watch(self, request: WatchRequest, sink: Sink) -> Watcher:
        """Start a watch; nothing is delivered before this returns. Raises InvalidArgument for an empty range."""
        watcher = Watcher(request, sink)
        if 0 < watcher.start_revision <= self._source.revision:
            self._enter(watcher, WatcherState.LAGGING)
        else:
            watcher.next_revision = watcher.start_revision or self._source.revision + 1
            self._enter(watcher, WatcherState.SYNCED)
        if request.progress_notify:
            self._periodic.add(watcher, self._now)
        return watcher

    def cancel(self, watcher: Watcher) -> None:
        """End a watch; again is fine."""
        self._enter(watcher, WatcherState.OVER)

    def resume(self, watcher: Watcher) -> None:
        """The sink has room again; :meth:`catch_up` goes on with the watcher."""
        if watcher.state is WatcherState.BLOCKED:
            self._enter(watcher, WatcherState.LAGGING)

    def progress(self, watcher: Watcher) -> int | None:
        """The revision up to which the watcher has everything; None while that is not the latest, or not its start."""
        revision = self._source.revision
        synced = watcher.state is WatcherState.SYNCED
        return revision if synced and revision >= watcher.start_revision else None

    def progress_of_all(self, watchers: Iterable[Watcher]) -> int | None:
        """The revision up to which each of a stream's watchers has everything; None unless that is the latest for
        every one of them, or when there are none. What sinks got before this call is older: queue it behind that."""
        reached: int | None = None
        for watcher in watchers:
            reached = self.progress(watcher)
            if reached is None:
                return None
        return reached

    def notify_progress(self, now: float) -> None:
        """Deliver periodic progress where it is due at ``now``, to watchers that are synced and got no event since
        they were last due. A watcher's first interval begins with the call before it came; call often."""
        self._now = now
        for watcher in self._periodic.due(now):
            revision = self.progress(watcher) if watcher.quiet else None
            watcher.quiet = True
            if revision is not None:
                watcher.sink.deliver(watcher, WatchBatch(revision, []))

    def publish(self, changes: Sequence[Change]) -> None:
        """Deliver what has just been applied: whole revisions, the source's latest included."""
        self._published = self._source.revision
        if not changes or not self._synced:
            return
        chunk = _Chunk(self._source, changes, self._published)
        hits = [(list(group.watchers), group, places) for group, places in self._hits(self._synced, chunk).items()]
        for group_watchers, group, places in hits:
            prev_kv = group.options.prev_kv
            shared: WatchBatch | None = None
            for watcher in group_watchers:
                if watcher.state is not WatcherState.SYNCED:
                    continue  # cancelled by a sink, meanwhile
                wanted = self._from(places, chunk, watcher.next_revision)
                if wanted is places:
                    shared = batch = shared or chunk.batch(places, prev_kv)
                elif wanted:
                    batch = chunk.batch(wanted, prev_kv)
                else:
                    continue
                watcher.next_revision = max(watcher.next_revision, chunk.revision_at(0))
                if self._offer(watcher, batch):
                    watcher.next_revision = chunk.last + 1

    @property
    def lags(self) -> bool:
        """Whether :meth:`catch_up` has something to do."""
        return bool(self._queue)

    def catch_up(self, max_events: int) -> bool:
        """Serve lagging watchers one chunk of about ``max_events`` changes; True when some still lag.

        The chunk starts where the first in the queue stands, and everyone who stands within it goes along; then the
        first goes to the end of the queue, so that nobody waits for the one who is furthest behind.
        """
        source = self._source
        if self._long is not None:
            self._serve_part(self._long, max_events)
            return bool(self._queue)
        for _ in range(max_events):
            first = next(iter(self._queue), None)
            if first is None:
                return False
            if first.next_revision > source.revision:
                self._enter(first, WatcherState.SYNCED)
            elif first.next_revision < source.compacted_revision:
                self._end_compacted(first)
            else:
                self._serve_chunk(first.next_revision, max_events)
                if first in self._queue:
                    del self._queue[first]
                    self._queue[first] = None
                break
        return bool(self._queue)

    def replaced(self) -> None:
        """The source is another state now, of a snapshot. What a watcher has seen it will not see again."""
        self._long = None
        for watcher in self._synced.watchers():
            watcher.next_revision = max(watcher.next_revision, self._published + 1)
            self._enter(watcher, WatcherState.LAGGING)
        self._published = self._source.revision

    def statistics(self) -> dict[str, int]:
        """How many watchers are in each state."""
        return {
            "synced": len(self._synced.watchers()),
            "lagging": len(self._queue),
            "blocked": len(self._blocked),
        }

    def revisions_behind(self) -> int:
        """How many revisions the slow watchers have yet to be told of, taken together."""
        latest = self._source.revision
        return sum(max(0, latest + 1 - slow.next_revision) for slow in (*self._queue, *self._blocked))

    def _end_compacted(self, watcher: Watcher) -> None:
        """Tell the watcher that what it needs next is gone: never skip over it."""
        if self._offer(watcher, WatchBatch(self._source.revision, [], self._source.compacted_revision)):
            self._enter(watcher, WatcherState.OVER)

    def _offer(self, watcher: Watcher, batch: WatchBatch) -> bool:
        """Deliver; a watcher whose sink is full is blocked."""
        watcher.quiet = False
        taken = watcher.sink.deliver(watcher, batch)
        self.events += len(batch.events) if taken else 0
        if not taken and watcher.state is not WatcherState.OVER:
            self._enter(watcher, WatcherState.BLOCKED)
        return taken

    def _serve_chunk(self, low: int, max_events: int) -> None:
        changes, last = self._source.changes(low, max_events, CHUNK_BYTES)
        if last < low:
            self._long = LongRevision(self._source, low, self._lagging, self._standing.within(low, low))
            return
        chunk = _Chunk(self._source, changes, last)
        hits = self._hits(self._lagging, chunk)
        shared: dict[Group, WatchBatch] = {}
        for watcher in self._standing.within(low, last + 1):
            if watcher.state is not WatcherState.LAGGING:
                continue  # cancelled by a sink, meanwhile
            group = self._lagging.group_of(watcher)
            places = hits.get(group)
            wanted = self._from(places, chunk, watcher.next_revision) if places else None
            if wanted:
                if wanted is not places:
                    batch = chunk.batch(wanted, group.options.prev_kv)
                else:
                    batch = shared.get(group) or shared.setdefault(group, chunk.batch(wanted, group.options.prev_kv))
                if not self._offer(watcher, batch) or watcher.state is not WatcherState.LAGGING:
                    continue
            self._standing.move(watcher, last + 1)
            if last == self._source.revision:
                self._enter(watcher, WatcherState.SYNCED)

    def _serve_part(self, long: LongRevision, max_events: int) -> None:
        """Go on with a revision that is made in pieces, and deliver it once that is done."""
        waiting = [watcher for watcher in long.watchers if watcher.state is WatcherState.LAGGING]
        if not waiting or long.revision < self._source.compacted_revision:
            self._long = None
            return
        if not long.step(max_events):
            return
        self._long = None
        for watcher in waiting:
            if watcher.state is not WatcherState.LAGGING:
                continue  # cancelled by a sink, meanwhile
            batch = long.batch(watcher)
            if batch is not None and (not self._offer(watcher, batch) or watcher.state is not WatcherState.LAGGING):
                continue
            self._standing.move(watcher, long.revision + 1)
            if long.revision == self._source.revision:
                self._enter(watcher, WatcherState.SYNCED)

    @staticmethod
    def _hits(index: WatcherIndex, chunk: _Chunk) -> dict[Group, list[int]]:
        """For each group that the chunk concerns: the places of its changes."""
        hits: dict[Group, list[int]] = {}
        for place, change in enumerate(chunk.changes):
            for group in index.match(change.kv.key):
                options = group.options
                if not (options.no_put if change.kv.version else options.no_delete):
                    hits.setdefault(group, []).append(place)
        return hits

    @staticmethod
    def _from(places: list[int], chunk: _Chunk, revision: int) -> list[int]:
        """``places`` without those below ``revision``; the same list when that is all of them."""
        if chunk.revision_at(places[0]) >= revision:
            return places
        return places[bisect_left(places, revision, key=chunk.revision_at) :]

    def _enter(self, watcher: Watcher, state: WatcherState) -> None:
        """The one place where a watcher changes its state."""
        if watcher.state is WatcherState.SYNCED:
            self._synced.remove(watcher)
        elif watcher.state is WatcherState.LAGGING:
            self._lagging.remove(watcher)
            self._standing.remove(watcher)
            del self._queue[watcher]
        elif watcher.state is WatcherState.BLOCKED:
            del self._blocked[watcher]
        ends = state is WatcherState.OVER and watcher.state is not state
        watcher.state = state
        if ends and watcher.progress_notify:
            self._periodic.ended()
        if state is WatcherState.SYNCED:
            self._synced.add(watcher)
        elif state is WatcherState.LAGGING:
            self._lagging.add(watcher)
            self._standing.add(watcher)
            self._queue[watcher] = None
        elif state is WatcherState.BLOCKED:
            self._blocked[watcher] = None
