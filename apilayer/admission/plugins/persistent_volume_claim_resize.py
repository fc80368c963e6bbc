"""Claims grow only where their class lets them.

Source: Kubernetes' ``plugin/pkg/admission/storage/persistentvolume/resize``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.plugin import UPDATE, Plugin, on
from apilayer.api.quantity import QuantityError, parse

if TYPE_CHECKING:
    from fractions import Fraction

    from apilayer.admission.plugin import Attributes, Object

CLASSES = "storageclasses.storage.k8s.io"
OLD_CLASS = "volume.beta.kubernetes.io/storage-class"


class PersistentVolumeClaimResize(Plugin):
    """Acts on changes of claims."""

    name = "PersistentVolumeClaimResize"
    interests = (on("persistentvolumeclaims", operations=(UPDATE,)),)

    def validate(self, attributes: Attributes) -> None:
        """Raises StatusError 403 for a claim that may not grow."""
        old, new = attributes.old or {}, attributes.new
        before, after = _size(old), _size(new)
        if before is None or after is None or after <= before:
            return
        if (old.get("status") or {}).get("phase") != "Bound":
            raise attributes.forbidden("Only bound persistent volume claims can be expanded")
        found = self.listers.get(CLASSES, "", _class_name(new))
        if found is None or not found.get("allowVolumeExpansion"):
            raise attributes.forbidden(
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
                "support resize"
            )


def _class_name(claim: Object) -> str:
    annotations = claim["metadata"].get("annotations") or {}
    return annotations.get(OLD_CLASS) or (claim.get("spec") or {}).get("storageClassName") or ""


def _size(claim: Object) -> Fraction | None:
    requests = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    try:
        return parse(requests["storage"]).amount if "storage" in requests else None
    except QuantityError:
        return None  # validation says what is wrong with it
