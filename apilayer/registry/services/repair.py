"""Compares what services hold with what is recorded, at the start and every few minutes, and mends the record."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from apilayer.api.services.audit import Suspects, audit
from apilayer.api.services.spec import Claims
from apilayer.api.status import StatusError
from apilayer.registry.services.ports import Taken
from apilayer.registry.services.store import MANAGED_BY_LABEL, MANAGER, ServiceStore
from apilayer.storage.interface import StoreError

if TYPE_CHECKING:
    from apilayer.api.services.audit import Owner
    from apilayer.registry.registry import Registry

INTERVAL_SECONDS = 180.0

log = logging.getLogger("apilayer.registry.services")


class Repair:
    """Mends what crashes and older configurations left."""

    def __init__(self, registry: Registry) -> None:
        api = registry.of("services")
        assert isinstance(api.store, ServiceStore)
        self._services = api
        self._store = api.store
        self._cache = registry.cache
        self._addresses = registry.of("ipaddresses.networking.k8s.io")
        self._suspects = Suspects()

    async def run(self) -> None:
        """Repairs every few minutes until cancelled."""
        while True:
            try:
                await self.once()
            except (StoreError, StatusError) as error:
                log.warning("what services hold cannot be checked now: %s", error)
            await trio.sleep(INTERVAL_SECONDS)

    async def once(self) -> None:
        """One audit and what follows from it. Raises StoreError, StatusError."""
        ports = self._store.ports
        # The record first: what a service reserves after that is in neither or in both.
        await ports.load()
        await self._addresses.lists.refresh()
        services = [entry.object() for entry in self._cache.of(self._services.resource).entries()]
        found = audit(services, self._recorded(), ports.all_taken)
        await ports.hold(found.missing_ports)
        for address, (namespace, name) in found.missing_ips.items():
            log.warning("%s of service %s/%s was not recorded", address, namespace, name)
            try:
                await self._store.hold_address(address, namespace, name)
            except Taken:
                continue
        leaked = self._suspects.convicted([*found.leaked_ips, *found.leaked_ports])
        addresses = frozenset(value for value in leaked if isinstance(value, str))
        freed = frozenset(value for value in leaked if isinstance(value, int))
        if leaked:
            log.warning("no service holds %s %s: freed", sorted(addresses), sorted(freed))
        await self._store.free(Claims(addresses, freed))

    def _recorded(self) -> dict[str, Owner]:
        """The addresses that servers manage; others belong to whoever made them."""
        found = {}
        for entry in self._cache.of(self._addresses.resource).entries():
            obj = entry.object()
            if (obj["metadata"].get("labels") or {}).get(MANAGED_BY_LABEL) == MANAGER:
                parent = (obj.get("spec") or {}).get("parentRef") or {}
                found[obj["metadata"]["name"]] = (parent.get("namespace") or "", parent.get("name") or "")
        return found
