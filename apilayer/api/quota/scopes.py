"""Which objects the scopes of a ResourceQuota select. Pure.

Source: Kubernetes documentation, "Resource Quotas", "Quota scopes".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from apilayer.api.qos import pod_qos

if TYPE_CHECKING:
    from collections.abc import Iterable

Object = dict[str, Any]


@attrs.frozen
class Requirement:
    """One scope of a quota, with the operator and values that some scopes take."""

    scope: str
    operator: str = "Exists"
    values: tuple[str, ...] = ()


def requirements(quota: Object) -> list[Requirement]:
    """Everything that an object must be to count against the quota."""
    spec = quota.get("spec") or {}
    found = [Requirement(scope) for scope in spec.get("scopes") or ()]
    selector = (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    return found + [
        Requirement(item.get("scopeName") or "", item.get("operator") or "", tuple(item.get("values") or ()))
        for item in selector
    ]


def pod_fits(requirement: Requirement, pod: Object) -> bool:
    """Whether the pod is in the scope; never in one that is not about pods."""
    spec = pod.get("spec") or {}
    match requirement.scope:
        case "Terminating":
            return _is_terminating(spec)
        case "NotTerminating":
            return not _is_terminating(spec)
        case "BestEffort":
            return _qos(pod) == "BestEffort"
        case "NotBestEffort":
            return _qos(pod) != "BestEffort"
        case "PriorityClass":
            name = spec.get("priorityClassName") or ""
            return _any_fits(requirement, [name] if name else [])
        case "CrossNamespacePodAffinity":
            return _reaches_other_namespaces(spec)
    return False


def claim_fits(requirement: Requirement, claim: Object) -> bool:
    """Whether the PersistentVolumeClaim is in the scope: one of the classes that it has, had or is to have."""
    if requirement.scope != "VolumeAttributesClass":
        return False
    state = claim.get("status") or {}
    names = (
        (claim.get("spec") or {}).get("volumeAttributesClassName"),
        state.get("currentVolumeAttributesClassName"),
        (state.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    return _any_fits(requirement, [name for name in names if name])


def _qos(pod: Object) -> str:
    return str((pod.get("status") or {}).get("qosClass") or pod_qos(pod))


def _is_terminating(spec: Object) -> bool:
    """Whether the pod is to end by itself."""
    deadline = spec.get("activeDeadlineSeconds")
    return deadline is not None and deadline >= 0


def _any_fits(requirement: Requirement, names: list[str]) -> bool:
    """As a label selector judges the names; having none is its own case."""
    match requirement.operator:
        case "Exists":
            return bool(names)
        case "DoesNotExist":
            return not names
        case "In":
            return any(name in requirement.values for name in names)
        case "NotIn":
            return not names or any(name not in requirement.values for name in names)
    return False


def _reaches_other_namespaces(spec: Object) -> bool:
    affinity = spec.get("affinity") or {}
    return any(
        bool(term.get("namespaces")) or term.get("namespaceSelector") is not None
        for key in ("podAffinity", "podAntiAffinity")
        for term in _terms(affinity.get(key) or {})
    )


def _terms(affinity: Object) -> Iterable[Object]:
    yield from affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    for weighted in affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
        yield weighted.get("podAffinityTerm") or {}
