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
    from collections.abc import Mapping

    from apilayer.api.resources import Resource

__all__ = ["apply_defaults", "drop_disabled"]

_FAMILIES = (tables, workloads, networking, storage, cluster)
RULES = {name: rules for family in _FAMILIES for name, rules in family.RULES.items()}
CONSTANTS = {name: values for family in _FAMILIES for name, values in family.CONSTANTS.items()}
EMPTIED = frozenset({"lifecycle"})  # objects that go when nothing is left in them
DISABLED = {name: keys for family in _FAMILIES for name, keys in family.DISABLED.items()}


def apply_defaults(resource: Resource, obj: dict[str, Any]) -> None:
    """Fill in defaults in `obj`, in place; `obj` is in canonical form and stays so."""
    _walk(obj, message_name(resource))


def drop_disabled(resource: Resource, obj: dict[str, Any]) -> None:
    """Removes fields of features that are switched off, in place.

    Apart from the defaults, because whoever sent such a field is its manager nevertheless.
    """
    _drop(obj, message_name(resource))


def _drop(obj: dict[str, Any], name: str) -> None:
    disabled, children = _dropped(name)
    for key in disabled:
        obj.pop(key, None)
    for key, child, many in children:
        value = obj.get(key)
        for item in (value if many else (value,)) if value else ():
            _drop(item, child)
            if key in EMPTIED and not item:
                del obj[key]


@functools.cache
def _dropped(name: str) -> tuple[tuple[str, ...], list[tuple[str, str, bool]]]:
    """Fields to drop from a message, and the children that need the same."""
    return DISABLED.get(name, ()), _children(name, DISABLED)


def _walk(obj: dict[str, Any], name: str) -> None:
    rules, constants, children = _steps(name)
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
    """What to do for a message: rules, constants, and the children that need a walk."""
    fields = types.message(name).json_fields
    constants = [(key, value, fields[key].pointer) for key, value in CONSTANTS.get(name, {}).items()]
    return RULES.get(name, ()), constants, _children(name, CONSTANTS, RULES)


def _children(name: str, *tables: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """The fields of a message below which one of the tables has an entry: name, type, whether a list."""
    return [
        (key, field.type, field.repeated)
        for key, field in types.message(name).json_fields.items()
        if field.is_message and not field.is_map and _leads_to(field.type, tables)
    ]


def _leads_to(name: str, tables: tuple[Mapping[str, Any], ...]) -> bool:
    """Whether one of the tables has the message or one below it."""
    seen: set[str] = set()
    queue = [name]
    while queue:
        current = queue.pop()
        if any(current in table for table in tables):
            return True
        seen.add(current)
        queue += [field.type for field in types.message(current).fields if field.is_message and field.type not in seen]
    return False
