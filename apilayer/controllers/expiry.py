"""Deletes objects whose time is over: Events, bootstrap tokens, and Jobs that have finished.

For Events this is ours: kube-apiserver lets its store forget them.
"""

from __future__ import annotations

import base64
import binascii
from abc import abstractmethod
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from apilayer.api import meta
from apilayer.api.status import StatusError
from apilayer.controllers.controller import Controller, is_ending

if TYPE_CHECKING:
    from collections.abc import Callable

    from apilayer.client.interface import Change, Cluster, Object, Ref

DEFAULT_TTL_SECONDS = 3600.0
TOKENS_NAMESPACE = "kube-system"
TOKEN_TYPE = "bootstrap.kubernetes.io/token"  # noqa: S105  # a type of Secrets


class Expiring(Controller):
    """Looks at each object when its time is over."""

    resource: ClassVar[str]
    policy: ClassVar[str] = ""
    workers: ClassVar[int] = 1

    def __init__(self, cluster: Cluster, clock: Callable[[], datetime] = meta.utc_now) -> None:
        self._clock = clock
        super().__init__(cluster)

    @abstractmethod
    def end(self, obj: Object) -> datetime | None:
        """When the object's time is over; None when it does not end."""

    def register(self) -> None:
        """Follows the objects."""
        self.cluster.follow(self.resource, self._changed)

    def looks_at(self, change: Change) -> bool:
        """Whether the change may say when the object ends."""
        return change.new is not None

    def _changed(self, change: Change) -> None:
        if change.new is None or not self.looks_at(change):
            return
        left = self._seconds_left(change.new.object())
        if left is not None:
            self.queue.add_after(change.ref, left)

    def _seconds_left(self, obj: Object) -> float | None:
        end = self.end(obj)
        return None if end is None or is_ending(obj) else max(0.0, (end - self._clock()).total_seconds())

    async def sync(self, ref: Ref) -> None:
        """One object; what changed meanwhile is believed."""
        entry = self.cluster.cached_one(ref)
        if entry is None:
            return
        obj = entry.object()
        left = self._seconds_left(obj)
        if left is None:
            return
        if left:
            self.queue.add_after(ref, left)
            return
        try:
            await self.cluster.delete(ref, obj["metadata"].get("uid") or "", self.policy)
        except StatusError as error:
            if error.code not in (404, 409):
                raise


def parsed_time(text: str) -> datetime | None:
    """The time, None for none."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None


def last_seen(event: Object) -> datetime | None:
    """When the event was last written about, as far as it says so."""
    texts = [
        (event.get("series") or {}).get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event["metadata"].get("creationTimestamp"),
    ]
    times = [found for text in texts if text and (found := parsed_time(text)) is not None]
    return max(times, default=None)


class EventExpiry(Expiring):
    """Events end some time after they were last written about; one that lies ahead is as one of now."""

    name: ClassVar[str] = "event-expiry-controller"
    resource: ClassVar[str] = "events"

    def __init__(
        self,
        cluster: Cluster,
        ttl_seconds: float = DEFAULT_TTL_SECONDS,
        clock: Callable[[], datetime] = meta.utc_now,
    ) -> None:
        self._ttl = timedelta(seconds=ttl_seconds)
        super().__init__(cluster, clock)

    def looks_at(self, change: Change) -> bool:
        """One that changes is looked at when its first time is over, and then again when its last one is."""
        return change.old is None

    def end(self, obj: Object) -> datetime | None:
        """Its last time and the TTL."""
        now = self._clock()
        seen = last_seen(obj)
        return now if seen is None else min(seen, now) + self._ttl


def token_end(secret: Object) -> datetime | None:
    """When a bootstrap token expires; None for other Secrets and tokens that do not. An unreadable time is over."""
    if secret.get("type") != TOKEN_TYPE:
        return None
    encoded = (secret.get("data") or {}).get("expiration")
    if not encoded:
        return None
    try:
        text = base64.b64decode(encoded).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        text = ""
    return parsed_time(text) or datetime.min.replace(tzinfo=UTC)


class TokenCleaner(Expiring):
    """Bootstrap tokens that have expired."""

    name: ClassVar[str] = "token-cleaner-controller"
    resource: ClassVar[str] = "secrets"

    def looks_at(self, change: Change) -> bool:
        """Tokens live in one namespace."""
        return change.ref.namespace == TOKENS_NAMESPACE

    def end(self, obj: Object) -> datetime | None:
        """As it says."""
        return token_end(obj)


def job_end(job: Object) -> datetime | None:
    """When a Job that has finished is to go; None for one that stays."""
    ttl = (job.get("spec") or {}).get("ttlSecondsAfterFinished")
    if ttl is None:
        return None
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
            finished = parsed_time(condition.get("lastTransitionTime") or "")
            return None if finished is None else finished + timedelta(seconds=ttl)
    return None


class FinishedJobs(Expiring):
    """Jobs that finished their ``ttlSecondsAfterFinished`` ago, with what they own."""

    name: ClassVar[str] = "ttl-after-finished-controller"
    resource: ClassVar[str] = "jobs.batch"
    policy: ClassVar[str] = "Foreground"

    def end(self, obj: Object) -> datetime | None:
        """When it finished, and its TTL."""
        return job_end(obj)
