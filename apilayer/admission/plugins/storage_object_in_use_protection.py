"""Volumes, claims and volume attributes classes are held by a finalizer while somebody uses them.

Source: Kubernetes' ``plugin/pkg/admission/storage/storageobjectinuseprotection``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.plugin import CREATE, Plugin, on

if TYPE_CHECKING:
    from apilayer.admission.plugin import Attributes

FINALIZERS = {
    "persistentvolumes": "kubernetes.io/pv-protection",
    "persistentvolumeclaims": "kubernetes.io/pvc-protection",
    "volumeattributesclasses.storage.k8s.io": "kubernetes.io/vac-protection",
}


class StorageObjectInUseProtection(Plugin):
    """Acts on new objects; a controller takes the finalizer off."""

    name = "StorageObjectInUseProtection"
    interests = (on(*FINALIZERS, operations=(CREATE,)),)

    def mutate(self, attributes: Attributes) -> None:
        """Adds the finalizer, once."""
        metadata = attributes.new["metadata"]
        present = metadata.get("finalizers") or []
        wanted = FINALIZERS[attributes.path]
        if wanted not in present:
            metadata["finalizers"] = [*present, wanted]
