"""The namespace controller against a cluster in a dict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from apilayer.api import status
from apilayer.controllers.namespace import NamespaceController

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Cluster:
    """Namespaces with how many objects each still holds; one goes per attempt."""

    def __init__(self, **objects: int) -> None:
        self.objects = dict(objects)
        self.failures = 0
        self.empty = trio.Event()
        self._send, self._receive = trio.open_memory_channel[str](10)

    async def delete(self, name: str) -> None:
        await self._send.send(name)

    async def terminating(self) -> AsyncGenerator[str, None]:
        async for name in self._receive:
            yield name

    async def delete_contents(self, namespace: str) -> int:
        await trio.lowlevel.checkpoint()
        if self.failures:
            self.failures -= 1
            raise status.internal_error("not now")
        self.objects[namespace] = max(0, self.objects[namespace] - 1)
        return self.objects[namespace]

    async def finalize(self, namespace: str) -> None:
        await trio.lowlevel.checkpoint()
        if self.objects.pop(namespace, None) is None:
            raise status.not_found("namespaces", "", namespace)
        if not self.objects:
            self.empty.set()


async def test_namespaces_are_emptied_then_let_go(autojump_clock, nursery: trio.Nursery) -> None:
    cluster = Cluster(a=3, b=1)
    nursery.start_soon(NamespaceController(cluster).run)
    for name in ("a", "b", "a"):
        await cluster.delete(name)
    with trio.fail_after(60):
        await cluster.empty.wait()
    nursery.cancel_scope.cancel()


async def test_failures_are_tried_again(autojump_clock, nursery: trio.Nursery) -> None:
    cluster = Cluster(a=1)
    cluster.failures = 3
    nursery.start_soon(NamespaceController(cluster).run)
    await cluster.delete("a")
    with trio.fail_after(60):
        await cluster.empty.wait()
    nursery.cancel_scope.cancel()
