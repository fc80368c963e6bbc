"""One leader among servers over one store: who holds a Lease leads, until it has not renewed it for too long.

Source: client-go's leader election. Only the time since this server last saw the Lease change counts, so that
clocks need not agree.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

import attrs
import trio

from apilayer.api.status import StatusError
from apilayer.client.interface import Ref, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from apilayer.client.interface import Cluster

Object = dict[str, Any]

LEASES = "leases.coordination.k8s.io"
LEASE_SECONDS = 15
RENEW_DEADLINE_SECONDS = 10.0
RETRY_SECONDS = 2.0
RENEW_SECONDS = 5.0
RELEASE_SECONDS = 2.0

log = logging.getLogger("apilayer.client.leader")


class Step(Enum):
    """What to do about the Lease now."""

    WAIT = "wait"
    TAKE = "take"
    RENEW = "renew"


@attrs.define
class Observer:
    """What is known of the Lease: who holds it, and since when it has not changed."""

    identity: str
    _seen: Object | None = None
    _since: float = 0.0

    def step(self, spec: Object, now: float) -> Step:
        """What a Lease with this spec, read at `now`, calls for."""
        if spec != self._seen:
            self._seen, self._since = spec, now
        holder = spec.get("holderIdentity")
        if holder == self.identity:
            return Step.RENEW
        if not holder or now >= self._since + (spec.get("leaseDurationSeconds") or LEASE_SECONDS):
            return Step.TAKE
        return Step.WAIT


def held(spec: Object, identity: str, now: datetime) -> Object:
    """The spec once `identity` holds the Lease; "" releases it."""
    text = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    same = spec.get("holderIdentity") == identity and "acquireTime" in spec
    return {
        "holderIdentity": identity,
        "leaseDurationSeconds": LEASE_SECONDS if identity else 1,
        "acquireTime": spec["acquireTime"] if same else text,
        "renewTime": text,
        "leaseTransitions": (spec.get("leaseTransitions") or 0) + (0 if same or not identity else 1),
    }


class _NotMine(Exception):
    """Somebody else holds the Lease."""


class LeaderElection:
    """Leads whenever it can: `lead` runs while this server is the leader, and is cancelled when it no longer is."""

    def __init__(self, cluster: Cluster, namespace: str, name: str, identity: str) -> None:
        self._cluster = cluster
        self._ref = Ref(LEASES, namespace, name)
        self._identity = identity
        self._observer = Observer(identity)
        self.leading = False

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Takes part until cancelled; gives the Lease up then."""
        try:
            while True:
                if not await self._attempt():
                    await trio.sleep(RETRY_SECONDS)
                    continue
                log.info("%s leads", self._identity)
                async with trio.open_nursery() as nursery:
                    self.leading = True
                    nursery.start_soon(lead)
                    await self._keep()
                    self.leading = False
                    nursery.cancel_scope.cancel()
                log.warning("%s leads no more", self._identity)
        finally:
            leading, self.leading = self.leading, False
            if leading:
                await self._release()

    async def _keep(self) -> None:
        """Returns when the Lease is lost, or may be."""
        renewed = trio.current_time()
        while trio.current_time() < renewed + RENEW_DEADLINE_SECONDS:
            await trio.sleep(RENEW_SECONDS)
            started = trio.current_time()
            with trio.move_on_at(renewed + RENEW_DEADLINE_SECONDS):
                if await self._attempt():
                    renewed = started
                elif self._observer_says_lost:
                    return

    @property
    def _observer_says_lost(self) -> bool:
        seen = self._observer._seen
        return seen is not None and seen.get("holderIdentity") != self._identity

    async def _attempt(self) -> bool:
        """Takes or renews the Lease; False when it is another's or cannot be had now."""
        now = datetime.now(UTC)

        def claim(lease: Object) -> Object:
            spec = lease.get("spec") or {}
            if self._observer.step(spec, trio.current_time()) is Step.WAIT:
                raise _NotMine
            return {**lease, "spec": held(spec, self._identity, now)}

        try:
            try:
                stored = await self._cluster.change(self._ref, claim)
            except StatusError as error:
                if error.code != 404:
                    raise
                fresh = {"metadata": {"name": self._ref.name}, "spec": held({}, self._identity, now)}
                stored = await self._cluster.create(self._ref.resource, self._ref.namespace, fresh, "")
        except _NotMine:
            return False
        except (StatusError, Unavailable) as error:
            log.info("the lease %s cannot be had now: %s", self._ref.name, error)
            return False
        self._observer.step(stored["spec"], trio.current_time())
        return True

    async def _release(self) -> None:
        def release(lease: Object) -> Object:
            spec = lease.get("spec") or {}
            if spec.get("holderIdentity") != self._identity:
                raise _NotMine
            return {**lease, "spec": held(spec, "", datetime.now(UTC))}

        with trio.CancelScope(shield=True, deadline=trio.current_time() + RELEASE_SECONDS):
            try:
                await self._cluster.change(self._ref, release)
            except (StatusError, Unavailable, _NotMine) as error:
                log.info("the lease %s is not given up: %s", self._ref.name, error)
