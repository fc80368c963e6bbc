"""What in-process controllers see of the cluster: the registry behind the interfaces that they ask for."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio
import trio.lowlevel

from apilayer.api.status import StatusError
from apilayer.registry.bootstrap import bootstrap
from apilayer.registry.namespaces import NamespaceStore
from apilayer.registry.options import DeleteOptions, ListOptions
from apilayer.storage.interface import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from apilayer.registry.registry import Registry, ResourceApi
    from apilayer.storage.codec import Entry

RETRY_SECONDS = 1.0
# No node will end a pod of a namespace that goes, so nothing is gained by waiting for one.
_AT_ONCE = DeleteOptions(grace_period_seconds=0, propagation_policy="Background")

log = logging.getLogger("apilayer.server.controller_api")


class LocalNamespaces:
    """`apilayer.controllers.namespace.NamespaceApi` over the registry of this process."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def bootstrap(self) -> None:
        """Creates the system namespaces, however long the store takes to accept them."""
        while True:
            try:
                await bootstrap(self._registry)
                return
            except (StoreError, StatusError) as error:
                log.warning("the system namespaces cannot be created yet: %s", error)
                await trio.sleep(RETRY_SECONDS)

    async def terminating(self) -> AsyncGenerator[str, None]:
        """See `NamespaceApi.terminating`."""
        watches = self._registry.of("namespaces").watches
        while True:
            try:
                watch = await watches.open("", "", ListOptions(watch=True, resource_version="0"))
            except StatusError as error:
                log.warning("namespaces cannot be watched: %s", error)
                await trio.sleep(RETRY_SECONDS)
                continue
            try:
                for entry in watch.initial:
                    if _is_terminating(entry):
                        yield _name(entry)
                while (batch := await watch.next_batch()) is not None:
                    for event_type, event in batch:
                        if event_type != "DELETED" and _is_terminating(event.shown(event_type)):
                            yield _name(event.shown(event_type))
            finally:
                watch.close()
            await trio.lowlevel.checkpoint()

    async def delete_contents(self, namespace: str) -> int:
        """See `NamespaceApi.delete_contents`."""
        left = 0
        try:
            for api in self._registry.namespaced:
                await self._registry.delete_collection(api, namespace, ListOptions(), _AT_ONCE)
                left += await self._count(api, namespace)
        except StoreError as error:
            log.warning("namespace %s cannot be emptied yet: %s", namespace, error)
            return max(left, 1)
        return left

    async def _count(self, api: ResourceApi, namespace: str) -> int:
        return len((await api.lists.list(namespace, ListOptions())).entries)

    async def finalize(self, namespace: str) -> None:
        """See `NamespaceApi.finalize`."""
        store = self._registry.of("namespaces").store
        assert isinstance(store, NamespaceStore)
        await store.finalize(namespace)


def _is_terminating(entry: Entry) -> bool:
    return bool(entry.selectable.get("status", {}).get("phase") == "Terminating")


def _name(entry: Entry) -> str:
    return str(entry.selectable["metadata"]["name"])
