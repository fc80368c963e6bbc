"""Pods of a namespace get the tolerations that its annotations, or the configuration, give, and only allowed ones.

Source: Kubernetes' ``plugin/pkg/admission/podtolerationrestriction``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from apilayer.admission.plugin import CREATE, UPDATE, ConfigurationError, Plugin, on
from apilayer.admission.pods import spec_of
from apilayer.admission.tolerations import allowed_by, merge
from apilayer.api import status
from apilayer.api.qos import pod_qos

if TYPE_CHECKING:
    from apilayer.admission.plugin import Attributes, Object, Setup

GIVEN = "scheduler.alpha.kubernetes.io/defaultTolerations"
ALLOWED = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"
_VERSION = "podtolerationrestriction.admission.k8s.io/v1alpha1"
_MEMORY_PRESSURE = {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}


class PodTolerationRestriction(Plugin):
    """Acts on pods."""

    name = "PodTolerationRestriction"
    interests = (on("pods", operations=(CREATE, UPDATE)),)

    def __init__(self, setup: Setup) -> None:
        """Raises ConfigurationError."""
        super().__init__(setup)
        document = setup.configuration or {}
        if document and (document.get("kind"), document.get("apiVersion")) != ("Configuration", _VERSION):
            raise ConfigurationError(f"not a Configuration of apiVersion {_VERSION}")
        self._default = _configured(document.get("default"), "default")
        self._whitelist = _configured(document.get("whitelist"), "whitelist")

    def mutate(self, attributes: Attributes) -> None:
        """Adds what the namespace gives. Raises StatusError 500, as kube-apiserver does, for what is not allowed."""
        if attributes.operation == CREATE:
            spec = spec_of(attributes.new)
            given = self._of_namespace(attributes, GIVEN)
            extra = list(self._default if given is None else given)
            if pod_qos(attributes.new) != "BestEffort":
                extra.append(_MEMORY_PRESSURE)
            if extra:
                spec["tolerations"] = merge(spec.get("tolerations") or [], extra)
        self.validate(attributes)

    def validate(self, attributes: Attributes) -> None:
        """Raises StatusError 500 for a toleration that is not on the list."""
        tolerations = (attributes.new.get("spec") or {}).get("tolerations") or []
        allowed, scope = self._of_namespace(attributes, ALLOWED), "namespace"
        if allowed is None:
            allowed, scope = self._whitelist, "cluster"
        if not allowed_by(tolerations, allowed):
            merged = f"pod tolerations (possibly merged with {scope} default tolerations)"
            raise status.raw(500, f"{merged} conflict with its {scope} whitelist")

    def _of_namespace(self, attributes: Attributes, annotation: str) -> list[Object] | None:
        """What the annotation lists, None without it."""
        namespace = self.listers.get("namespaces", "", attributes.namespace)
        if namespace is None:
            raise status.not_found("namespaces", "", attributes.namespace)
        text = (namespace["metadata"].get("annotations") or {}).get(annotation)
        if text is None:
            return None
        try:
            return _tolerations(orjson.loads(text) if text else [])
        except ValueError as error:
            raise status.raw(500, f"annotation {annotation} of namespace {attributes.namespace}: {error}") from error


def _configured(value: Any, key: str) -> list[Object]:
    try:
        return _tolerations(value or [])
    except ValueError as error:
        raise ConfigurationError(f"{key}: {error}") from error


def _tolerations(value: Any) -> list[Object]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError("must be a list of tolerations")
    return value
