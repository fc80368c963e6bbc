"""Pods that ask for a device tolerate the taint by which its nodes keep others away.

Source: Kubernetes' ``plugin/pkg/admission/extendedresourcetoleration``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.plugin import CREATE, UPDATE, Plugin, on
from apilayer.admission.pods import containers, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apilayer.admission.plugin import Attributes, Object

EFFECT = "NoSchedule"


class ExtendedResourceToleration(Plugin):
    """Acts on pods."""

    name = "ExtendedResourceToleration"
    interests = (on("pods", operations=(CREATE, UPDATE)),)

    def mutate(self, attributes: Attributes) -> None:
        """Adds a toleration for each extended resource."""
        spec = spec_of(attributes.new)
        present = spec.get("tolerations") or []
        wanted = [{"key": name, "operator": "Exists", "effect": EFFECT} for name in sorted(_extended(spec))]
        missing = [item for item in wanted if not any(_same(item, other) for other in present)]
        if missing:
            spec["tolerations"] = [*present, *missing]


def _same(wanted: Object, present: Object) -> bool:
    return {key: value for key, value in present.items() if value} == wanted


def _extended(spec: Object) -> set[str]:
    found: set[str] = set()
    for container in containers(spec, "initContainers", "containers"):
        requests: Iterable[str] = (container.get("resources") or {}).get("requests") or ()
        found.update(name for name in requests if _is_extended(name))
    return found


def _is_extended(name: str) -> bool:
    """Whether the resource is none of Kubernetes' own: those have no domain, or one under kubernetes.io."""
    domain, slash, _ = name.partition("/")
    return bool(slash) and "kubernetes.io/" not in name and not domain.startswith("requests.")
