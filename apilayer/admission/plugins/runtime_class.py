"""What a pod's RuntimeClass costs and where it runs becomes part of the pod.

Source: Kubernetes' ``plugin/pkg/admission/runtimeclass``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.plugin import CREATE, Plugin, on
from apilayer.admission.pods import spec_of
from apilayer.admission.tolerations import merge
from apilayer.api.gotext import quote

if TYPE_CHECKING:
    from apilayer.admission.plugin import Attributes, Object

CLASSES = "runtimeclasses.node.k8s.io"


class RuntimeClass(Plugin):
    """Acts on new pods."""

    name = "RuntimeClass"
    interests = (on("pods", operations=(CREATE,)),)

    def mutate(self, attributes: Attributes) -> None:
        """Sets overhead, node selector and tolerations. Raises StatusError 403 for a class that is not there."""
        spec = spec_of(attributes.new)
        found = self._class_of(attributes, spec)
        if found is None:
            return
        overhead = (found.get("overhead") or {}).get("podFixed")
        if overhead is not None:
            if spec.get("overhead") not in (None, overhead):
                raise _mismatch(attributes)
            spec["overhead"] = overhead
        _place(attributes, spec, found.get("scheduling") or {})

    def validate(self, attributes: Attributes) -> None:
        """Raises StatusError 403 for an overhead that is not that of the class."""
        spec = attributes.new.get("spec") or {}
        found = self._class_of(attributes, spec) or {}
        if found.get("overhead") is not None:
            if spec.get("overhead") != found["overhead"].get("podFixed"):
                raise _mismatch(attributes)
        elif spec.get("overhead"):
            raise attributes.forbidden(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            )

    def _class_of(self, attributes: Attributes, spec: Object) -> Object | None:
        name = spec.get("runtimeClassName")
        if not name:
            return None
        found = self.listers.get(CLASSES, "", name)
        if found is None:
            raise attributes.forbidden(f"pod rejected: RuntimeClass {quote(name)} not found")
        return found


def _mismatch(attributes: Attributes) -> Exception:
    return attributes.forbidden("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")


def _place(attributes: Attributes, spec: Object, scheduling: Object) -> None:
    wanted = scheduling.get("nodeSelector") or {}
    present = spec.get("nodeSelector") or {}
    for key, value in sorted(wanted.items()):
        if present.get(key, value) != value:
            raise attributes.forbidden(
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {present[key]}"
            )
    if wanted:
        spec["nodeSelector"] = {**present, **wanted}
    if scheduling.get("tolerations"):
        spec["tolerations"] = merge(spec.get("tolerations") or [], scheduling["tolerations"])
