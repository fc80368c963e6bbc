"""Ends namespaces: deletes what is in a Terminating namespace, then lets go of it.

Source: Kubernetes documentation, "Namespaces", deletion. Several servers may run it at once over one store.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, ClassVar

from apilayer.api.status import StatusError
from apilayer.client.interface import Ref, Unavailable
from apilayer.controllers.controller import Controller, is_ending

if TYPE_CHECKING:
    from apilayer.client.interface import Change, Object

FINALIZER = "kubernetes"

log = logging.getLogger("apilayer.controllers.namespace")


def held_by_us(namespace: Object) -> bool:
    """Whether the namespace waits for this controller."""
    return is_ending(namespace) and FINALIZER in ((namespace.get("spec") or {}).get("finalizers") or ())


def released(namespace: Object) -> Object:
    """The namespace without this controller's finalizer."""
    spec = dict(namespace.get("spec") or {})
    kept = [item for item in spec.pop("finalizers", None) or () if item != FINALIZER]
    return {**namespace, "spec": {**spec, "finalizers": kept} if kept else spec}


class NamespaceController(Controller):
    """One namespace at a time per worker."""

    name: ClassVar[str] = "namespace-controller"

    def register(self) -> None:
        """Follows the namespaces."""
        self.cluster.follow("namespaces", self._changed)

    def _changed(self, change: Change) -> None:
        if change.new is not None and held_by_us(change.new.object()):
            self.queue.add(change.ref)

    async def sync(self, ref: Ref) -> None:
        """Deletes what is there, and lets go once nothing is."""
        try:
            if not held_by_us(await self.cluster.get(ref)):
                return
        except StatusError as error:
            if error.code == 404:
                return
            raise
        await self.cluster.refresh()
        for other in self._contents(ref.name):
            await self._delete(other)
        await self.cluster.refresh()
        left = self._contents(ref.name)
        if left:
            raise Unavailable(f"{len(left)} objects are still there, one of them is {left[0]}")
        try:
            await self.cluster.change(ref, released, subresource="finalize")
        except StatusError as error:
            if error.code != 404:
                raise

    def _contents(self, namespace: str) -> list[Ref]:
        found = []
        for resource in self.cluster.resources:
            if resource.namespaced:
                for entry in self.cluster.cached(resource.group_resource, namespace):
                    name = entry.object()["metadata"]["name"]
                    found.append(Ref(resource.group_resource, namespace, name))
        return found

    async def _delete(self, ref: Ref) -> None:
        """No node will end a pod of a namespace that goes, so nothing is gained by waiting for one."""
        try:
            await self.cluster.delete(ref, policy="Background", at_once=True)
        except StatusError as error:
            if error.code != 404:
                raise
