"""Nothing is created where there is no namespace or where one is ending; some namespaces are there for ever.

Source: Kubernetes' ``apiserver/pkg/admission/plugin/namespace/lifecycle``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.plugin import CREATE, DELETE, EVERYTHING, Plugin, on
from apilayer.api import status

if TYPE_CHECKING:
    from apilayer.admission.plugin import Attributes

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
_REVIEWS = "localsubjectaccessreviews.authorization.k8s.io"


class NamespaceLifecycle(Plugin):
    """Looks at the namespace of what is created, and at namespaces that are deleted."""

    name = "NamespaceLifecycle"
    interests = (on(EVERYTHING, operations=(CREATE,)), on("namespaces", operations=(DELETE,)))

    def mutate(self, attributes: Attributes) -> None:
        """Raises StatusError 403 for an ending or immortal namespace, 404 for none."""
        if attributes.operation == DELETE:
            if attributes.name in IMMORTAL:
                raise attributes.forbidden("this namespace may not be deleted")
            return
        namespace = attributes.namespace
        if not namespace or attributes.resource.group_resource in ("namespaces", _REVIEWS):
            return
        entry = self.listers.entry("namespaces", "", namespace)
        if entry is None:
            raise status.not_found("namespaces", "", namespace)
        if entry.selectable.get("status", {}).get("phase") == "Terminating":
            resource = attributes.resource
            raise status.namespace_terminating(resource.plural, resource.group, attributes.name, namespace)
