"""Ingresses without a class get the default one.

Source: Kubernetes' ``plugin/pkg/admission/network/defaultingressclass``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.newest import newest_marked
from apilayer.admission.plugin import CREATE, Plugin, on
from apilayer.admission.pods import spec_of

if TYPE_CHECKING:
    from apilayer.admission.plugin import Attributes

CLASSES = "ingressclasses.networking.k8s.io"
MARK = "ingressclass.kubernetes.io/is-default-class"
OLD_CLASS = "kubernetes.io/ingress.class"
"""The annotation that named an ingress's class before there was a field."""


class DefaultIngressClass(Plugin):
    """Acts on new ingresses."""

    name = "DefaultIngressClass"
    interests = (on("ingresses.networking.k8s.io", operations=(CREATE,)),)

    def mutate(self, attributes: Attributes) -> None:
        """Names the default class, if there is one."""
        spec = spec_of(attributes.new)
        annotations = attributes.new["metadata"].get("annotations") or {}
        if spec.get("ingressClassName") is not None or OLD_CLASS in annotations:
            return
        name = newest_marked(self.listers.list(CLASSES), (MARK,))
        if name:
            spec["ingressClassName"] = name
