"""The registry: every served resource's store, lists and watches, and what spans resources (namespaces)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from apilayer.api import meta, status
from apilayer.api.resources import RESOURCES
from apilayer.registry.kinds import strategy_for
from apilayer.registry.listing import Lister, Listing
from apilayer.registry.namespaces import NamespaceStore
from apilayer.registry.services.pool import ServiceNetwork, ServicePool
from apilayer.registry.services.ports import PortBitmap
from apilayer.registry.services.store import ServiceStore
from apilayer.registry.services.strategy import ServiceStrategy
from apilayer.registry.store import ResourceStore
from apilayer.registry.watching import DEFAULT_MIN_TIMEOUT_SECONDS, WatchOpener
from apilayer.storage.watch_cache import WatchCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from apilayer.api.resources import Resource
    from apilayer.registry.options import DeleteOptions, ListOptions, WriteOptions
    from apilayer.registry.store import Object
    from apilayer.storage.codec import Entry
    from apilayer.storage.interface import Store


@attrs.frozen(eq=False)
class ResourceApi:
    """Everything that can be done with one resource."""

    resource: Resource
    store: ResourceStore
    lists: Lister
    watches: WatchOpener


class Registry:
    """All resources over one store and one watch cache."""

    def __init__(
        self,
        store: Store,
        resources: Iterable[Resource] = RESOURCES,
        *,
        network: ServiceNetwork | None = None,
        min_watch_timeout_seconds: float = DEFAULT_MIN_TIMEOUT_SECONDS,
        clock: Callable[[], datetime] = meta.utc_now,
    ) -> None:
        resources = tuple(row for row in resources if row.stored_as is None and not row.virtual)
        self.cache = WatchCache(store, resources)
        self.store = store
        self.network = network or ServiceNetwork()
        self.ports = PortBitmap(store, self.network.port_range)
        self._apis: dict[str, ResourceApi] = {}
        # Services last: their store writes IPAddresses.
        for resource in sorted(resources, key=lambda row: row.group_resource == "services"):
            self._apis[resource.group_resource] = ResourceApi(
                resource,
                self._store_of(resource, clock),
                Lister(resource, store, self.cache),
                WatchOpener(resource, store, self.cache, min_watch_timeout_seconds),
            )

    def _store_of(self, resource: Resource, clock: Callable[[], datetime]) -> ResourceStore:
        if resource.group_resource == "namespaces":
            return NamespaceStore(strategy_for(resource), self.store, self.cache, clock)
        if resource.group_resource != "services":
            return ResourceStore(strategy_for(resource), self.store, self.cache, clock)
        addresses, cidrs = self.of("ipaddresses.networking.k8s.io"), self.of("servicecidrs.networking.k8s.io")
        pool = ServicePool(self.network, self.cache.of(addresses.resource), self.cache.of(cidrs.resource), self.ports)
        strategy = ServiceStrategy(resource, pool)
        return ServiceStore(strategy, self.store, self.cache, clock, addresses=addresses.store, ports=self.ports)

    def of(self, group_resource: str) -> ResourceApi:
        """The API of a resource by its qualified name, e.g. ``deployments.apps``; it speaks the stored form."""
        return self._apis[group_resource]

    @property
    def all(self) -> list[ResourceApi]:
        """Every resource that is kept in the store."""
        return list(self._apis.values())

    @property
    def namespaced(self) -> list[ResourceApi]:
        """Every resource that lives in namespaces."""
        return [api for api in self._apis.values() if api.resource.namespaced]

    async def create(self, api: ResourceApi, namespace: str, obj: Object, options: WriteOptions) -> Entry:
        """Creates an object whose namespace must exist and not be ending. Raises StatusError."""
        if namespace:
            await self._require_namespace(api.resource, namespace, obj["metadata"].get("name") or "")
        return await api.store.create(namespace, obj, options)

    async def update(
        self,
        api: ResourceApi,
        namespace: str,
        name: str,
        obj: Object,
        options: WriteOptions,
        subresource: str = "",
    ) -> tuple[Entry, bool]:
        """Updates an object, or creates it where its resource allows that. Raises StatusError."""
        may_create = api.resource.allow_create_on_update and namespace and not subresource
        if may_create and self.cache.of(api.resource).get(api.store.key(namespace, name)) is None:
            await self._require_namespace(api.resource, namespace, name)
        return await api.store.update(namespace, name, obj, options, subresource)

    async def apply(
        self,
        api: ResourceApi,
        namespace: str,
        name: str,
        config: Object,
        check: Callable[[Object], None],
        options: WriteOptions,
        subresource: str = "",
    ) -> tuple[Entry, bool]:
        """Applies a configuration, see `ResourceStore.apply`. Raises StatusError."""

        async def admit_new() -> None:
            if namespace:
                await self._require_namespace(api.resource, namespace, name)

        return await api.store.apply(namespace, name, config, check, options, admit_new, subresource)

    async def _require_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        """Looks in the cache first, and in the store when that does not know the namespace (yet)."""
        namespaces = self.of("namespaces").store
        entry = self.cache.of(namespaces.resource).get(namespaces.key("", namespace))
        if entry is None:
            entry = await namespaces.get("", namespace)
        if entry.selectable.get("status", {}).get("phase") == "Terminating":
            raise status.namespace_terminating(resource.plural, resource.group, name, namespace)

    async def delete_collection(
        self,
        api: ResourceApi,
        namespace: str,
        options: ListOptions,
        how: DeleteOptions,
        row: Resource | None = None,
    ) -> Listing:
        """Deletes every object that the list options select; answers what was there. Raises StatusError."""
        listing = await api.lists.list(namespace, options, row)
        for entry in listing.entries:
            path = entry.key[len(api.lists.prefix("")) :].decode()
            owner, _, name = path.rpartition("/")
            try:
                await api.store.delete(owner, name, how)
            except status.StatusError as error:
                if error.code != 404:
                    raise
        return listing
