"""What may change in a pod, and in its status.

Nearly all of a pod's spec is fixed once it exists. A forbidden change is answered with the differences
between the specs as Kubernetes prints them.
"""

from __future__ import annotations

from typing import Any

from apilayer.api import field, names
from apilayer.api.validation import goform
from apilayer.api.validation.common import Errors, Object, immutable, indexed, items, named, part, text
from apilayer.api.validation.difference import difference
from apilayer.api.validation.pod import INT32_MAX

_UPDATABLE = (
    "`spec.containers[*].image`",
    "`spec.initContainers[*].image`",
    "`spec.activeDeadlineSeconds`",
    "`spec.tolerations` (only additions to existing tolerations)",
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
)


def pod_update(new: Object, old: Object) -> Errors:
    """Rules for a change of a pod's spec."""
    after, before = part(new, "spec"), part(old, "spec")
    if after == before:
        return []
    wrong: Errors = []
    for key in ("containers", "initContainers"):
        if len(items(after, key)) != len(items(before, key)):
            detail = "pod updates may not add or remove containers"
            return [*wrong, field.forbidden(f"spec.{key}", detail)]
    deadline, stop = _deadline(after.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"))
    wrong += deadline
    if stop:
        return wrong
    wrong += _tolerations(after, before)
    wrong += _gates(after, before)
    fixed = _without_updatable(after, before)
    if not _same(fixed, before):
        detail = f"pod updates may not change fields other than {','.join(_UPDATABLE)}"
        wrong.append(field.forbidden("spec", f"{detail}\n{difference(fixed, before, 'core/v1.PodSpec')}"))
    return wrong


def _deadline(after: int | None, before: int | None) -> tuple[Errors, bool]:
    path = "spec.activeDeadlineSeconds"
    if after is None:
        if before is None:
            return [], False
        detail = "must not update from a positive integer to nil value"
        return [field.invalid(path, None, detail)], False
    wrong = names.in_range(after, 0, INT32_MAX)
    if wrong:
        return [field.invalid(path, after, message) for message in wrong], True
    if before is not None and before < after:
        return [field.invalid(path, after, "must be less than or equal to previous value")], True
    return [], False


def _tolerations(after: Object, before: Object) -> Errors:
    def identity(toleration: Object) -> Object:
        return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}

    kept = [identity(toleration) for toleration in items(after, "tolerations")]
    if all(identity(toleration) in kept for toleration in items(before, "tolerations")):
        return []
    detail = "existing toleration can not be modified except its tolerationSeconds"
    return [field.forbidden("spec.tolerations", detail)]


def _gates(after: Object, before: Object) -> Errors:
    known = items(before, "schedulingGates")
    return [
        field.forbidden(
            f"{where}.name", f"only deletion is allowed, but found new scheduling gate '{text(gate, 'name')}'"
        )
        for where, gate in indexed(after, "schedulingGates", "spec")
        if gate not in known
    ]


def _without_updatable(after: Object, before: Object) -> Object:
    """The new spec with every field that may change set back to its old value."""
    fixed = dict(after)
    for key in ("containers", "initContainers"):
        if after.get(key):
            fixed[key] = [
                {**container, "image": text(previous, "image")}
                for container, previous in zip(items(after, key), items(before, key), strict=True)
            ]
    for key in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        fixed.pop(key, None)
        if key in before:
            fixed[key] = before[key]
    grace = "terminationGracePeriodSeconds"
    if before.get(grace, 0) < 0 and after.get(grace) == 1:
        fixed[grace] = before[grace]
    if items(before, "schedulingGates") and _only_adds(part(after, "nodeSelector"), part(before, "nodeSelector")):
        fixed.pop("nodeSelector", None)
        if "nodeSelector" in before:
            fixed["nodeSelector"] = before["nodeSelector"]
    return fixed


def _only_adds(after: Object, before: Object) -> bool:
    return all(after.get(key) == value for key, value in before.items())


def _same(one: Any, other: Any) -> bool:
    return bool(one == other)


def pod_status(new: Object, old: Object) -> Errors:
    """Rules for a change of a pod's status."""
    status, before = part(new, "status"), part(old, "status")
    wrong: Errors = []
    node = text(status, "nominatedNodeName")
    if node:
        wrong += named("status.nominatedNodeName", node, names.dns_subdomain)
    if before.get("qosClass"):
        wrong += immutable("status.qosClass", text(status, "qosClass"), before["qosClass"])
    for where, condition in indexed(status, "conditions", "status"):
        wrong += named(f"{where}.type", text(condition, "type"), names.qualified_name)
    wrong += _addresses(status, "podIPs", "core/v1.PodIP")
    return wrong + _addresses(status, "hostIPs", "core/v1.HostIP")


def _addresses(status: Object, key: str, message: str) -> Errors:
    wrong: Errors = []
    addresses = items(status, key)
    for where, address in indexed(status, key, "status"):
        wrong += named(where, text(address, "ip"), names.ip_address)
    versions = [parsed.version for address in addresses if (parsed := names.parse_ip(text(address, "ip")))]
    if len(versions) != len(set(versions)):
        shown = [goform.of(address, message) for address in addresses]
        detail = "may specify no more than one IP for each IP family"
        wrong.append(field.invalid(f"status.{key}", shown, detail))
    return wrong
