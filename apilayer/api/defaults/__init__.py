"""Values that Kubernetes fills in for fields left out, for every kind that is served.

`tables` and a module for each family say what is filled in, by message; here is the walk that applies it. What
admission plugins add (service accounts, tolerations, priorities) does not belong here.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from apilayer.api import types
from apilayer.api.decode import message_name
from apilayer.api.defaults import cluster, networking, storage, tables, workloads

if TYPE_CHECKING:
    from apilayer.api.resources import Resource

__all__ = ["apply_defaults"]

_FAMILIES = (tables, workloads, networking, storage, cluster)
RULES = {name: rules for family in _FAMILIES for name, rules in family.RULES.items()}
CONSTANTS = {name: values for family in _FAMILIES for name, values in family.CONSTANTS.items()}
DISABLED = {name: keys for family in _FAMILIES for name, keys in family.DISABLED.items()}


def apply_defaults(resource: Resource, obj: dict[str, Any]) -> None:
    """Fill in defaults in `obj`, in place; `obj` is in canonical form and stays so.

    Fields of features that are switched off are removed, as on the way into kube-apiserver.
    """
    _walk(obj, message_name(resource))


def _walk(obj: dict[str, Any], name: str) -> None:
    disabled, rules, constants, children = _steps(name)
    for key in disabled:
        obj.pop(key, None)
    for rule in rules:
        rule(obj)
    for key, value, pointer in constants:
        present = obj.get(key)
        if present is None or (not pointer and not present):
            obj[key] = value.copy() if value.__class__ is dict else value
    for key, child, many in children:
        value = obj.get(key)
        if value:
            for item in value if many else (value,):
                _walk(item, child)
        elif value is not None and not many:
            _walk(value, child)


@functools.cache
def _steps(name: str) -> tuple[Any, ...]:
    """What to do for a message: fields to drop, rules, constants, and the children that need a walk."""
    fields = types.message(name).json_fields
    constants = [(key, value, fields[key].pointer) for key, value in CONSTANTS.get(name, {}).items()]
    children = [
        (key, field.type, field.repeated)
        for key, field in fields.items()
        if field.is_message and not field.is_map and _has_defaults(field.type)
    ]
    return DISABLED.get(name, ()), RULES.get(name, ()), constants, children


@functools.cache
def _has_defaults(name: str) -> bool:
    """Whether the message or one below it has anything to fill in."""
    seen: set[str] = set()
    queue = [name]
    while queue:
        current = queue.pop()
        if current in CONSTANTS or current in RULES or current in DISABLED:
            return True
        seen.add(current)
        queue += [field.type for field in types.message(current).fields if field.is_message and field.type not in seen]
    return False
