"""Keeps volumes and claims that are in use from going: a finalizer that is taken off once nobody uses them.

Source: Kubernetes documentation, "Storage Object in Use Protection".
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from apilayer.api.status import StatusError
from apilayer.client.interface import Ref
from apilayer.controllers.controller import Controller, finalizers, is_ending, without_finalizer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apilayer.client.interface import Change, Object


def claims_of_pod(pod: Object) -> list[str]:
    """The names of the claims that a pod uses; none once it has ended."""
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return []
    found = []
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            found.append(volume["persistentVolumeClaim"].get("claimName") or "")
        elif volume.get("ephemeral"):
            found.append(f"{pod['metadata']['name']}-{volume.get('name', '')}")
    return found


def protected(obj: Object, finalizer: str, *, used: bool) -> Object | None:
    """The object with the finalizer as it should be; None when it is so already."""
    if is_ending(obj):
        if finalizer in finalizers(obj) and not used:
            return without_finalizer(obj, finalizer)
        return None
    if finalizer in finalizers(obj):
        return None
    obj["metadata"]["finalizers"] = [*finalizers(obj), finalizer]
    return obj


class _Protection(Controller):
    """What the controllers of volumes and of claims share."""

    resource: ClassVar[str]
    finalizer: ClassVar[str]

    @abstractmethod
    def used(self, ref: Ref, obj: Object) -> bool:
        """Whether somebody uses the object."""

    def register(self) -> None:
        """Follows the objects."""
        self.cluster.follow(self.resource, self._changed)

    def _changed(self, change: Change) -> None:
        if change.new is not None:
            self.queue.add(change.ref)

    async def sync(self, ref: Ref) -> None:
        """One object."""
        entry = self.cluster.cached_one(ref)
        if entry is None or protected(entry.object(), self.finalizer, used=False) is None:
            return
        # What uses it may be newer than what has been cached.
        await self.cluster.refresh()

        def change(old: Object) -> Object:
            return protected(old, self.finalizer, used=self.used(ref, old)) or old

        try:
            await self.cluster.change(ref, change)
        except StatusError as error:
            if error.code != 404:
                raise


class ClaimProtection(_Protection):
    """A claim is used by pods that have not ended."""

    name: ClassVar[str] = "persistentvolumeclaim-protection-controller"
    resource: ClassVar[str] = "persistentvolumeclaims"
    finalizer: ClassVar[str] = "kubernetes.io/pvc-protection"

    def register(self) -> None:
        """Follows pods too: one that ends may let a claim go."""
        super().register()
        self.cluster.follow("pods", self._pod_changed)

    def _pod_changed(self, change: Change) -> None:
        if change.old is None or not self.cluster.cached(self.resource, change.ref.namespace):
            return  # a claim that comes is looked at then
        before = claims_of_pod(change.old.object())
        now = claims_of_pod(change.new.object()) if change.new is not None else []
        self._release(change.ref.namespace, set(before) - set(now))

    def _release(self, namespace: str, names: Iterable[str]) -> None:
        for name in names:
            self.queue.add(Ref(self.resource, namespace, name))

    def used(self, ref: Ref, obj: Object) -> bool:
        """Looks at every pod of the namespace."""
        del obj
        pods = self.cluster.cached("pods", ref.namespace)
        return any(ref.name in claims_of_pod(pod.object()) for pod in pods)


class VolumeProtection(_Protection):
    """A volume is used while a claim is bound to it."""

    name: ClassVar[str] = "persistentvolume-protection-controller"
    resource: ClassVar[str] = "persistentvolumes"
    finalizer: ClassVar[str] = "kubernetes.io/pv-protection"

    def used(self, ref: Ref, obj: Object) -> bool:
        """The volume's own phase says it."""
        del ref
        return (obj.get("status") or {}).get("phase") == "Bound"
