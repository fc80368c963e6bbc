"""Pods of a namespace go to the nodes that its annotation, or the configuration, selects.

Source: Kubernetes' ``plugin/pkg/admission/podnodeselector``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.plugin import CREATE, ConfigurationError, Plugin, on
from apilayer.admission.pods import spec_of
from apilayer.api import status

if TYPE_CHECKING:
    from apilayer.admission.plugin import Attributes, Setup

ANNOTATION = "scheduler.alpha.kubernetes.io/node-selector"
KEY = "podNodeSelectorPluginConfig"
DEFAULT = "clusterDefaultNodeSelector"


class PodNodeSelector(Plugin):
    """Acts on new pods."""

    name = "PodNodeSelector"
    interests = (on("pods", operations=(CREATE,)),)

    def __init__(self, setup: Setup) -> None:
        """Raises ConfigurationError."""
        super().__init__(setup)
        self._configured: dict[str, dict[str, str]] = {}
        given = (setup.configuration or {}).get(KEY) or {}
        if not isinstance(given, dict):
            raise ConfigurationError(f"{KEY}: must be an object")
        for name, text in given.items():
            try:
                self._configured[str(name)] = parse_selector(str(text or ""))
            except ValueError as error:
                raise ConfigurationError(f"{KEY}.{name}: {error}") from error

    def mutate(self, attributes: Attributes) -> None:
        """Adds the namespace's selector to the pod's. Raises StatusError 403 when they contradict each other."""
        wanted = self._selector_of(attributes)
        spec = spec_of(attributes.new)
        _check_agreement(attributes, wanted, spec.get("nodeSelector") or {})
        if wanted:
            spec["nodeSelector"] = {**wanted, **(spec.get("nodeSelector") or {})}
        self.validate(attributes)

    def validate(self, attributes: Attributes) -> None:
        """Raises StatusError 403 for a selector that the namespace does not allow."""
        selector = (attributes.new.get("spec") or {}).get("nodeSelector") or {}
        _check_agreement(attributes, self._selector_of(attributes), selector)
        allowed = self._configured.get(attributes.namespace)
        if allowed and not selector.items() <= allowed.items():
            raise attributes.forbidden("pod node label selector labels conflict with its namespace whitelist")

    def _selector_of(self, attributes: Attributes) -> dict[str, str]:
        namespace = self.listers.get("namespaces", "", attributes.namespace)
        if namespace is None:
            raise status.not_found("namespaces", "", attributes.namespace)
        text = (namespace["metadata"].get("annotations") or {}).get(ANNOTATION)
        if text is None:
            return self._configured.get(DEFAULT, {})
        try:
            return parse_selector(text)
        except ValueError as error:
            raise status.raw(500, str(error)) from error


def _check_agreement(attributes: Attributes, wanted: dict[str, str], selector: dict[str, str]) -> None:
    if any(selector.get(key, value) != value for key, value in wanted.items()):
        raise attributes.forbidden("pod node label selector conflicts with its namespace node label selector")


def parse_selector(text: str) -> dict[str, str]:
    """``a=b,c=d`` as labels. Raises ValueError."""
    found = {}
    for part in text.split(",") if text else ():
        key, equals, value = part.partition("=")
        if not equals or "=" in value:
            raise ValueError(f"invalid selector: {part}")
        found[key.strip()] = value.strip()
    return found
