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
from apilayer.api.remembered import SPECS, remembered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from apilayer.api.resources import Resource

__all__ = ["apply_defaults", "drop_disabled"]

Object = dict[str, Any]

_FAMILIES = (tables, workloads, networking, storage, cluster)
RULES = {name: rules for family in _FAMILIES for name, rules in family.RULES.items()}
CONSTANTS = {name: values for family in _FAMILIES for name, values in family.CONSTANTS.items()}
EMPTIED = frozenset({"lifecycle"})  # objects that go when nothing is left in them
DISABLED = {name: keys for family in _FAMILIES for name, keys in family.DISABLED.items()}


def apply_defaults(resource: Resource, obj: dict[str, Any]) -> None:
    """Fill in defaults in `obj`, in place; `obj` is in canonical form and stays so."""
    _filler(message_name(resource))(obj)


def drop_disabled(resource: Resource, obj: dict[str, Any]) -> None:
    """Removes fields of features that are switched off, in place.

    Apart from the defaults, because whoever sent such a field is its manager nevertheless.
    """
    _dropper(message_name(resource))(obj)


@functools.cache
def _dropper(name: str) -> Callable[[Object], Object]:
    """What takes such fields out of a message, in place, and gives it back."""
    disabled = DISABLED.get(name, ())
    children: list[tuple[str, Callable[[Object], Object], bool]] | None = None

    def drop(obj: Object) -> Object:
        nonlocal children
        if children is None:  # on first use, because messages may contain themselves
            children = [(key, _dropper(child), many) for key, child, many in _children(name, DISABLED)]
        for key in disabled:
            obj.pop(key, None)
        for key, child, many in children:
            value = obj.get(key)
            if not value:
                continue
            if many:
                for item in value:
                    child(item)
            else:
                left = obj[key] = child(value)
                if key in EMPTIED and not left:
                    del obj[key]
        return obj

    return drop


@functools.cache
def _filler(name: str) -> Callable[[Object], Object]:
    """What fills in a message, in place, and gives it back."""
    fields = types.message(name).json_fields
    rules = RULES.get(name, ())
    constants = [(key, value, fields[key].pointer) for key, value in CONSTANTS.get(name, {}).items()]
    children: list[tuple[str, Callable[[Object], Object], bool]] | None = None

    def fill(obj: Object) -> Object:
        nonlocal children
        if children is None:  # on first use, because messages may contain themselves
            children = [(key, _filler(child), many) for key, child, many in _children(name, CONSTANTS, RULES)]
        for rule in rules:
            rule(obj)
        for key, value, pointer in constants:
            present = obj.get(key)
            if present is None or (not pointer and not present):
                obj[key] = value.copy() if value.__class__ is dict else value
        for key, child, many in children:
            value = obj.get(key)
            if value is None:
                continue
            if many:
                for item in value:
                    child(item)
            else:
                obj[key] = child(value)
        return obj

    return remembered(fill, in_place=True) if name in SPECS else fill


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
