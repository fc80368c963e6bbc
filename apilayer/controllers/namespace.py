"""Ends namespaces: deletes what is in a Terminating namespace, then lets go of it.

Source: Kubernetes documentation, "Namespaces", deletion. Several servers may run it at once over one store.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, ClassVar

import attrs

from apilayer.api import meta
from apilayer.api.status import StatusError
from apilayer.client.interface import Ref, Unavailable
from apilayer.controllers.conditions import condition, with_conditions
from apilayer.controllers.controller import MANAGER, Controller, finalizers, is_ending

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from apilayer.api.resources import Resource
    from apilayer.client.interface import Change, Object

FINALIZER = "kubernetes"
_DISCOVERY = "NamespaceDeletionDiscoveryFailure"
_PARSING = "NamespaceDeletionGroupVersionParsingFailure"
_CONTENT = "NamespaceDeletionContentFailure"

log = logging.getLogger("apilayer.controllers.namespace")


def held_by_us(namespace: Object) -> bool:
    """Whether the namespace waits for this controller."""
    return is_ending(namespace) and FINALIZER in ((namespace.get("spec") or {}).get("finalizers") or ())


def released(namespace: Object) -> Object:
    """The namespace without this controller's finalizer."""
    spec = dict(namespace.get("spec") or {})
    kept = [item for item in spec.pop("finalizers", None) or () if item != FINALIZER]
    return {**namespace, "spec": {**spec, "finalizers": kept} if kept else spec}


@attrs.frozen
class Content:
    """An object in a namespace that goes."""

    resource: Resource
    ref: Ref
    finalizers: tuple[str, ...]


def deletion_conditions(failures: Iterable[str], left: Sequence[Content]) -> list[Object]:
    """What a namespace says of its deletion: what could not be deleted and why, and what is still there."""
    failed, remaining, held = sorted(failures), _remaining(left), _held(left)
    content = "All content successfully deleted, may be waiting on finalization"
    if failed:
        content = f"Failed to delete all resource types, {len(failed)} remaining: {', '.join(failed)}"
    return [
        condition(_DISCOVERY, False, "ResourcesDiscovered", "All resources successfully discovered"),
        condition(_PARSING, False, "ParsedGroupVersions", "All legacy kube types successfully parsed"),
        condition(_CONTENT, bool(failed), "ContentDeletionFailed" if failed else "ContentDeleted", content),
        condition(
            "NamespaceContentRemaining",
            bool(remaining),
            "SomeResourcesRemain" if remaining else "ContentRemoved",
            f"Some resources are remaining: {remaining}" if remaining else "All content successfully removed",
        ),
        condition(
            "NamespaceFinalizersRemaining",
            bool(held),
            "SomeFinalizersRemain" if held else "ContentHasNoFinalizers",
            f"Some content in the namespace has finalizers remaining: {held}"
            if held
            else "All content-preserving finalizers finished",
        ),
    ]


def _remaining(left: Sequence[Content]) -> str:
    counts = Counter(f"{item.resource.plural}.{item.resource.group}" for item in left)
    return ", ".join(sorted(f"{name} has {count} resource instances" for name, count in counts.items()))


def _held(left: Sequence[Content]) -> str:
    counts = Counter(name for item in left for name in item.finalizers)
    return ", ".join(sorted(f"{name} in {count} resource instances" for name, count in counts.items()))


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
        failures = {str(failure) for item in self._contents(ref.name) if (failure := await self._delete(item.ref))}
        await self.cluster.refresh()
        left = self._contents(ref.name)
        await self._say(ref, deletion_conditions(failures, left))
        if left:
            raise Unavailable(f"{len(left)} objects are still there, one of them is {left[0].ref}")
        try:
            await self.cluster.change(ref, released, subresource="finalize")
        except StatusError as error:
            if error.code != 404:
                raise

    async def _say(self, ref: Ref, conditions: list[Object]) -> None:
        try:
            await self.cluster.change(
                ref, lambda old: with_conditions(old, conditions, meta.utc_now()), MANAGER, "status"
            )
        except StatusError as error:
            if error.code != 404:
                raise

    def _contents(self, namespace: str) -> list[Content]:
        found = []
        for resource in self.cluster.resources:
            if resource.namespaced:
                for entry in self.cluster.cached(resource.group_resource, namespace):
                    obj = entry.object()
                    ref = Ref(resource.group_resource, namespace, obj["metadata"]["name"])
                    found.append(Content(resource, ref, tuple(finalizers(obj))))
        return found

    async def _delete(self, ref: Ref) -> StatusError | None:
        """Why it could not be. No node will end a pod of a namespace that goes, so nothing is gained by waiting."""
        try:
            await self.cluster.delete(ref, policy="Background", at_once=True)
        except StatusError as error:
            if error.code != 404:
                return error
        return None
