"""Rules for PriorityClasses and RuntimeClasses."""

from __future__ import annotations

from apilayer.api import field, names
from apilayer.api.validation.common import Errors, Object, part, text
from apilayer.api.validation.resources import resources
from apilayer.api.validation.scheduling import tolerations
from apilayer.api.validation.vocabulary import fixed, given, labels, maybe_one_of, required_name, rules

_HIGHEST = 1_000_000_000
SYSTEM_PRIORITIES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
"""The classes that every cluster has, with their values."""


def _priority(obj: Object, path: str) -> Errors:
    del path
    name, value = text(part(obj, "metadata"), "name"), obj.get("value", 0)
    if not name.startswith("system-"):
        if value <= _HIGHEST:
            return []
        detail = f"maximum allowed value of a user defined priority is {_HIGHEST}"
        return [field.forbidden("value", detail)]
    problem = _system_problem(name, value, obj)
    if not problem:
        return []
    detail = f"priority class names with 'system-' prefix are reserved for system use only. error: {problem}"
    return [field.forbidden("metadata.name", detail)]


def _system_problem(name: str, value: int, obj: Object) -> str:
    if name not in SYSTEM_PRIORITIES:
        return f"{name} is not a known system priority class"
    if value != SYSTEM_PRIORITIES[name]:
        return f"value of {name} PriorityClass must be {SYSTEM_PRIORITIES[name]}"
    return f"globalDefault of {name} PriorityClass must be false" if obj.get("globalDefault") else ""


priority_class = rules(_priority, maybe_one_of("preemptionPolicy", "PreemptLowerPriority", "Never"))


def _value_stays(new: Object, old: Object) -> Errors:
    if new.get("value", 0) == old.get("value", 0):
        return []
    return [field.forbidden("value", "may not be changed in an update.")]


PRIORITY_CLASS_UPDATE = (_value_stays, fixed("preemptionPolicy"))


def _overhead(overhead: Object, path: str) -> Errors:
    return resources({"limits": part(overhead, "podFixed")}, path)


runtime_class = rules(
    required_name("handler", names.dns_label),
    given("overhead", _overhead),
    given("scheduling", labels("nodeSelector"), tolerations),
)
RUNTIME_CLASS_UPDATE = (fixed("handler", absent=""),)
