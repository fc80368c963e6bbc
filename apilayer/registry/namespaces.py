"""Namespaces: deleting one first empties it. DELETE marks it, `finalize` lets go of it once it is empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.chain import UNCONCERNED
from apilayer.admission.plugin import DELETE
from apilayer.api import meta, status
from apilayer.registry.deletion import FOREGROUND, ORPHAN, collected, put_finalizers
from apilayer.registry.store import Deleted, ResourceStore
from apilayer.storage.interface import KeyChanged

if TYPE_CHECKING:
    from apilayer.registry.options import DeleteOptions
    from apilayer.registry.store import Object


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
            _check_preconditions(obj["metadata"], options)
            if "deletionTimestamp" in obj["metadata"]:
                if (obj.get("spec") or {}).get("finalizers"):
                    return Deleted(entry, gone=False)
                return await super().delete(namespace, name, options)
            if review is not UNCONCERNED:
                await review.whole(None, entry.object())
            obj["metadata"]["deletionTimestamp"] = meta.timestamp(self._clock())
            obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
            put_finalizers(obj["metadata"], _finalizers_for(obj["metadata"].get("finalizers") or [], options))
            try:
                marked = await self._mark(key, entry, obj, dry_run=options.dry_run)
                return Deleted(marked, gone=False)
            except KeyChanged as error:
                entry = self._entry(error.current)


def _check_preconditions(metadata: Object, options: DeleteOptions) -> None:
    """Raises StatusError 409 when the caller meant another namespace, or another version of it."""
    asked = {"UID": (options.uid, "uid"), "ResourceVersion": (options.resource_version, "resourceVersion")}
    for label, (wanted, key) in asked.items():
        if wanted is not None and wanted != metadata.get(key):
            known = f"{label} in object meta: {metadata.get(key, '')}"
            message = f"Precondition failed: {label} in precondition: {wanted}, {known}"
            raise status.conflict("namespaces", "", metadata["name"], message)


def _finalizers_for(current: list[str], options: DeleteOptions) -> list[str]:
    """The finalizers with those of the garbage collector as the options ask for.

    For namespaces alone, not to orphan dependents means to delete them first.
    """
    orphan, foreground = ORPHAN in current, FOREGROUND in current
    if options.orphan_dependents is not None:
        orphan, foreground = options.orphan_dependents, not options.orphan_dependents
    elif options.propagation_policy is not None:
        orphan = options.propagation_policy == "Orphan"
        foreground = options.propagation_policy == "Foreground"
    return collected(current, orphan=orphan, foreground=foreground)
