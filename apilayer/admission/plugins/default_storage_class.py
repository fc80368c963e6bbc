"""Claims without a class get the default one.

Source: Kubernetes' ``plugin/pkg/admission/storage/storageclass/setdefault``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.newest import newest_marked
from apilayer.admission.plugin import CREATE, Plugin, on
from apilayer.admission.pods import spec_of

if TYPE_CHECKING:
    from apilayer.admission.plugin import Attributes

CLASSES = "storageclasses.storage.k8s.io"
MARKS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
OLD_CLASS = "volume.beta.kubernetes.io/storage-class"
"""The annotation that named a claim's class before there was a field."""


class DefaultStorageClass(Plugin):
    """Acts on new claims."""

    name = "DefaultStorageClass"
    interests = (on("persistentvolumeclaims", operations=(CREATE,)),)

    def mutate(self, attributes: Attributes) -> None:
        """Names the default class, if there is one. A claim of class "" wants none and says so."""
        spec = spec_of(attributes.new)
        annotations = attributes.new["metadata"].get("annotations") or {}
        if spec.get("storageClassName") is not None or OLD_CLASS in annotations:
            return
        name = newest_marked(self.listers.list(CLASSES), MARKS)
        if name:
            spec["storageClassName"] = name
