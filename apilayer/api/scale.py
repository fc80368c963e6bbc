"""The Scale of autoscaling/v1 that workloads show as a subresource: made from an object, and put back into it. Pure.

Source: Kubernetes' ``pkg/registry/apps/*/storage`` (scaleFromDeployment and its kin).
"""

from __future__ import annotations

from typing import Any

from apilayer.api import status
from apilayer.api.resources import Resource
from apilayer.api.selectors import selector_text
from apilayer.api.validation.common import non_negative
from apilayer.api.validation.metadata import validate_meta

Object = dict[str, Any]

SCALE = Resource("autoscaling", "v1", "scales", "Scale", namespaced=True, virtual=True)
_SHOWN = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(obj: Object) -> Object:
    """The scale of a workload: how many replicas it wants and has, and how to find them."""
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    state: Object = {"replicas": (obj.get("status") or {}).get("replicas") or 0}
    selector = spec.get("selector") or {}
    if "matchLabels" not in selector and "matchExpressions" not in selector:
        selector = {"matchLabels": selector}  # replication controllers have a plain map
    text = selector_text(selector)
    if text:
        state["selector"] = text
    return {
        "kind": SCALE.kind,
        "apiVersion": SCALE.api_version,
        "metadata": {key: metadata[key] for key in _SHOWN if metadata.get(key)},
        "spec": {"replicas": spec["replicas"]} if spec.get("replicas") else {},
        "status": state,
    }


def rescaled(obj: Object, scale: Object, group_resource: tuple[str, str]) -> Object:
    """`obj` with the replicas and the resourceVersion of `scale`. Raises StatusError 409 or 422."""
    name = obj["metadata"]["name"]
    metadata = {"namespace": obj["metadata"].get("namespace", ""), **scale["metadata"]}
    errors = validate_meta(metadata, namespaced=True, name_rule=lambda _: [])
    errors += non_negative(scale.get("spec") or {}, "spec", "replicas")
    if errors:
        raise status.invalid(SCALE.kind, SCALE.group, name, errors)
    uid, own = metadata.get("uid"), obj["metadata"].get("uid")
    if uid and uid != own:
        group, plural = group_resource
        message = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {own}"
        raise status.conflict(f"{plural}/scale", group, name, message)
    version = metadata.get("resourceVersion") or ""
    return {
        **obj,
        "metadata": {**obj["metadata"], "resourceVersion": version},
        "spec": {**(obj.get("spec") or {}), "replicas": (scale.get("spec") or {}).get("replicas") or 0},
    }
