"""Rules for Deployments."""

from __future__ import annotations

from apilayer.api import field
from apilayer.api.validation import goform
from apilayer.api.validation.common import (
    Errors,
    Object,
    count_of,
    immutable,
    int_or_percent,
    no_more_than_all,
    non_negative,
    part,
)
from apilayer.api.validation.pod import pod_template
from apilayer.api.validation.selectors import label_selector, matches

_STRATEGIES = ("Recreate", "RollingUpdate")
_COUNTS = (
    "observedGeneration",
    "replicas",
    "updatedReplicas",
    "readyReplicas",
    "availableReplicas",
    "unavailableReplicas",
    "terminatingReplicas",
    "collisionCount",
)


def deployment(obj: Object) -> Errors:
    """Rules for a Deployment's spec."""
    spec = part(obj, "spec")
    wrong = non_negative(spec, "spec", "replicas")
    selector = spec.get("selector")
    selector_wrong = label_selector(selector, "spec.selector")
    if selector is None:
        wrong.append(field.required("spec.selector"))
    else:
        wrong += selector_wrong
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            detail = "empty selector is invalid for deployment"
            wrong.append(field.invalid("spec.selector", selector, detail))
    if selector_wrong:
        wrong.append(field.invalid("spec.selector", selector, "invalid label selector"))
    else:
        wrong += replica_template(part(spec, "template"), selector, "spec.template")
    wrong += _strategy(part(spec, "strategy"), "spec.strategy")
    wrong += non_negative(spec, "spec", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= spec.get("minReadySeconds", 0):
        detail = "must be greater than minReadySeconds"
        wrong.append(field.invalid("spec.progressDeadlineSeconds", deadline, detail))
    return wrong


def replica_template(template: Object, selector: Object | None, path: str) -> Errors:
    """Rules for a pod template whose pods are replaced for ever and found by `selector`."""
    wrong: Errors = []
    labels = part(template, "metadata").get("labels")
    if selector != {} and not matches(selector, labels or {}):
        detail = "`selector` does not match template `labels`"
        wrong.append(field.invalid(f"{path}.metadata.labels", labels, detail))
    wrong += pod_template(template, path)
    spec = part(template, "spec")
    policy = spec.get("restartPolicy", "")
    if policy != "Always":
        wrong.append(field.not_supported(f"{path}.spec.restartPolicy", policy, ["Always"]))
    if spec.get("activeDeadlineSeconds") is not None:
        detail = "activeDeadlineSeconds in ReplicaSet is not Supported"
        wrong.append(field.forbidden(f"{path}.spec.activeDeadlineSeconds", detail))
    return wrong


def _strategy(strategy: Object, path: str) -> Errors:
    kind = strategy.get("type", "")
    rolling = strategy.get("rollingUpdate")
    if kind == "Recreate":
        if rolling is None:
            return []
        detail = "may not be specified when strategy `type` is 'Recreate'"
        return [field.forbidden(f"{path}.rollingUpdate", detail)]
    if kind == "RollingUpdate":
        if rolling is None:
            return [field.required(f"{path}.rollingUpdate", "this should be defaulted and never be nil")]
        return _rolling_update(rolling, f"{path}.rollingUpdate")
    shown = goform.of(strategy, "apps/v1.DeploymentStrategy")
    return [field.not_supported(path, shown, _STRATEGIES)]


def _rolling_update(rolling: Object, path: str) -> Errors:
    unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    wrong = int_or_percent(unavailable, f"{path}.maxUnavailable")
    wrong += int_or_percent(surge, f"{path}.maxSurge")
    if count_of(unavailable) == 0 and count_of(surge) == 0:
        detail = "may not be 0 when `maxSurge` is 0"
        wrong.append(field.invalid(f"{path}.maxUnavailable", unavailable, detail))
    return wrong + no_more_than_all(unavailable, f"{path}.maxUnavailable")


def deployment_update(new: Object, old: Object) -> Errors:
    """The selector of a Deployment never changes."""
    return immutable("spec.selector", part(new, "spec").get("selector"), part(old, "spec").get("selector"))


def deployment_status(new: Object, old: Object) -> Errors:
    """Counts are not negative and fit each other."""
    status = part(new, "status")
    wrong = non_negative(status, "status", *_COUNTS)
    counts = {name: status.get(name, 0) for name in _COUNTS}
    wrong += [
        field.invalid(f"status.{name}", counts[name], "cannot be greater than status.replicas")
        for name in ("updatedReplicas", "readyReplicas", "availableReplicas")
        if counts[name] > counts["replicas"]
    ]
    if counts["availableReplicas"] > counts["readyReplicas"]:
        detail = "cannot be greater than readyReplicas"
        wrong.append(field.invalid("status.availableReplicas", counts["availableReplicas"], detail))
    before = part(old, "status").get("collisionCount")
    if before is not None and counts["collisionCount"] < before:
        shown = status.get("collisionCount")
        wrong.append(field.invalid("status.collisionCount", shown, "cannot be decremented"))
    return wrong
