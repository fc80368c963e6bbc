"""Rules for what bounds the number of pods: HorizontalPodAutoscalers and PodDisruptionBudgets.

Both versions of the autoscaler are judged in the form of version 2.
"""

from __future__ import annotations

from apilayer.api import field, names
from apilayer.api.validation import goform
from apilayer.api.validation.common import Errors, Object, items, text
from apilayer.api.validation.vocabulary import (
    Check,
    above_zero,
    amount,
    at,
    at_most,
    becomes,
    count_or_percent,
    each,
    either,
    every,
    given,
    has,
    maybe_one_of,
    must_have,
    name,
    non_negative,
    one_of,
    required,
    required_name,
    rules,
    selector,
    when,
)

_SOURCE_OF = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_MIN_REPLICAS = 1


def _replicas(spec: Object, path: str) -> Errors:
    low, high = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    wrong: Errors = []
    if low is not None and low < _MIN_REPLICAS:
        detail = f"must be greater than or equal to {_MIN_REPLICAS}"
        wrong.append(field.invalid(f"{path}.minReplicas", low, detail))
    if high < 1:
        wrong.append(field.required(f"{path}.maxReplicas", "must be set and greater than 0"))
    if low is not None and high < low:
        detail = "must be greater than or equal to `minReplicas`"
        wrong.append(field.invalid(f"{path}.maxReplicas", high, detail))
    return wrong


_reference = every(required_name("kind", names.path_segment), required_name("name", names.path_segment))


def _group(reference: Object, path: str) -> Errors:
    version = text(reference, "apiVersion")
    if "/" in version or reference.get("kind") == "ReplicationController":
        return []
    return [field.invalid(f"{path}.apiVersion", version, "apiVersion must specify API group")]


def _target_kind(target: Object, path: str) -> Errors:
    kind = text(target, "type")
    if not kind:
        return [field.required(f"{path}.type", "must specify a metric target type")]
    if kind in ("Utilization", "Value", "AverageValue"):
        return []
    return [field.invalid(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue")]


_target = at(
    "target",
    _target_kind,
    above_zero("averageUtilization", detail="must be greater than 0"),
    amount("value", above=0, detail="must be positive"),
    amount("averageValue", above=0, detail="must be positive"),
)
_metric = at("metric", either(required("name", detail="must specify a metric name"), name("name", names.path_segment)))


def _some_value(target: Object, path: str) -> Errors:
    if target.get("value") is not None or target.get("averageValue") is not None:
        return []
    detail = "must set either a target value for metric or a per-pod target"
    return [field.required(f"{path}.averageValue", detail)]


def _one_value(target: Object, path: str) -> Errors:
    if target.get("value") is None or target.get("averageValue") is None:
        return _some_value(target, path)
    detail = "may not set both a target value for metric and a per-pod target"
    return [field.forbidden(f"{path}.value", detail)]


def _raw_or_utilization(target: Object, path: str) -> Errors:
    utilization, value = target.get("averageUtilization"), target.get("averageValue")
    if utilization is None and value is None:
        detail = "must set either a target raw value or a target utilization"
        return [field.required(f"{path}.averageUtilization", detail)]
    if utilization is not None and value is not None:
        detail = "may not set both a target raw value and a target utilization"
        return [field.forbidden(f"{path}.averageValue", detail)]
    return []


_POSITIVE_AVERAGE = "must specify a positive target averageValue"
_resource = every(required("name", detail="must specify a resource name"), _target, at("target", _raw_or_utilization))
# What each kind of source must say, in the order in which they are looked at.
_SOURCES: dict[str, Check] = {
    "object": every(at("describedObject", _reference), _metric, _target, at("target", _some_value)),
    "external": every(_metric, _target, at("target", _one_value)),
    "pods": every(_metric, _target, at("target", must_have("averageValue", detail=_POSITIVE_AVERAGE))),
    "resource": _resource,
    "containerResource": every(required("container", detail="must specify a container"), _resource),
}


def _metric_source(metric: Object, path: str) -> Errors:
    kind = text(metric, "type")
    if not kind:
        return [field.required(f"{path}.type", "must specify a metric source type")]
    valid = tuple(_SOURCE_OF)
    wrong = one_of("type", *valid)(metric, path)
    present = [key for key in _SOURCES if metric.get(key) is not None]
    for key in present[:1]:
        wrong += _SOURCES[key](metric[key], f"{path}.{key}")
    expected = _SOURCE_OF.get(kind)
    if expected is None:
        return wrong + one_of("type", *valid)(metric, path)
    if expected not in present:
        detail = "must populate information for the given metric source"
        wrong.append(field.required(f"{path}.{expected}", detail))
    if len(present) > 1:
        detail = "must populate the given metric source only"
        wrong += [field.forbidden(f"{path}.{key}", detail) for key in present if key != expected]
    return wrong


def _zero_needs_others(spec: Object, path: str) -> Errors:
    kinds = {metric.get("type") for metric in items(spec, "metrics")}
    if spec.get("minReplicas") != 0 or kinds & {"Object", "External"}:
        return []
    detail = "must specify at least one Object or External metric to support scaling to zero replicas"
    return [field.forbidden(f"{path}.metrics", detail)]


_policy = every(
    one_of("type", "Percent", "Pods"),
    above_zero("value"),
    above_zero("periodSeconds"),
    at_most("periodSeconds", 1800, "must be less than or equal to 1800"),
)


def _window(scaling: Object, path: str) -> Errors:
    seconds, where = scaling.get("stabilizationWindowSeconds"), f"{path}.stabilizationWindowSeconds"
    if seconds is not None and seconds < 0:
        return [field.invalid(where, seconds, "must be greater than or equal to zero")]
    return at_most("stabilizationWindowSeconds", 3600, "must be less than or equal to 3600")(scaling, path)


_scaling = every(
    _window,
    maybe_one_of("selectPolicy", "Disabled", "Max", "Min"),
    required("policies", detail="must specify at least one Policy"),
    each("policies", _policy),
    amount("tolerance"),
)

autoscaler = rules(
    at(
        "spec",
        _replicas,
        at("scaleTargetRef", _reference, _group),
        each("metrics", _metric_source),
        _zero_needs_others,
        given("behavior", given("scaleUp", _scaling), given("scaleDown", _scaling)),
    ),
)
AUTOSCALER_STATUS = (becomes(at("status", non_negative("currentReplicas", "desiredReplicas"))),)


def _one_bound(spec: Object, path: str) -> Errors:
    shown = goform.of(spec, "policy/v1.PodDisruptionBudgetSpec")
    return [field.invalid(path, shown, "minAvailable and maxUnavailable cannot be both set")]


disruption_budget = rules(
    at(
        "spec",
        when(has("minAvailable", "maxUnavailable"), _one_bound),
        count_or_percent("minAvailable", "maxUnavailable"),
        selector("selector"),
        maybe_one_of("unhealthyPodEvictionPolicy", "AlwaysAllow", "IfHealthyBudget"),
    ),
)
DISRUPTION_BUDGET_STATUS = (
    becomes(at("status", non_negative("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"))),
)
