"""Nothing is written where there is no namespace, for those who turn `NamespaceLifecycle` off, which says more.

Source: Kubernetes' ``plugin/pkg/admission/namespace/exists``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.plugin import CREATE, DELETE, EVERYTHING, UPDATE, Plugin, on
from apilayer.api import status

if TYPE_CHECKING:
    from apilayer.admission.plugin import Attributes


class NamespaceExists(Plugin):
    """Looks at the namespace of every write."""

    name = "NamespaceExists"
    interests = (on(EVERYTHING, operations=(CREATE, UPDATE, DELETE)),)

    def validate(self, attributes: Attributes) -> None:
        """Raises StatusError 404."""
        namespace = attributes.namespace
        if not namespace or attributes.resource.group_resource == "namespaces":
            return
        if self.listers.entry("namespaces", "", namespace) is None:
            raise status.not_found("namespaces", "", namespace)
