"""Watches: where they start, what they show first, and when they end. Encoding is the server's business.

Source: Kubernetes API concepts, "Efficient detection of changes", "Watch bookmarks", "Streaming lists".
"""

from __future__ import annotations

import random
from math import inf
from typing import TYPE_CHECKING

import trio

from apilayer.api import status
from apilayer.registry.listing import Lister, matching, parse_selection
from apilayer.registry.options import named_revision
from apilayer.storage.resource_cache import TooOldRevision

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from apilayer.api.resources import Resource
    from apilayer.registry.options import ListOptions
    from apilayer.storage.codec import Entry
    from apilayer.storage.interface import Store
    from apilayer.storage.watch_cache import WatchCache
    from apilayer.storage.watcher import Item, Watcher

BOOKMARK_INTERVAL_SECONDS = 60.0
BOOKMARK_BEFORE_END_SECONDS = 2.0
MAX_ALARM_SECONDS = 60.0
"""So long at most is an alarm of a watch that is over remembered."""
MAX_BATCH_EVENTS = 256
DEFAULT_MIN_TIMEOUT_SECONDS = 1800.0


class Watch:
    """An open watch: first `initial`, then `next_batch` until it answers None. To be closed.

    `failure` is set when the watch cannot start where it was asked to: it is the only thing to send.
    """

    __slots__ = (
        "_alarm",
        "_all",
        "_bookmarks",
        "_deadline",
        "_next_bookmark",
        "_scope",
        "_watcher",
        "end_bookmark",
        "failure",
        "initial",
        "resource",
        "start_revision",
    )

    def __init__(
        self,
        cache: WatchCache,
        resource: Resource,
        scope: bytes,
        watcher: Watcher | None,
        initial: Sequence[Entry],
        *,
        end_bookmark: bool,
        bookmarks: bool,
        timeout_seconds: float,
        start_revision: int,
        failure: status.StatusError | None = None,
    ) -> None:
        self.initial = initial
        self.end_bookmark = end_bookmark
        self.failure = failure
        self.resource = resource
        self.start_revision = start_revision
        """What `initial` shows is the state at this revision."""
        self._all = cache
        self._scope = scope
        self._watcher = watcher
        self._bookmarks = bookmarks
        self._deadline = trio.current_time() + timeout_seconds
        self._next_bookmark = self._first_bookmark(timeout_seconds)
        self._alarm = -inf
        """When this watch is woken next; never after it has something to do."""

    def _first_bookmark(self, timeout_seconds: float) -> float:
        now = trio.current_time()
        if timeout_seconds > BOOKMARK_INTERVAL_SECONDS:
            return now + BOOKMARK_INTERVAL_SECONDS
        return max(now, self._deadline - BOOKMARK_BEFORE_END_SECONDS)

    @property
    def bookmark_revision(self) -> int:
        """What a bookmark sent now may promise: everything up to it has been handed out."""
        after = self._watcher.after if self._watcher is not None else 0
        return max(self._all.revision, after)

    @property
    def pending(self) -> int:
        """How many events wait to be handed out."""
        return self._watcher.pending if self._watcher is not None else 0

    @property
    def held_up(self) -> bool:
        """Whether some of what was delivered has yet to be sent."""
        return self._watcher is not None and self._watcher.held_up

    async def next_batch(self) -> list[Item] | None:
        """The next events, in order; an empty list asks for a bookmark; None: the watch is over.

        Also empty when what was delivered last is `held_up`, until the next call.
        """
        watcher = self._watcher
        if watcher is None:
            return None
        watcher.held_up = False
        while not watcher.pending:
            if watcher.held_up:
                return []
            if watcher.finished:
                return None
            now = trio.current_time()
            if now >= self._deadline:
                return None
            if self._bookmarks and now >= self._next_bookmark:
                self._schedule_bookmark(now)
                return []
            if self._alarm <= now:
                until = min(self._deadline, self._next_bookmark) if self._bookmarks else self._deadline
                self._alarm = min(until, now + MAX_ALARM_SECONDS)
                self._all.alarms.at(self._alarm, watcher)
            await watcher.wait()
        if trio.current_time() >= self._deadline:
            return None
        return watcher.take(MAX_BATCH_EVENTS)

    def _schedule_bookmark(self, now: float) -> None:
        before_end = self._deadline - BOOKMARK_BEFORE_END_SECONDS
        following = now + BOOKMARK_INTERVAL_SECONDS
        if now < before_end < following:
            following = before_end
        self._next_bookmark = following

    def stalls(self, scope: trio.CancelScope | None) -> None:
        """Names the scope to cancel when the peer takes nothing for so long that the queue overflows."""
        if self._watcher is not None:
            self._watcher.stalled_scope = scope

    def deliver_by(self, deliver: Callable[[list[Item]], bool]) -> None:
        """From now on `deliver` sends what comes while `next_batch` waits; see `Watcher.deliver_by`."""
        if self._watcher is not None:
            self._watcher.deliver_by(self._all.deliveries, deliver)

    def close(self) -> None:
        """Frees what the watch holds; it may be called more than once."""
        if self._watcher is not None:
            self._all.of(self.resource).unsubscribe(self._scope, self._watcher)


