"""The store of Services: what a write needs is reserved before it, what it lets go of is freed after it.

Cluster IPs are reserved by creating IPAddress objects, node ports in a bitmap; both fail when somebody else has
them, and then the write is done again with another choice. What a crash leaves reserved, `repair` finds.
"""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING

from apilayer.api import status
from apilayer.api.services.allocate import Refused
from apilayer.api.services.ranges import family_of
from apilayer.api.services.spec import Claims, claims_of
from apilayer.registry.listing import FRESHNESS_TIMEOUT_SECONDS
from apilayer.registry.options import DeleteOptions, WriteOptions
from apilayer.registry.services.ports import Taken
from apilayer.registry.store import Deleted, ResourceStore
from apilayer.storage.interface import OutcomeUnknown, StoreError

if TYPE_CHECKING:
    from typing import Any

    from apilayer.registry.services.ports import PortBitmap
    from apilayer.registry.store import Object, Transform
    from apilayer.storage.codec import Entry

OWN_MANAGER = "kube-apiserver"
"""Who managedFields name for what the server does of its own accord."""
ATTEMPTS = 16
FAMILY_LABEL = "ipaddress.kubernetes.io/ip-family"
MANAGED_BY_LABEL = "ipaddress.kubernetes.io/managed-by"
MANAGER = "ipallocator.k8s.io"

log = logging.getLogger("apilayer.registry.services")


def address_object(address: str, namespace: str, name: str) -> Object:
    """The IPAddress that says which service has the address."""
    labels = {FAMILY_LABEL: family_of(address), MANAGED_BY_LABEL: MANAGER}
    parent = {"resource": "services", "namespace": namespace, "name": name}
    return {"metadata": {"name": address, "labels": labels}, "spec": {"parentRef": parent}}


class ServiceStore(ResourceStore):
    """The generic store with reservations around its writes."""

    def __init__(
        self, *args: Any, addresses: ResourceStore, ports: PortBitmap, rehearsal: ServiceStore | None = None
    ) -> None:
        """`rehearsal` is the store that dry runs are left to, None for one that makes them itself."""
        super().__init__(*args)
        self.addresses = addresses
        self.ports = ports
        self._rehearsal = rehearsal

    # ------------------------------------------------------------------ choosing again

    async def create(self, namespace: str, obj: Object, options: WriteOptions, *, applied: bool = False) -> Entry:
        """As `ResourceStore.create`; further: 422 for addresses and ports that cannot be had, 500 when none is left."""
        if options.dry_run and self._rehearsal is not None:
            return await self._rehearsal.create(namespace, obj, options, applied=applied)
        for attempt in range(ATTEMPTS):
            tried = copy.deepcopy(obj)
            try:
                entry = await super().create(namespace, tried, options, applied=applied)
            except Taken:
                continue
            except Refused:
                if attempt:
                    raise
                await self._look_again()
                continue
            obj.clear()
            obj.update(tried)
            return entry
        raise status.service_unavailable("other services were faster each time; try again")

    async def _change(
        self, namespace: str, name: str, transform: Transform, options: WriteOptions, subresource: str
    ) -> Entry:
        if options.dry_run and self._rehearsal is not None:
            return await self._rehearsal._change(namespace, name, transform, options, subresource)
        for attempt in range(ATTEMPTS):
            try:
                return await super()._change(namespace, name, transform, options, subresource)
            except Taken:
                continue
            except Refused:
                if attempt:
                    raise
                await self._look_again()
        raise status.service_unavailable("other services were faster each time; try again")

    async def _look_again(self) -> None:
        """What was refused may have been freed elsewhere since."""
        await self.ports.load()
        await self._all.wait_for(await self._store.current_revision(), FRESHNESS_TIMEOUT_SECONDS)

    # ------------------------------------------------------------------ reserving and freeing

    async def _put_new(self, key: bytes, obj: Object, options: WriteOptions) -> Entry:
        claims = Claims() if options.dry_run else claims_of(obj)
        await self._reserve(claims, obj)
        try:
            return await super()._put_new(key, obj, options)
        except (StoreError, status.StatusError) as error:
            await self._undo(claims, error)
            raise

    async def _store_change(self, key: bytes, entry: Entry, new: Object, options: WriteOptions) -> Entry:
        if options.dry_run:
            return await super()._store_change(key, entry, new, options)
        before, after = claims_of(entry.object()), claims_of(new)
        await self._reserve(after - before, new)
        try:
            stored = await super()._store_change(key, entry, new, options)
        except (StoreError, status.StatusError) as error:
            await self._undo(after - before, error)
            raise
        gone = "deletionTimestamp" in new["metadata"] and self.strategy.may_be_removed(new)
        await self.free(before if gone else before - after)
        return stored

    async def delete(self, namespace: str, name: str, options: DeleteOptions) -> Deleted:
        """As `ResourceStore.delete`; what the service held is free afterwards."""
        deleted = await super().delete(namespace, name, options)
        # What an unreadable one held is found out by `Repair`.
        if deleted.entry is not None and deleted.gone and not options.dry_run:
            await self.free(claims_of(deleted.entry.object()))
        return deleted

    async def _reserve(self, claims: Claims, obj: Object) -> None:
        """All of it or nothing. Raises Taken, StoreError."""
        if not claims:
            return
        await self.ports.take(claims.ports)
        metadata = obj["metadata"]
        done: list[str] = []
        try:
            for address in sorted(claims.ips):
                await self.hold_address(address, metadata.get("namespace", ""), metadata["name"])
                done.append(address)
        except (StoreError, status.StatusError, Taken) as error:
            await self._undo(Claims(frozenset(done), claims.ports), error)
            raise

    async def hold_address(self, address: str, namespace: str, name: str) -> None:
        """Creates the IPAddress. Raises Taken once the cache knows who has it."""
        options = WriteOptions(manager=OWN_MANAGER)
        try:
            await self.addresses.create("", address_object(address, namespace, name), options)
        except status.StatusError as error:
            if error.status.get("reason") != "AlreadyExists":
                raise
            await self._all.wait_for(await self._store.current_revision(), FRESHNESS_TIMEOUT_SECONDS)
            raise Taken from error

    async def _undo(self, claims: Claims, error: Exception) -> None:
        """Frees what a write that did not happen had reserved; one that may have happened keeps it."""
        if not isinstance(error, OutcomeUnknown):
            await self.free(claims)

    async def free(self, claims: Claims) -> None:
        """Gives back; what the store does not take back now is found by the next repair."""
        try:
            for address in sorted(claims.ips):
                await self.free_address(address)
            await self.ports.release(claims.ports)
        except (StoreError, status.StatusError) as error:
            log.warning("%s %s: not freed yet: %s", sorted(claims.ips), sorted(claims.ports), error)

    async def free_address(self, address: str) -> None:
        """Deletes the IPAddress, if there is one."""
        try:
            await self.addresses.delete("", address, DeleteOptions())
        except status.StatusError as error:
            if error.code != 404:
                raise
