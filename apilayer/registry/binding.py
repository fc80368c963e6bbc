"""Assigning a pod to a node: what a Binding does to the pod. Pure.

Source: Kubernetes' ``pkg/registry/core/pod/storage`` (assignPod).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api import field, status
from apilayer.api.meta import timestamp
from apilayer.api.resources import Resource

if TYPE_CHECKING:
    from datetime import datetime

Object = dict[str, Any]

BINDING = Resource("", "v1", "bindings", "Binding", namespaced=True, virtual=True)


def check_binding(binding: Object) -> None:
    """Raises StatusError 500 (as kube-apiserver does) for a binding to nothing, or to something that is no node."""
    target = binding.get("target") or {}
    errors = []
    if target.get("kind") not in (None, "", "Node"):
        errors.append(field.not_supported("target.kind", target["kind"], ("Node", "<empty>")))
    if not target.get("name"):
        errors.append(field.required("target.name"))
    if errors:
        texts = [f"{error.path}: {error.message}" for error in errors]
        raise status.raw(500, texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")


def bound(pod: Object, binding: Object, now: datetime) -> Object:
    """`pod` on the node of `binding`. Raises StatusError 409 when it cannot go there any more."""
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    name = metadata["name"]
    given = binding["metadata"]
    if given.get("uid") and given["uid"] != metadata.get("uid"):
        raise _conflict(
            name,
            f"Precondition failed: UID in precondition: {given['uid']}, UID in object meta: {metadata.get('uid', '')}",
        )
    if metadata.get("deletionTimestamp"):
        raise _conflict(name, f"pod {name} is being deleted, cannot be assigned to a host")
    if spec.get("nodeName"):
        raise _conflict(name, f"pod {name} is already assigned to node {field.render(spec['nodeName'])}")
    if spec.get("schedulingGates"):
        raise _conflict(name, f"pod {name} has non-empty .spec.schedulingGates")
    for key in ("labels", "annotations"):
        if given.get(key):
            metadata[key] = {**(metadata.get(key) or {}), **given[key]}
    spec["nodeName"] = binding["target"]["name"]
    pod["spec"] = spec
    pod_status = pod.setdefault("status", {})
    pod_status["conditions"] = _scheduled(pod_status.get("conditions") or [], now)
    return pod


def _scheduled(conditions: list[Object], now: datetime) -> list[Object]:
    condition: Object = {
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": timestamp(now),
    }
    others = [known for known in conditions if known.get("type") != "PodScheduled"]
    return [*others, condition]


def _conflict(name: str, message: str) -> status.StatusError:
    return status.conflict("pods/binding", "", name, message)
