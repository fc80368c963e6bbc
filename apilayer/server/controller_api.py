"""The cluster for controllers that run in the server's own process: the registry, and the watch cache shared.

A change is taken from the same events that watches send; objects are those of the cache, not copies of them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio
import trio.lowlevel

from apilayer.api.resources import RESOURCES
from apilayer.api.status import StatusError
from apilayer.client.interface import Change, Ref, Unavailable
from apilayer.registry.options import DeleteOptions, ListOptions, WriteOptions
from apilayer.storage.interface import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import TypeVar

    from apilayer.api.resources import Resource
    from apilayer.client.interface import Object
    from apilayer.registry.registry import Registry, ResourceApi
    from apilayer.registry.watching import Watch
    from apilayer.storage.codec import Entry

    Answer = TypeVar("Answer")

RETRY_SECONDS = 1.0

log = logging.getLogger("apilayer.server.controller_api")


class Informer:
    """Tells handlers of one resource's objects and of their changes."""

    def __init__(self, api: ResourceApi) -> None:
        self._api = api
        self._handlers: list[Callable[[Change], None]] = []
        self._known: dict[bytes, Entry] = {}
        self._prefix = len(api.lists.prefix(""))
        self._watch: Watch | None = None
        self.synced = trio.Event()

    def add(self, handler: Callable[[Change], None]) -> None:
        """A further handler; before `run`."""
        self._handlers.append(handler)

    @property
    def settled(self) -> bool:
        """Whether handlers have been told everything that the cache knew a moment ago."""
        return self._watch is not None and not self._watch.pending

    async def run(self) -> None:
        """Lists, then follows, until cancelled; after a gap it does so again."""
        while True:
            try:
                await self._follow()
            except (StatusError, StoreError) as error:
                log.warning("%s cannot be followed: %s", self._api.resource.plural, error)
                await trio.sleep(RETRY_SECONDS)
            await trio.lowlevel.checkpoint()

    async def _follow(self) -> None:
        options = ListOptions(watch=True, resource_version="0")
        watch = self._watch = await self._api.watches.open("", "", options)
        try:
            self._replace(watch.initial)
            self.synced.set()
            while (batch := await watch.next_batch()) is not None:
                for _, event in batch:
                    self._tell(event.key, event.entry)
        finally:
            self._watch = None
            watch.close()

    def _replace(self, entries: Sequence[Entry]) -> None:
        gone = self._known.keys() - {entry.key for entry in entries}
        for key in sorted(gone):
            self._tell(key, None)
        for entry in entries:
            if self._known.get(entry.key) is not entry:
                self._tell(entry.key, entry)

    def _tell(self, key: bytes, entry: Entry | None) -> None:
        old = self._known.pop(key, None)
        if entry is not None:
            self._known[key] = entry
        elif old is None:
            return
        namespace, _, name = key[self._prefix :].decode().rpartition("/")
        change = Change(Ref(self._api.resource.group_resource, namespace, name), entry, old)
        for handler in self._handlers:
            handler(change)


class LocalCluster:
    """`apilayer.client.interface.Cluster` over the registry of this process."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._informers: dict[str, Informer] = {}
        self._kinds = {(row.api_version, row.kind): row.storage for row in RESOURCES if not row.virtual}

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs the informers until cancelled; started once each has told what there is."""
        async with trio.open_nursery() as nursery:
            for informer in self._informers.values():
                nursery.start_soon(informer.run)
            for informer in self._informers.values():
                await informer.synced.wait()
            task_status.started()

    @property
    def resources(self) -> Sequence[Resource]:
        """See `Cluster.resources`."""
        return [api.resource for api in self._registry.all]

    def resource_of(self, api_version: str, kind: str) -> Resource | None:
        """See `Cluster.resource_of`."""
        return self._kinds.get((api_version, kind))

    def follow(self, resource: str, handler: Callable[[Change], None]) -> None:
        """See `Cluster.follow`."""
        informer = self._informers.get(resource)
        if informer is None:
            informer = self._informers[resource] = Informer(self._registry.of(resource))
        informer.add(handler)

    def cached(self, resource: str, namespace: str = "") -> Sequence[Entry]:
        """See `Cluster.cached`."""
        api = self._registry.of(resource)
        prefix = api.lists.prefix(namespace) if namespace else b""
        return self._registry.cache.of(api.resource).entries(prefix)

    def cached_one(self, ref: Ref) -> Entry | None:
        """See `Cluster.cached_one`."""
        api = self._registry.of(ref.resource)
        return self._registry.cache.of(api.resource).get(api.store.key(ref.namespace, ref.name))

    async def settle(self) -> None:
        """See `Cluster.settle`."""
        while not all(informer.settled for informer in self._informers.values()):
            await trio.lowlevel.checkpoint()

    async def refresh(self) -> None:
        """See `Cluster.refresh`."""
        await _asked(self._registry.of("namespaces").lists.refresh())

    async def get(self, ref: Ref) -> Object:
        """See `Cluster.get`."""
        return (await _asked(self._registry.of(ref.resource).store.get(ref.namespace, ref.name))).object()

    async def create(self, resource: str, namespace: str, obj: Object, manager: str) -> Object:
        """See `Cluster.create`."""
        api = self._registry.of(resource)
        stored = self._registry.create(api, namespace, obj, WriteOptions(manager=manager))
        return (await _asked(stored)).object()

    async def change(
        self, ref: Ref, how: Callable[[Object], Object], manager: str = "", subresource: str = ""
    ) -> Object:
        """See `Cluster.change`."""
        store = self._registry.of(ref.resource).store
        stored = store.patch(ref.namespace, ref.name, how, WriteOptions(manager=manager), subresource)
        return (await _asked(stored)).object()

    async def delete(self, ref: Ref, uid: str = "", policy: str = "", *, at_once: bool = False) -> None:
        """See `Cluster.delete`."""
        options = DeleteOptions(
            uid=uid or None,
            propagation_policy=policy or None,
            grace_period_seconds=0 if at_once else None,
        )
        await _asked(self._registry.of(ref.resource).store.delete(ref.namespace, ref.name, options))


async def _asked(call: Awaitable[Answer]) -> Answer:
    try:
        return await call
    except StoreError as error:
        raise Unavailable(str(error)) from error
