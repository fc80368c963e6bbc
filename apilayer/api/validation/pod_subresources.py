"""What may change in a pod through its subresources: ephemeral containers come, resources are resized."""

from __future__ import annotations

from apilayer.api import field, quantity
from apilayer.api.qos import pod_qos
from apilayer.api.validation.common import Errors, Object, indexed, items, part, text
from apilayer.api.validation.difference import difference
from apilayer.api.validation.pod_annotations import MIRROR

_NOWHERE = "[]"  # the path of errors that concern the pod as a whole
_RESIZABLE = ("cpu", "memory")


def _is_static(pod: Object) -> bool:
    return MIRROR in part(part(pod, "metadata"), "annotations")


def ephemeral_containers_update(new: Object, old: Object) -> Errors:
    """Ephemeral containers are added; none is changed or taken away."""
    if _is_static(old):  # which counts more than whatever else is wrong
        return [field.forbidden(_NOWHERE, "static pods do not support ephemeral containers")]
    by_name = {text(item, "name"): item for item in items(part(new, "spec"), "ephemeralContainers")}
    wrong: Errors = []
    for before in items(part(old, "spec"), "ephemeralContainers"):
        name = text(before, "name")
        after = by_name.get(name)
        head = f'existing ephemeral containers "{name}" may not be'
        if after is None:
            wrong.append(field.forbidden("spec.ephemeralContainers", f"{head} removed\n"))
        elif after != before:
            shown = difference(after, before, "core/v1.EphemeralContainer")
            wrong.append(field.forbidden("spec.ephemeralContainers", f"{head} changed\n{shown}"))
    return wrong


def resize(new: Object, old: Object) -> Errors:
    """Amounts of CPU and memory change, of containers that run for long and of the pod as a whole."""
    if _is_static(old):
        return [field.forbidden(_NOWHERE, "static pods cannot be resized")]
    if part(part(old, "spec"), "os").get("name") == "windows":
        return [field.forbidden(_NOWHERE, "windows pods cannot be resized")]
    wrong: Errors = []
    if pod_qos(new) != (text(part(old, "status"), "qosClass") or pod_qos(old)):
        shown = text(part(new, "status"), "qosClass")
        wrong.append(field.invalid("spec", shown, "Pod QOS Class may not change as a result of resizing"))
    if not _node_can_resize(old):
        wrong.append(field.forbidden("spec", "Pod running on node without support for resize"))
    after, before = part(new, "spec"), part(old, "spec")
    wrong += _not_removed(part(after, "resources"), part(before, "resources"), "spec.resources")
    for key in ("initContainers", "containers"):
        for (where, now), was in zip(indexed(after, key, "spec"), items(before, key), strict=True):
            if key == "containers" or _is_sidecar(was):
                wrong += _not_removed(part(now, "resources"), part(was, "resources"), f"{where}.resources")
    return wrong + _only_cpu_and_memory(after, before)


def _node_can_resize(pod: Object) -> bool:
    """Nodes that can resize report the resources of what runs; before anything runs they are trusted to."""
    for status in items(part(pod, "status"), "containerStatuses"):
        if part(status, "state").get("running") is not None:
            return status.get("resources") is not None
    return True


def _is_sidecar(container: Object) -> bool:
    return container.get("restartPolicy") == "Always"


def _not_removed(now: Object, was: Object, path: str) -> Errors:
    return [
        field.forbidden(f"{path}.{which}", f"resource {which} cannot be removed")
        for which in ("requests", "limits")
        if part(was, which).keys() - part(now, which).keys()
    ]


def _only_cpu_and_memory(after: Object, before: Object) -> Errors:
    wrong: Errors = []
    for now, was in zip(items(after, "containers"), items(before, "containers"), strict=True):
        if _fixed_part(now) != _fixed_part(was):
            wrong.append(field.forbidden("spec", "only cpu and memory resources are mutable"))
    for now, was in zip(items(after, "initContainers"), items(before, "initContainers"), strict=True):
        if not _is_sidecar(now):
            if now != was:
                wrong.append(field.forbidden("spec", "resources for non-sidecar init containers are immutable"))
        elif _fixed_part(now) != _fixed_part(was):
            wrong.append(field.forbidden("spec", "only cpu and memory resources for sidecar containers are mutable"))
    return wrong


def _fixed_part(container: Object) -> Object:
    """A container without its amounts of CPU and memory."""
    needs = part(container, "resources")
    kept = {key: value for key, value in needs.items() if key not in ("limits", "requests")}
    for which in ("limits", "requests"):
        kept[which] = {
            name: quantity.parse(amount).amount for name, amount in part(needs, which).items() if name not in _RESIZABLE
        }
    return {**container, "resources": kept}
