"""A pod's quality of service class, from the resources of its containers. Pure.

Source: Kubernetes documentation, "Pod Quality of Service Classes".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api.quantity import QuantityError, parse

if TYPE_CHECKING:
    from fractions import Fraction

_COUNTED = ("cpu", "memory")


def pod_qos(pod: dict[str, Any]) -> str:
    """Guaranteed, Burstable or BestEffort."""
    spec = pod.get("spec") or {}
    containers = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    whole = spec.get("resources")
    all_resources = [whole] if whole else [container.get("resources") for container in containers]
    guaranteed = bool(all_resources)
    asked = False
    for resources in all_resources:
        requests = _amounts(resources, "requests")
        limits = _amounts(resources, "limits")
        asked = asked or bool(requests or limits)
        if set(limits) != set(_COUNTED) or any(requests.get(name, limits[name]) != limits[name] for name in limits):
            guaranteed = False
    if not asked:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _amounts(resources: Any, field: str) -> dict[str, Fraction]:
    """The counted amounts above zero; unreadable ones are left to validation."""
    found: dict[str, Fraction] = {}
    amounts = (resources or {}).get(field) if isinstance(resources, dict) else None
    for name in _COUNTED:
        text = (amounts or {}).get(name)
        if text is None:
            continue
        try:
            amount = parse(str(text)).amount
        except QuantityError:
            continue
        if amount > 0:
            found[name] = amount
    return found
