"""Controllers over the registry of a real store: the cluster that they have in a server."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import trio

from apilayer.api.status import StatusError
from apilayer.registry.bootstrap import bootstrap
from apilayer.registry.options import DeleteOptions, WriteOptions
from apilayer.registry.registry import Registry
from apilayer.server.controller_api import LocalCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from apilayer.client.interface import Ref
    from apilayer.controllers.controller import Controller
    from apilayer.storage.kvraft_backend import KvraftStore

Object = dict[str, Any]


class World:
    """A cluster with controllers in it, and what tests do to it."""

    def __init__(self, registry: Registry, nursery: trio.Nursery) -> None:
        self.registry = registry
        self.nursery = nursery

    async def start(self, *makers: Callable[[LocalCluster], Controller]) -> list[Controller]:
        cluster = LocalCluster(self.registry)
        controllers = [make(cluster) for make in makers]
        await self.nursery.start(cluster.run)
        for controller in controllers:
            self.nursery.start_soon(controller.run)
        return controllers

    async def create(self, resource: str, obj: Object, namespace: str = "default") -> Object:
        api = self.registry.of(resource)
        where = namespace if api.resource.namespaced else ""
        return (await self.registry.create(api, where, copy.deepcopy(obj), WriteOptions())).object()

    async def change(self, ref: Ref, how: Callable[[Object], Object], subresource: str = "") -> Object:
        store = self.registry.of(ref.resource).store
        return (await store.patch(ref.namespace, ref.name, how, WriteOptions(), subresource)).object()

    async def delete(self, ref: Ref, policy: str | None = None) -> None:
        options = DeleteOptions(propagation_policy=policy, grace_period_seconds=0)
        await self.registry.of(ref.resource).store.delete(ref.namespace, ref.name, options)

    async def get(self, ref: Ref) -> Object | None:
        try:
            return (await self.registry.of(ref.resource).store.get(ref.namespace, ref.name)).object()
        except StatusError as error:
            assert error.code == 404, error
            return None

    async def names(self, resource: str, namespace: str = "") -> set[str]:
        api = self.registry.of(resource)
        await api.lists.refresh()
        prefix = api.lists.prefix(namespace)
        return {entry.object()["metadata"]["name"] for entry in self.registry.cache.of(api.resource).entries(prefix)}

    async def until(self, ref: Ref, holds: Callable[[Object | None], object]) -> Object | None:
        """The object once `holds` is true of it (None: it is gone)."""
        with trio.fail_after(15):
            while True:
                obj = await self.get(ref)
                if holds(obj):
                    return obj

    async def eventually(self, ask: Callable[[], Awaitable[Any]], holds: Callable[[Any], object]) -> None:
        """Returns once `holds` is true of what `ask` answers."""
        found = None
        with trio.move_on_after(15):
            while not holds(found := await ask()):
                await trio.lowlevel.checkpoint()
            return
        pytest.fail(f"it is still {found}")

    async def gone(self, ref: Ref) -> None:
        await self.until(ref, lambda obj: obj is None)

    async def idle(self, *controllers: Controller) -> None:
        """Returns once the controllers have dealt with everything that there is now."""
        with trio.fail_after(15):
            while True:
                for controller in controllers:
                    await controller.cluster.refresh()
                    await controller.cluster.settle()
                if all(controller.queue.idle for controller in controllers):
                    return
                await trio.lowlevel.checkpoint()


@pytest.fixture
async def world(store: KvraftStore, nursery: trio.Nursery) -> AsyncIterator[World]:
    registry = Registry(store)
    nursery.start_soon(registry.cache.run)
    await registry.cache.loaded.wait()
    await bootstrap(registry)
    yield World(registry, nursery)
    nursery.cancel_scope.cancel()
