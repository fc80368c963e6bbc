"""The registry: every served resource's store, lists and watches, and what spans resources (namespaces)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import attrs
import trio

from apilayer.admission.chain import Chain
from apilayer.admission.choice import NO_LESS, Choice, build
from apilayer.admission.listers import Listers
from apilayer.api import meta, status
from apilayer.api.resources import RESOURCES
from apilayer.pipeline.authentication import AUTHENTICATED, User
from apilayer.pipeline.authorization import MASTERS
from apilayer.registry.kinds import strategy_for
from apilayer.registry.listing import Lister, Listing
from apilayer.registry.namespaces import NamespaceStore
from apilayer.registry.options import WriteOptions
from apilayer.registry.services.pool import RehearsalPool, ServiceNetwork, ServicePool
from apilayer.registry.services.ports import PortBitmap
from apilayer.registry.services.store import OWN_MANAGER, ServiceStore
from apilayer.registry.services.strategy import ServiceStrategy
from apilayer.registry.store import ResourceStore
from apilayer.registry.watching import DEFAULT_MIN_TIMEOUT_SECONDS, WatchOpener
from apilayer.storage.watch_cache import WatchCache

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import datetime

    from apilayer.admission.plugin import Plugin
    from apilayer.api.resources import Resource
    from apilayer.api.services.allocate import Pool
    from apilayer.registry.options import DeleteOptions, ListOptions
    from apilayer.registry.store import Object
    from apilayer.storage.codec import Entry
    from apilayer.storage.interface import Store

OWN_USER = User("system:apiserver", groups=(MASTERS, AUTHENTICATED))
"""In whose name the server does what nobody asked for."""


async def masters_only(user: User, *_: str) -> bool:
    """Whether the user is one who may do everything."""
    return MASTERS in user.groups


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
        admission: Choice | None = None,
        min_watch_timeout_seconds: float = DEFAULT_MIN_TIMEOUT_SECONDS,
        clock: Callable[[], datetime] = meta.utc_now,
    ) -> None:
        resources = tuple(row for row in resources if row.stored_as is None and not row.virtual)
        self.cache = WatchCache(store, resources)
        self.store = store
        self.network = network or ServiceNetwork()
        self.ports = PortBitmap(store, self.network.port_range)
        self._apis: dict[str, ResourceApi] = {}
        self._turns: WeakValueDictionary[tuple[str, str, str], trio.Lock] = WeakValueDictionary()
        # Services last: their store writes IPAddresses.
        for resource in sorted(resources, key=lambda row: row.group_resource == "services"):
            self._apis[resource.group_resource] = ResourceApi(
                resource,
                self._store_of(resource, clock),
                Lister(resource, store, self.cache),
                WatchOpener(resource, store, self.cache, min_watch_timeout_seconds),
            )
        self.listers = Listers(self.cache, {resource.group_resource: resource for resource in resources})
        self.may: Callable[[User, str, str, str, str, str], Awaitable[bool]] = masters_only
        """Whether a user may do it: (user, verb, group, resource, namespace, name). Set by who knows the authorizer."""
        plugins = build(admission or Choice(control=NO_LESS), self.listers, lambda *asked: self.may(*asked), self)
        self.admission = Chain(plugins, self.refresh, trio.sleep)
        self.has_roles = False
        """Whether the roles in the cluster decide: then the default ones are kept in it."""
        self.roles_are_there = False
        """Whether the default roles have been brought to where they are to be."""

    def _store_of(self, resource: Resource, clock: Callable[[], datetime]) -> ResourceStore:
        if resource.group_resource == "namespaces":
            return NamespaceStore(strategy_for(resource), self.store, self.cache, clock)
        if resource.group_resource != "services":
            return ResourceStore(strategy_for(resource), self.store, self.cache, clock)
        addresses, cidrs = self.of("ipaddresses.networking.k8s.io"), self.of("servicecidrs.networking.k8s.io")
        pool = ServicePool(self.network, self.cache.of(addresses.resource), self.cache.of(cidrs.resource), self.ports)

        def services(pool: Pool, rehearsal: ServiceStore | None = None) -> ServiceStore:
            strategy, store, ports = ServiceStrategy(resource, pool), addresses.store, self.ports
            return ServiceStore(
                strategy, self.store, self.cache, clock, addresses=store, ports=ports, rehearsal=rehearsal
            )

        return services(pool, services(RehearsalPool(pool)))

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

    def use_roles(self, guard: Plugin) -> None:
        """From now on roles decide, and `guard` is asked before every other plugin about changes of them."""
        self.has_roles = True
        self.admission = Chain((guard, *self.admission.plugins), self.refresh, trio.sleep)

    async def refresh(self) -> None:
        """Brings the cache up to the present. Raises StoreError."""
        await self.of("namespaces").lists.refresh()

    async def change(
        self, group_resource: str, namespace: str, name: str, how: Callable[[Object], Object], subresource: str
    ) -> None:
        """Stores what `how` makes of an object, in the server's own name, without admission. Raises StatusError.

        Changes of one object are made one after the other, instead of all against each other.
        """
        key = group_resource, namespace, name
        turn = self._turns.get(key)
        if turn is None:
            turn = self._turns[key] = trio.Lock()
        async with turn:
            store = self.of(group_resource).store
            await store.patch(namespace, name, how, WriteOptions(manager=OWN_MANAGER), subresource)

    async def create(self, api: ResourceApi, namespace: str, obj: Object, options: WriteOptions) -> Entry:
        """Creates an object as admission allows. Raises StatusError."""
        return await api.store.create(namespace, obj, self._admitted(options))

    async def update(
        self,
        api: ResourceApi,
        namespace: str,
        name: str,
        obj: Object,
        options: WriteOptions,
        subresource: str = "",
    ) -> tuple[Entry, bool]:
        """Updates an object as admission allows, or creates it where its resource allows that. Raises StatusError."""
        return await api.store.update(namespace, name, obj, self._admitted(options), subresource)

    def _admitted(self, options: WriteOptions) -> WriteOptions:
        """`options` with admission, in the server's own name when they do not say in whose."""
        if options.admission is not None:
            return options
        return attrs.evolve(options, admission=self.admission.begin(OWN_USER))

    async def delete_collection(
        self,
        api: ResourceApi,
        namespace: str,
        options: ListOptions,
        how: DeleteOptions,
        row: Resource | None = None,
    ) -> Listing:
        """Deletes every object that the list options select and admission lets go; answers what was there.

        Raises StatusError.
        """
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
