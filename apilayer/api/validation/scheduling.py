"""Rules for where a pod may run: affinity, tolerations, topology spread."""

from __future__ import annotations

from apilayer.api import field, names
from apilayer.api.validation.common import Errors, Object, indexed, items, named, part, supported, text
from apilayer.api.validation.selectors import label_selector, node_selector, node_selector_term

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_ALL_KEYS = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'


def affinity(obj: Object | None, path: str) -> Errors:
    """Rules for ``spec.affinity``."""
    if obj is None:
        return []
    wrong = _node_affinity(part(obj, "nodeAffinity"), f"{path}.nodeAffinity")
    for key in ("podAffinity", "podAntiAffinity"):
        wrong += _pod_affinity(part(obj, key), f"{path}.{key}")
    return wrong


def _node_affinity(obj: Object, path: str) -> Errors:
    wrong: Errors = []
    if obj.get(_REQUIRED) is not None:
        wrong += node_selector(obj[_REQUIRED], f"{path}.{_REQUIRED}")
    for where, term in indexed(obj, _PREFERRED, path):
        wrong += _weight(term, where)
        wrong += node_selector_term(part(term, "preference"), f"{where}.preference")
    return wrong


def _weight(term: Object, path: str) -> Errors:
    weight = term.get("weight", 0)
    if 1 <= weight <= 100:
        return []
    return [field.invalid(f"{path}.weight", weight, "must be in the range 1-100")]


def _pod_affinity(obj: Object, path: str) -> Errors:
    wrong: Errors = []
    for where, term in indexed(obj, _REQUIRED, path):
        wrong += _pod_term(term, where)
    for where, weighted in indexed(obj, _PREFERRED, path):
        wrong += _weight(weighted, where)
        wrong += _pod_term(part(weighted, "podAffinityTerm"), f"{where}.podAffinityTerm")
    return wrong


def _pod_term(term: Object, path: str) -> Errors:
    wrong = label_selector(term.get("labelSelector"), f"{path}.labelSelector")
    wrong += label_selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for namespace in items(term, "namespaces"):
        wrong += named(f"{path}.namespace", namespace, names.namespace_name)
    for key in ("matchLabelKeys", "mismatchLabelKeys"):
        wrong += _label_keys(term, key, path)
    both = set(items(term, "matchLabelKeys")) & set(items(term, "mismatchLabelKeys"))
    wrong += [
        field.invalid(where, name, "exists in both matchLabelKeys and mismatchLabelKeys")
        for key in ("matchLabelKeys", "mismatchLabelKeys")
        for where, name in indexed(term, key, path)
        if name in both
    ]
    topology = text(term, "topologyKey")
    if not topology:
        wrong.append(field.required(f"{path}.topologyKey", "can not be empty"))
    return wrong + named(f"{path}.topologyKey", topology, names.qualified_name)


def _label_keys(obj: Object, key: str, path: str) -> Errors:
    keys = indexed(obj, key, path)
    if not keys:
        return []
    if obj.get("labelSelector") is None:
        return [field.forbidden(f"{path}.{key}", "must not be specified when labelSelector is not set")]
    return [error for where, name in keys for error in named(where, name, names.qualified_name)]


def tolerations(spec: Object, path: str) -> Errors:
    """Rules for ``spec.tolerations``."""
    wrong: Errors = []
    for where, toleration in indexed(spec, "tolerations", path):
        key, operator = text(toleration, "key"), text(toleration, "operator")
        value, effect = text(toleration, "value"), text(toleration, "effect")
        if key:
            wrong += named(f"{where}.key", key, names.qualified_name)
        elif operator != "Exists":
            wrong.append(field.invalid(f"{where}.operator", operator, _ALL_KEYS))
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            wrong.append(field.invalid(f"{where}.effect", effect, detail))
        if operator in ("Equal", ""):
            wrong += [field.invalid(f"{where}.operator", value, message) for message in names.label_value(value)]
        elif operator == "Exists":
            if value:
                detail = "value must be empty when `operator` is 'Exists'"
                wrong.append(field.invalid(f"{where}.operator", value, detail))
        else:
            wrong += supported(f"{where}.operator", operator, ("Equal", "Exists"))
        if effect:
            wrong += supported(f"{where}.effect", effect, _EFFECTS)
    return wrong


def topology_spread(spec: Object, path: str) -> Errors:
    """Rules for ``spec.topologySpreadConstraints``."""
    wrong: Errors = []
    found = indexed(spec, "topologySpreadConstraints", path)
    for index, (where, constraint) in enumerate(found):
        topology, when = text(constraint, "topologyKey"), text(constraint, "whenUnsatisfiable")
        if constraint.get("maxSkew", 0) <= 0:
            skew = constraint.get("maxSkew", 0)
            wrong.append(field.invalid(f"{where}.maxSkew", skew, "must be greater than zero"))
        if not topology:
            wrong.append(field.required(f"{where}.topologyKey", "can not be empty"))
        else:
            wrong += named(f"{where}.topologyKey", topology, names.qualified_name)
        valid = ("DoNotSchedule", "ScheduleAnyway")
        wrong += supported(f"{where}.whenUnsatisfiable", when, valid)
        for _later, other in found[index + 1 :]:
            if (text(other, "topologyKey"), text(other, "whenUnsatisfiable")) == (topology, when):
                pair = f"{{{topology}, {when}}}"
                wrong.append(field.duplicate(f"{where}.{{topologyKey, whenUnsatisfiable}}", pair))
                break
        wrong += _spread_details(constraint, when, where)
    return wrong


def _spread_details(constraint: Object, when: str, path: str) -> Errors:
    wrong: Errors = []
    domains = constraint.get("minDomains")
    if domains is not None:
        if domains <= 0:
            wrong.append(field.invalid(f"{path}.minDomains", domains, "must be greater than zero"))
        if when != "DoNotSchedule":
            detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}"
            wrong.append(field.invalid(f"{path}.minDomains", domains, detail))
    for key in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        if constraint.get(key) is not None:
            wrong += supported(f"{path}.{key}", constraint[key], ("Honor", "Ignore"))
    if items(constraint, "matchLabelKeys"):
        wrong += _label_keys(constraint, "matchLabelKeys", path)
        taken = _selected_keys(part(constraint, "labelSelector"), items(constraint, "matchLabelKeys"))
        wrong += [
            field.invalid(where, name, "exists in both matchLabelKeys and labelSelector")
            for where, name in indexed(constraint, "matchLabelKeys", path)
            if name in taken
        ]
    return wrong + label_selector(constraint.get("labelSelector"), f"{path}.labelSelector")


def _selected_keys(selector: Object, merged: list[str]) -> set[str]:
    """Keys that a selector names, but for what was added to it for one of the `merged` keys."""
    found = set(part(selector, "matchLabels"))
    seen: set[str] = set()
    for expression in items(selector, "matchExpressions"):
        key = text(expression, "key")
        is_merged = key in merged and key not in seen and expression.get("operator") == "In"
        if not is_merged or len(items(expression, "values")) != 1:
            found.add(key)
        seen.add(key)
    return found
