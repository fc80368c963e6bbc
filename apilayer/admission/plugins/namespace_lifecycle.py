"""Nothing is created where there is no namespace or where one is ending; some namespaces are there for ever.

Source: Kubernetes' ``apiserver/pkg/admission/plugin/namespace/lifecycle``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from apilayer.admission.plugin import CREATE, DELETE, EVERYTHING, Plugin, on
from apilayer.api import status

if TYPE_CHECKING:
    from collections.abc import Callable

    from apilayer.admission.plugin import Attributes, Setup

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
GOING_SECONDS = 30.0
MAX_GOING = 1000
_REVIEWS = "localsubjectaccessreviews.authorization.k8s.io"


class NamespaceLifecycle(Plugin):
    """Looks at the namespace of what is created, and at namespaces that are deleted."""

    name = "NamespaceLifecycle"
    interests = (on(EVERYTHING, operations=(CREATE,)), on("namespaces", operations=(DELETE,)))

    def __init__(self, setup: Setup, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` in seconds."""
        super().__init__(setup)
        self._clock = clock
        self._going: dict[str, float] = {}
        """Namespaces that were deleted through this server a moment ago, and when the cache knows that for sure."""

    def mutate(self, attributes: Attributes) -> None:
        """Raises StatusError 403 for an ending or immortal namespace, 404 for none."""
        if attributes.operation == DELETE:
            if attributes.name in IMMORTAL:
                raise attributes.forbidden("this namespace may not be deleted")
            self._remember(attributes.name)
            return
        namespace = attributes.namespace
        if not namespace or attributes.resource.group_resource in ("namespaces", _REVIEWS):
            return
        entry = self.listers.entry("namespaces", "", namespace)
        if entry is None:
            raise status.not_found("namespaces", "", namespace)
        active = entry.selectable.get("status", {}).get("phase") != "Terminating"
        if not active or (not attributes.up_to_date and self._may_be_going(namespace)):
            resource = attributes.resource
            raise status.namespace_terminating(resource.plural, resource.group, attributes.name, namespace)

    def _remember(self, namespace: str) -> None:
        self._going.pop(namespace, None)
        self._going[namespace] = self._clock() + GOING_SECONDS
        if len(self._going) > MAX_GOING:
            del self._going[next(iter(self._going))]

    def _may_be_going(self, namespace: str) -> bool:
        """Whether the cache may still have to learn that the namespace is ending."""
        until = self._going.get(namespace)
        if until is not None and until < self._clock():
            del self._going[namespace]
            return False
        return until is not None
