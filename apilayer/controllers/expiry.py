"""Deletes Events that are older than ``--event-ttl``; ours, for kube-apiserver lets its store forget them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from apilayer.api import meta
from apilayer.api.status import StatusError
from apilayer.controllers.controller import Controller

if TYPE_CHECKING:
    from collections.abc import Callable

    from apilayer.client.interface import Change, Cluster, Object, Ref

DEFAULT_TTL_SECONDS = 3600.0


def last_seen(event: Object) -> datetime | None:
    """When the event was last written about, as far as it says so."""
    texts = [
        (event.get("series") or {}).get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event["metadata"].get("creationTimestamp"),
    ]
    times = [found for text in texts if text and (found := _parsed(text)) is not None]
    return max(times, default=None)


def _parsed(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None


def seconds_left(event: Object, ttl_seconds: float, now: datetime) -> float:
    """How long the event is still kept; 0 when its time is over. One that lies ahead is as one of now."""
    seen = last_seen(event)
    if seen is None:
        return 0.0
    return max(0.0, ttl_seconds - max(0.0, (now - seen).total_seconds()))


class EventExpiry(Controller):
    """Looks at each event when its time is over."""

    name: ClassVar[str] = "event-expiry-controller"
    workers: ClassVar[int] = 1

    def __init__(
        self,
        cluster: Cluster,
        ttl_seconds: float = DEFAULT_TTL_SECONDS,
        clock: Callable[[], datetime] = meta.utc_now,
    ) -> None:
        super().__init__(cluster)
        self._ttl_seconds = ttl_seconds
        self._clock = clock

    def register(self) -> None:
        """Follows the events."""
        self.cluster.follow("events", self._changed)

    def _changed(self, change: Change) -> None:
        # One that changes is looked at when its first time is over, and then again when its last one is.
        if change.new is not None and change.old is None:
            left = seconds_left(change.new.object(), self._ttl_seconds, self._clock())
            self.queue.add_after(change.ref, left)

    async def sync(self, ref: Ref) -> None:
        """One event."""
        entry = self.cluster.cached_one(ref)
        if entry is None:
            return
        event = entry.object()
        left = seconds_left(event, self._ttl_seconds, self._clock())
        if left:
            self.queue.add_after(ref, left)
            return
        try:
            await self.cluster.delete(ref, event["metadata"].get("uid") or "")
        except StatusError as error:
            if error.code not in (404, 409):
                raise
