"""What may change in a pod.

Nearly all of a pod's spec is fixed once it exists. A forbidden change is answered with the differences
between the specs as Kubernetes prints them.
"""

from __future__ import annotations

from typing import Any

from apilayer.api import field, names
from apilayer.api.validation import goform
from apilayer.api.validation.common import Errors, Object, indexed, items, part, text
from apilayer.api.validation.difference import difference
from apilayer.api.validation.pod import INT32_MAX
from apilayer.api.validation.pod_annotations import annotations_update

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_TERM = "core/v1.NodeSelectorTerm"
_UPDATABLE = (
    "`spec.containers[*].image`",
    "`spec.initContainers[*].image`",
    "`spec.activeDeadlineSeconds`",
    "`spec.tolerations` (only additions to existing tolerations)",
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
)


def pod_update(new: Object, old: Object) -> Errors:
    """Rules for a change of a pod's annotations and its spec."""
    wrong = annotations_update(new, old)
    after, before = part(new, "spec"), part(old, "spec")
    if after == before:
        return wrong
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
    if items(before, "schedulingGates"):
        wrong += _only_narrower(after, before)
    fixed = _without_updatable(after, before)
    if fixed != before:
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
    if items(before, "schedulingGates"):
        _restore(fixed, before, "nodeSelector")
        affinity, had = dict(part(after, "affinity")), part(before, "affinity")
        _restore(affinity, had, "nodeAffinity")
        if affinity or before.get("affinity") is not None:
            fixed["affinity"] = affinity
        else:
            fixed.pop("affinity", None)
    return fixed


def _restore(target: Object, source: Object, key: str) -> None:
    if key in source:
        target[key] = source[key]
    else:
        target.pop(key, None)


def _only_narrower(after: Object, before: Object) -> Errors:
    """As long as a pod is held back, the nodes that it may run on may become fewer."""
    wrong: Errors = []
    selector = part(after, "nodeSelector")
    if any(selector.get(key) != value for key, value in part(before, "nodeSelector").items()):
        detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        wrong.append(field.invalid("spec.nodeSelector", selector, detail))
    new_terms, old_terms = (
        items(part(part(part(spec, "affinity"), "nodeAffinity"), _REQUIRED), "nodeSelectorTerms")
        for spec in (after, before)
    )
    where = f"spec.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms"
    if old_terms and len(new_terms) != len(old_terms):
        detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        shown: Any = [goform.of(term, _TERM) for term in new_terms] or None
        return [*wrong, field.invalid(where, shown, detail)]
    return wrong + [
        field.invalid(
            f"{where}[{index}]", goform.of(term, _TERM), "only additions are allowed (no mutations or deletions)"
        )
        for index, (term, was) in enumerate(zip(new_terms, old_terms, strict=False))
        if not _only_additions(term, was)
    ]


def _only_additions(term: Object, was: Object) -> bool:
    keys = ("matchExpressions", "matchFields")
    if not any(items(was, key) for key in keys):
        return not any(items(term, key) for key in keys)
    return all(items(term, key)[: len(items(was, key))] == items(was, key) for key in keys)
