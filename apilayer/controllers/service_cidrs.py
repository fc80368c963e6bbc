"""Lets ServiceCIDRs be used, and keeps one that is deleted while services have addresses of it alone.

Source: KEP-1880, "Multiple Service CIDRs"; Kubernetes' service-cidr-controller.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, ClassVar

import trio

from apilayer.api import meta
from apilayer.api.status import StatusError
from apilayer.controllers.conditions import condition, with_conditions
from apilayer.controllers.controller import MANAGER, Controller, finalizers, is_ending, without_finalizer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Network, IPv6Network

    from apilayer.client.interface import Change, Cluster, Object, Ref

    Network = IPv4Network | IPv6Network

CIDRS = "servicecidrs.networking.k8s.io"
ADDRESSES = "ipaddresses.networking.k8s.io"
FINALIZER = "networking.k8s.io/service-cidr-finalizer"
GRACE_SECONDS = 10.0
"""So long servers may not have noticed that a range is going, and still give out its addresses."""
READY = condition("Ready", True, "", "Kubernetes Service CIDR is ready")
HELD = condition(
    "Ready",
    False,
    "Terminating",
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
)


def networks(cidr: Object) -> list[Network]:
    """The ranges of a ServiceCIDR."""
    found: list[Network] = []
    for text in (cidr.get("spec") or {}).get("cidrs") or ():
        try:
            found.append(ip_network(text))
        except ValueError:
            continue  # of a server with other rules; no address of ours is in it
    return found


def is_free(cidr: Object, others: Iterable[Object], addresses: Iterable[Object]) -> bool:
    """Whether each address of the ranges that is taken is in a range of another ServiceCIDR too."""
    own = networks(cidr)
    elsewhere = [network for other in others if not is_ending(other) for network in networks(other)]
    for obj in addresses:
        address = ip_address(obj["metadata"]["name"])
        if any(address in network for network in own) and not any(address in network for network in elsewhere):
            return False
    return True


class ServiceCidrController(Controller):
    """One ServiceCIDR at a time."""

    name: ClassVar[str] = "service-cidr-controller"
    workers: ClassVar[int] = 1

    def __init__(self, cluster: Cluster, grace_seconds: float = GRACE_SECONDS) -> None:
        self._grace_seconds = grace_seconds
        self._going: dict[Ref, float] = {}
        """When each that is going was first seen to be."""
        super().__init__(cluster)

    def register(self) -> None:
        """Follows the ranges, and the addresses because one that goes may free a range."""
        self.cluster.follow(CIDRS, self._changed)
        self.cluster.follow(ADDRESSES, self._address_changed)

    def _changed(self, change: Change) -> None:
        """A new range may free another that is going."""
        if change.new is None:
            self._going.pop(change.ref, None)
            return
        self.queue.add(change.ref)
        for ref in self._going:
            self.queue.add(ref)

    def _address_changed(self, change: Change) -> None:
        if change.new is None:
            for ref in self._going:
                self.queue.add(ref)

    async def sync(self, ref: Ref) -> None:
        """Ready with its finalizer, or let go once nothing of it is in use."""
        try:
            cidr = await self.cluster.get(ref)
            if is_ending(cidr):
                await self._release(ref, cidr)
                return
            if FINALIZER not in finalizers(cidr):
                await self.cluster.change(ref, _held)
            if not _has_ready(cidr):
                await self._say(ref, READY)
        except StatusError as error:
            if error.code != 404:
                raise

    async def _release(self, ref: Ref, cidr: Object) -> None:
        now = trio.current_time()
        since = self._going.setdefault(ref, now)
        if FINALIZER not in finalizers(cidr):
            return
        await self.cluster.refresh()
        others = [entry.object() for entry in self.cluster.cached(CIDRS)]
        others = [other for other in others if other["metadata"]["name"] != ref.name]
        if not is_free(cidr, others, (entry.object() for entry in self.cluster.cached(ADDRESSES))):
            await self._say(ref, HELD)
            return
        left = since + self._grace_seconds - now
        if left > 0:
            self.queue.add_after(ref, left)
            return
        await self.cluster.change(ref, lambda old: without_finalizer(old, FINALIZER))

    async def _say(self, ref: Ref, what: Object) -> None:
        await self.cluster.change(ref, lambda old: with_conditions(old, [what], meta.utc_now()), MANAGER, "status")


def _held(cidr: Object) -> Object:
    if FINALIZER not in finalizers(cidr):
        cidr["metadata"]["finalizers"] = [*finalizers(cidr), FINALIZER]
    return cidr


def _has_ready(cidr: Object) -> bool:
    conditions = (cidr.get("status") or {}).get("conditions") or ()
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)