class WatchOpener:
    """Opens watches of one resource."""

    def __init__(self, resource: Resource, store: Store, cache: WatchCache, min_timeout_seconds: float) -> None:
        self._resource = resource
        self._all = cache
        self._cache = cache.of(resource)
        self._lister = Lister(resource, store, cache)
        self._min_timeout_seconds = min_timeout_seconds

    async def open(self, namespace: str, name: str, options: ListOptions, row: Resource | None = None) -> Watch:
        """A watch of a namespace ("" for all), of one object when `name` is set.

        `row` is the version whose field labels are meant.

        Raises StatusError 400, 422, or 500 for an unreadable resourceVersion; 503 while there is no cache.
        """
        options.validate()
        selection = parse_selection(row or self._resource, options)
        text = options.resource_version
        try:
            revision = named_revision(text)
        except ValueError as error:
            raise status.raw(500, str(error)) from error
        prefix = self._lister.prefix(namespace)
        exact = name or selection.fields.exact("metadata.name") or ""
        namespaced = bool(namespace) or not self._resource.namespaced
        scope = prefix + exact.encode() if exact and namespaced else prefix

        initial_wanted = options.send_initial_events
        if initial_wanted is None:
            initial_wanted = not revision
        if initial_wanted:
            await self._freshen(text, revision)
            after = self._all.revision
            initial = self._cache.entries(scope) if scope == prefix else self._one(scope)
        else:
            await self._freshen("0" if revision else text, 0)
            after = revision or self._all.revision
            initial = []
        failure = None
        watcher = None
        start_revision = self._all.revision
        try:
            watcher = self._cache.subscribe(scope, selection, after)
        except TooOldRevision as error:
            failure = status.expired(f"too old resource version: {revision} ({error.oldest})")
        try:
            initial = await matching(initial, selection)
        except BaseException:
            if watcher is not None:
                self._cache.unsubscribe(scope, watcher)
            raise
        return Watch(
            self._all,
            self._resource,
            scope,
            watcher,
            initial,
            end_bookmark=bool(options.send_initial_events) and options.allow_bookmarks,
            bookmarks=options.allow_bookmarks,
            timeout_seconds=self._timeout(options),
            start_revision=start_revision,
            failure=failure,
        )

    def _one(self, key: bytes) -> list[Entry]:
        entry = self._cache.get(key)
        return [entry] if entry is not None else []

    async def _freshen(self, text: str, revision: int) -> None:
        """ "0" takes the cache as it is, a revision waits for it, nothing means the most recent state."""
        if text:
            await self._lister.wait_until(revision)
        else:
            await self._lister.refresh()

    def _timeout(self, options: ListOptions) -> float:
        if options.timeout_seconds:
            return float(options.timeout_seconds)
        return self._min_timeout_seconds * (1 + random.random())
