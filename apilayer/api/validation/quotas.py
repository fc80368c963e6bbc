"""Rules for LimitRanges and ResourceQuotas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.api import field, names, quantity
from apilayer.api.validation.common import IMMUTABLE, NOT_NEGATIVE, Errors, Object, indexed, items, named, part, text
from apilayer.api.validation.resources import (
    CONTAINER_RESOURCES,
    COUNTED_RESOURCES,
    STANDARD_RESOURCES,
    overcommit_allowed,
    resource_name,
)

if TYPE_CHECKING:
    from fractions import Fraction

_LIMIT_TYPES = ("Container", "PersistentVolumeClaim", "Pod")
_NO_STORAGE = "either minimum or maximum storage value is required, but neither was provided"
_COMPUTE = frozenset({"cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"})
_QUOTA_RESOURCES = STANDARD_RESOURCES - {"storage"}
_OF_PODS = _COMPUTE | {"pods"}
# What each scope can be applied to.
_SCOPES = {
    "BestEffort": frozenset({"pods"}),
    "CrossNamespacePodAffinity": _OF_PODS,
    "NotBestEffort": _OF_PODS,
    "NotTerminating": _OF_PODS,
    "PriorityClass": _OF_PODS,
    "Terminating": _OF_PODS,
    "VolumeAttributesClass": frozenset({"persistentvolumeclaims", "requests.storage"}),
}
_WITHOUT_VALUES = frozenset(
    {"BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "Terminating"}
)
_EXCLUSIVE = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})
# Pairs of bounds, the first of which may not be above the second: where that is wrong, what is shown, and the words.
_ORDER = (
    ("min", "max", "min", "min", "min value {} is greater than max value {}"),
    (
        "min",
        "defaultRequest",
        "defaultRequest",
        "defaultRequest",
        "min value {} is greater than default request value {}",
    ),
    (
        "defaultRequest",
        "max",
        "defaultRequest",
        "defaultRequest",
        "default request value {} is greater than max value {}",
    ),
    (
        "defaultRequest",
        "default",
        "defaultRequest",
        "defaultRequest",
        "default request value {} is greater than default limit value {}",
    ),
    ("min", "default", "default", "min", "min value {} is greater than default value {}"),
    ("default", "max", "default", "max", "default value {} is greater than max value {}"),
)


def limit_range(obj: Object) -> Errors:
    """Rules for a LimitRange."""
    wrong: Errors = []
    seen: set[str] = set()
    for where, item in indexed(part(obj, "spec"), "limits", "spec"):
        kind = text(item, "type")
        wrong += _limit_type(kind, f"{where}.type")
        if kind in seen:
            wrong.append(field.duplicate(f"{where}.type", kind))
        seen.add(kind)
        wrong += _limit_names(item, kind, where)
        keys = {
            name
            for key in ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
            for name in part(item, key)
        }
        for name in sorted(keys):
            wrong += _limit_order(item, name, where)
    return wrong


def _limit_type(kind: str, path: str) -> Errors:
    wrong = named(path, kind, names.qualified_name)
    if not wrong and "/" not in kind and kind not in _LIMIT_TYPES:
        wrong.append(field.invalid(path, kind, "must be a standard limit type or fully qualified"))
    return wrong


def _limit_names(item: Object, kind: str, path: str) -> Errors:
    special = (CONTAINER_RESOURCES, "containers") if kind in ("Container", "Pod") else (None, "")

    def judged(key: str) -> Errors:
        return [error for name in part(item, key) for error in resource_name(name, f"{path}.{key}[{name}]", *special)]

    wrong = judged("max") + judged("min")
    for key in ("default", "defaultRequest"):
        if kind != "Pod":
            wrong += judged(key)
        elif item.get(key):
            wrong.append(field.forbidden(f"{path}.{key}", "may not be specified when `type` is 'Pod'"))
    bounded = "storage" in part(item, "max") or "storage" in part(item, "min")
    if kind == "PersistentVolumeClaim" and not bounded:
        wrong.append(field.required(f"{path}.limits", _NO_STORAGE))
    return wrong + judged("maxLimitRequestRatio")


def _limit_order(item: Object, name: str, path: str) -> Errors:
    given = {
        key: part(item, key)[name] for key in ("min", "max", "default", "defaultRequest") if name in part(item, key)
    }
    parsed = {key: quantity.parse(value).amount for key, value in given.items()}
    wrong: Errors = []
    for less, more, where, shown, words in _ORDER:
        if less in parsed and more in parsed and parsed[less] > parsed[more]:
            detail = words.format(given[less], given[more])
            wrong.append(field.invalid(f"{path}.{where}[{name}]", given[shown], detail))
    wrong += _limit_ratio(item, name, parsed, path)
    default, request = given.get("default"), given.get("defaultRequest")
    both = default is not None and request is not None and parsed["default"] != parsed["defaultRequest"]
    if both and not overcommit_allowed(name):
        detail = f"default value {default} must equal to defaultRequest value {request} in {name}"
        wrong.append(field.invalid(f"{path}.defaultRequest[{name}]", request, detail))
    return wrong


def _limit_ratio(item: Object, name: str, parsed: dict[str, Fraction], path: str) -> Errors:
    ratio, where = part(item, "maxLimitRequestRatio").get(name), f"{path}.maxLimitRequestRatio[{name}]"
    if ratio is None:
        return []
    value = quantity.parse(ratio).amount
    wrong: Errors = []
    if value < 1:
        wrong.append(field.invalid(where, ratio, f"ratio {ratio} is less than 1"))
    low, high = parsed.get("min"), parsed.get("max")
    if low and high is not None and value > high / low:
        detail = f"ratio {ratio} is greater than max/min = {float(high / low):f}"
        wrong.append(field.invalid(where, ratio, detail))
    return wrong


def resource_quota(obj: Object) -> Errors:
    """Rules for a ResourceQuota."""
    spec = part(obj, "spec")
    return _amounts(spec, "hard", "spec") + _scopes(spec) + _scope_selector(spec)


def _amounts(holder: Object, key: str, path: str) -> Errors:
    wrong: Errors = []
    for name, amount in part(holder, key).items():
        where = f"{path}.{key}[{name}]"
        wrong += resource_name(name, where, _QUOTA_RESOURCES, "quota")
        value = quantity.parse(amount).amount
        if value < 0:
            wrong.append(field.invalid(where, amount, NOT_NEGATIVE))
        counted = name in COUNTED_RESOURCES or ("/" in name and "kubernetes.io/" not in name)
        if counted and value.denominator != 1:
            wrong.append(field.invalid(where, amount, "must be an integer"))
    return wrong


def _misapplied(scope: str, hard: Object) -> int:
    """To how many of the resources in `hard` the scope cannot be applied."""
    valid = _SCOPES.get(scope)
    return 0 if valid is None else sum(name in _QUOTA_RESOURCES and name not in valid for name in hard)


def _scopes(spec: Object) -> Errors:
    scopes, where = items(spec, "scopes"), "spec.scopes"
    wrong: Errors = []
    for scope in scopes:
        if scope not in _SCOPES:
            wrong.append(field.invalid(where, scopes, "unsupported scope"))
        detail = "unsupported scope applied to resource"
        wrong += [field.invalid(where, scopes, detail)] * _misapplied(scope, part(spec, "hard"))
    if any(pair <= set(scopes) for pair in _EXCLUSIVE):
        wrong.append(field.invalid(where, scopes, "conflicting scopes"))
    return wrong


def _scope_selector(spec: Object) -> Errors:
    selector = spec.get("scopeSelector")
    where = "spec.scopeSelector.matchExpressions"
    wrong: Errors = []
    for requirement in items(selector or {}, "matchExpressions"):
        scope, operator, values = (
            text(requirement, "scopeName"),
            text(requirement, "operator"),
            items(requirement, "values"),
        )
        if scope not in _SCOPES:
            wrong.append(field.invalid(f"{where}.scopeName", scope, "unsupported scope"))
        detail = "unsupported scope applied to resource"
        wrong += [field.invalid(where, selector, detail)] * _misapplied(scope, part(spec, "hard"))
        if scope in _WITHOUT_VALUES and operator != "Exists":
            detail = (
                "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating,"
                " ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort,"
                " ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
            )
            wrong.append(field.invalid(f"{where}.operator", operator, detail))
        wrong += _scope_values(operator, values, where)
    return wrong


def _scope_values(operator: str, values: list[str], path: str) -> Errors:
    if operator in ("In", "NotIn"):
        detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
        return [] if values else [field.required(f"{path}.values", detail)]
    if operator in ("Exists", "DoesNotExist"):
        detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
        return [field.invalid(f"{path}.values", values, detail)] if values else []
    return [field.invalid(f"{path}.operator", operator, "not a valid selector operator")]


def resource_quota_update(new: Object, old: Object) -> Errors:
    """The scopes of a quota never change."""
    after, before = items(part(new, "spec"), "scopes"), items(part(old, "spec"), "scopes")
    return [] if set(after) == set(before) else [field.invalid("spec.scopes", after, IMMUTABLE)]


def resource_quota_status(new: Object, old: Object) -> Errors:
    """Rules for what a controller counted."""
    del old
    status = part(new, "status")
    return _amounts(status, "hard", "status") + _amounts(status, "used", "status")
