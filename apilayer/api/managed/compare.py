"""What differs between two values of a kind, as sets of fields; and the set of all fields of a value.

Equal parts are passed over with one comparison, so an update costs little more than what it changes. Sets come
out in the order in which ``fieldsV1`` is written, so that those of new objects need no sorting.
"""

from __future__ import annotations

from typing import Any

import msgspec

from apilayer.api.managed.fieldset import SELF, Fields, in_order, recursive_difference, union
from apilayer.api.managed.typed import ANY, Type

ABSENT: Any = object()
"""Stands for a value that is not there, as null is one."""


class Comparison(msgspec.Struct, frozen=True):
    """The fields that a change sets (added or modified), and those that it removes."""

    touched: Fields
    removed: Fields

    def without(self, ignored: Fields) -> Comparison:
        """The same with fields left out, and all below them."""
        if not ignored:
            return self
        return Comparison(recursive_difference(self.touched, ignored), recursive_difference(self.removed, ignored))


def compare(shape: Type, old: Any, new: Any) -> Comparison:
    """What turns `old` into `new`, both objects of `shape`. Raises ItemError for lists that are not of their type."""
    touched: Fields = {}
    removed: Fields = {}
    _compare_members(shape, old, new, touched, removed)
    return Comparison(touched, removed)


def _compare(shape: Type | None, old: Any, new: Any) -> tuple[Fields | None, Fields | None]:
    """What is set and what is removed below two different values; None for nothing."""
    shape = shape or ANY
    if old is ABSENT:
        return whole(shape, new), None
    if new is ABSENT:
        return None, whole(shape, old)
    if not shape.atomic and (old or new):
        touched: Fields = {}
        removed: Fields = {}
        if shape.is_map and (old.__class__ is dict or new.__class__ is dict):
            both = _is_map(old) and _is_map(new)
            _compare_members(shape, old, new, touched, removed)
            return (touched or None) if both else {SELF: {}, **touched} if touched else {}, removed or None
        if shape.has_items(old) or shape.has_items(new):
            _compare_items(shape, old, new, touched, removed)
            return touched or None, removed or None
    return {}, None


def _is_map(value: Any) -> bool:
    return value is None or value.__class__ is dict


def _compare_members(shape: Type, old: Any, new: Any, touched: Fields, removed: Fields) -> None:
    before = old if old.__class__ is dict else {}
    after = new if new.__class__ is dict else {}
    for key in sorted(after):
        value = after[key]
        known = before.get(key, ABSENT)
        if known == value and known is not ABSENT:
            continue
        element, child = shape.descend(key)
        set_, gone = _compare(child, known, value)
        if set_ is not None:
            touched[element] = set_
        if gone is not None:
            removed[element] = gone
    for key, value in before.items():
        if key not in after:
            element, child = shape.descend(key)
            removed[element] = whole(child or ANY, value)


def _compare_items(shape: Type, old: Any, new: Any, touched: Fields, removed: Fields) -> None:
    before = _by_element(shape, old)
    after = _by_element(shape, new)
    child = shape.element or ANY
    for element in in_order(after):
        values = after[element]
        known = before.get(element)
        if known == values:
            continue
        if len(values) > 1:
            if known is not None and len(known) == 1:
                removed[element] = whole(child, known[0])
            touched[element] = {}
        elif known is None:
            touched[element] = whole(child, values[0])
        elif len(known) > 1:
            removed[element] = {}
            touched[element] = whole(child, values[0])
        else:
            set_, gone = _compare(child, known[0], values[0])
            if set_ is not None:
                touched[element] = set_
            if gone is not None:
                removed[element] = gone
    for element, values in before.items():
        if element not in after:
            removed[element] = whole(child, values[0]) if len(values) == 1 else {}


def _by_element(shape: Type, items: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for item in items if items.__class__ is list else ():
        found.setdefault(shape.item_element(item), []).append(item)
    return found


def whole(shape: Type, value: Any) -> Fields:
    """A value that comes or goes as a whole: itself and every field below it."""
    if not value or shape.atomic:
        return {}
    if value.__class__ is dict:
        if not shape.is_map:
            return {}
        out: Fields = {SELF: {}}
        fields, element = shape.fields, shape.element or ANY
        for key in sorted(value):
            member = value[key]
            known = fields.get(key)
            if known is None:
                out["f:" + key] = whole(element, member) if member else {}
            else:
                out[known[0]] = whole(known[1], member) if member.__class__ in _CONTAINERS else {}
        return out
    if value.__class__ is list and shape.has_items(value):
        out = {SELF: {}}
        child = shape.element or ANY
        found = _by_element(shape, value)
        for name in in_order(found):
            out[name] = whole(child, found[name][0]) if len(found[name]) == 1 else {}
        return out
    return {}


_CONTAINERS = frozenset({dict, list})


def field_set(shape: Type, value: Any) -> Fields:
    """The fields that an applied configuration, an object of `shape`, speaks of.

    Maps and lists are not in the set themselves unless they are empty maps or have a name of their own (items,
    members of maps without declared fields). Raises ItemError.
    """
    return _members_set(shape, value) if value.__class__ is dict else {}


def _members_set(shape: Type, value: dict[str, Any]) -> Fields:
    out: Fields = {}
    for key, member in value.items():
        element, child = shape.descend(key)
        below = _value_set(child or ANY, member)
        own = member is None or (member.__class__ is dict and not member) or key not in shape.fields
        if below is None:
            if own:
                out[element] = {}
        elif own and below:
            out[element] = {SELF: {}, **below}
        else:
            out[element] = below
    return out


def _value_set(shape: Type, value: Any) -> Fields | None:
    """The set below a value: None for nothing, {} for the value itself."""
    if shape.atomic or not (value.__class__ is dict or value.__class__ is list):
        return None if value is None and not shape.atomic and shape.scalar is None else {}
    if value.__class__ is dict:
        return _members_set(shape, value) or None if shape.is_map else {}
    if not shape.has_items(value):
        return {}
    out: Fields = {}
    child = shape.element or ANY
    for element, values in _by_element(shape, value).items():
        below = _value_set(child, values[0]) if len(values) == 1 else {}
        out[element] = {SELF: {}, **below} if below else {}
    return out or None


def combined(comparison: Comparison) -> Fields:
    """All fields in which the two values differ."""
    return union(comparison.touched, comparison.removed)
