"""Namespaces: deleting one first empties it. DELETE marks it, `finalize` lets go of it once it is empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.chain import UNCONCERNED
from apilayer.admission.plugin import DELETE
from apilayer.api import meta, status
from apilayer.registry.deletion import check_preconditions
from apilayer.registry.options import WriteOptions
from apilayer.registry.store import Deleted, ResourceStore
from apilayer.storage.interface import KeyChanged

if TYPE_CHECKING:
    from apilayer.registry.options import DeleteOptions
    from apilayer.registry.store import Object
    from apilayer.storage.codec import Entry

FINALIZER = "kubernetes"


class NamespaceStore(ResourceStore):
    """The generic store with a deletion in two steps."""

    async def delete(self, namespace: str, name: str, options: DeleteOptions) -> Deleted:
        """Marks the namespace Terminating; gone for good only when nothing holds it any more."""
        key = self.key("", name)
        review = self._review(DELETE, "", name, options)
        entry = await self._read(key)
        while True:
            if entry is None:
                raise self.not_found(name)
            obj = entry.object()
            check_preconditions(self.strategy, obj, options)
            if "deletionTimestamp" in obj["metadata"]:
                if (obj.get("spec") or {}).get("finalizers"):
                    return Deleted(entry, gone=False)
                return await super().delete(namespace, name, options)
            if review is not UNCONCERNED:
                await review.whole(None, entry.object())
            obj["metadata"]["deletionTimestamp"] = meta.timestamp(self._clock())
            obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
            try:
                marked = await self._mark(key, entry, obj, dry_run=options.dry_run)
                return Deleted(marked, gone=False)
            except KeyChanged as error:
                entry = self._entry(error.current)

    async def finalize(self, name: str) -> Entry:
        """Takes the namespace's own finalizer off; it goes with that unless others hold it.

        Raises StatusError 404 when it is gone, 409 when it is not being deleted.
        """

        def release(old: Object) -> Object:
            if "deletionTimestamp" not in old["metadata"]:
                raise status.conflict("namespaces", "", name, "the namespace is not being deleted")
            spec = old.get("spec") or {}
            finalizers = [item for item in spec.get("finalizers") or [] if item != FINALIZER]
            spec = {key: value for key, value in spec.items() if key != "finalizers"}
            return {**old, "spec": {**spec, "finalizers": finalizers} if finalizers else spec}

        return await self._change("", name, release, WriteOptions(), "finalize")
