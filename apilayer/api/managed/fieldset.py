"""Sets of fields as ``fieldsV1`` writes them: nested dicts that are the JSON.

A key is a path element: ``f:name`` a field or map key, ``k:{"name":"c"}`` an item by its keys, ``v:1`` an item
by its value, ``i:0`` by its position. A child's empty dict says that the field is in the set; a child with
children is in the set itself only when it has the key ``.``. The empty dict at the root is the empty set.
Sets are shared and never changed in place.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import orjson

from apilayer.api.gotext import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Fields = dict[str, Any]

SELF = "."
EMPTY: Fields = {}
MAX_DEPTH = 64
MAX_KNOWN_CHARS = 256
"""The order of longer elements is not kept in mind."""
_RANK = {"f": 0, "k": 1, "v": 2, "i": 3}


class FieldSetError(ValueError):
    """``fieldsV1`` that is no set of fields."""


# ---------------------------------------------------------------- set operations


def union(left: Fields, right: Fields) -> Fields:
    """What is in either, in order if both are."""
    if not left:
        return right
    return _merge(left, right) if right else left


def _merge(left: Fields, right: Fields) -> Fields:
    """In order if both are. It is cheap when `left` has most of it."""
    out = dict(left)
    for key, child in right.items():
        known = out.get(key)
        out[key] = child if known is None or known == child else _union_child(known, child)
    return out if len(out) == len(left) else {key: out[key] for key in in_order(out)}


def _union_child(left: Fields, right: Fields) -> Fields:
    if not left:
        return right if SELF in right else {SELF: {}, **right}
    if not right:
        return left if SELF in left else {SELF: {}, **left}
    return _merge(left, right)


def difference(left: Fields, right: Fields) -> Fields:
    """What is in `left` and not in `right`; a field stays when only its children go."""
    return _without(left, right, recursive=False) if left and right else left


def recursive_difference(left: Fields, right: Fields) -> Fields:
    """`left` without the fields in `right` and all that is below them."""
    return _without(left, right, recursive=True) if left and right else left


def _without(left: Fields, right: Fields, *, recursive: bool) -> Fields:
    """`left` without `right`, both with children: {} when nothing is left."""
    out: Fields | None = None
    for key in left if len(left) < len(right) else right:
        child, doomed = left.get(key), right.get(key)
        if child is None or doomed is None:
            continue
        kept = _without_child(child, doomed, recursive=recursive)
        if kept is child:
            continue
        if out is None:
            out = dict(left)
        if kept is None:
            del out[key]
        else:
            out[key] = kept
    return left if out is None else out


def _without_child(child: Fields, doomed: Fields, *, recursive: bool) -> Fields | None:
    """What remains of a child, None for nothing."""
    if recursive and (not doomed or SELF in doomed):
        return None
    if not child:
        return None if not doomed or SELF in doomed else child
    if not doomed:
        doomed = {SELF: {}}
    kept = _without(child, doomed, recursive=recursive)
    if kept is child:
        return child
    if not kept:
        return None
    return {} if len(kept) == 1 and SELF in kept else kept


def intersection(left: Fields, right: Fields) -> Fields:
    """What is in both."""
    if len(right) < len(left):
        left, right = right, left
    out: Fields = {}
    for key, child in left.items():
        other = right.get(key)
        if other is not None and key != SELF:
            common = _common_child(child, other)
            if common is not None:
                out[key] = common
    return out


def _common_child(left: Fields, right: Fields) -> Fields | None:
    inside = (not left or SELF in left) and (not right or SELF in right)
    common = intersection(left, right) if left and right else {}
    if not common:
        return {} if inside else None
    return {SELF: {}, **common} if inside else common


# ---------------------------------------------------------------- text


def parse(value: Any, known: Fields = EMPTY, depth: int = 0) -> Fields:
    """The set that decoded ``fieldsV1`` says, parts of which may be as in a `known` set; in order, if that is.

    Raises FieldSetError.
    """
    if not isinstance(value, dict):
        raise FieldSetError("fieldsV1 holds a value that is no object")
    if depth > MAX_DEPTH:
        raise FieldSetError(f"fieldsV1 is deeper than {MAX_DEPTH}")
    out: Fields = {}
    for key, child in value.items():
        if key == SELF:
            out[SELF] = {}
            continue
        same = known.get(key)
        if same is not None and same == child:
            out[key] = same
            continue
        below = parse(child, same or {}, depth + 1)
        if len(below) == 1 and SELF in below:
            below = {}
        out[_normal_element(key)] = below
    return {key: out[key] for key in in_order(out)} if len(out) > 1 else out


def _normal_element(text: str) -> str:
    kind, colon, rest = text[:1], text[1:2], text[2:]
    if kind not in _RANK or colon != ":":
        raise FieldSetError(f"unknown path element {quote(text)}")
    if kind == "f":
        return text
    try:
        value = orjson.loads(rest)
    except orjson.JSONDecodeError as error:
        raise FieldSetError(f"unreadable path element {quote(text)}: {error}") from error
    if kind == "k":
        if not isinstance(value, dict):
            raise FieldSetError(f"path element {quote(text)} must hold an object")
        return key_element(value)
    if kind == "i" and type(value) is not int:
        raise FieldSetError(f"path element {quote(text)} must hold an integer")
    return f"{kind}:{orjson.dumps(value).decode()}"


def key_element(keys: dict[str, Any]) -> str:
    """The path element of a list item with these key fields."""
    return "k:" + orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode()


def value_element(value: Any) -> str:
    """The path element of an item of a list that is a set."""
    return "v:" + orjson.dumps(value).decode()


def ordered(fields: Fields) -> Fields:
    """The set with its keys in the order in which ``fieldsV1`` is written."""
    if len(fields) == 1:
        ((key, child),) = fields.items()
        return {key: ordered(child)} if child else fields
    return {key: ordered(fields[key]) if fields[key] else {} for key in in_order(fields)}


def in_order(elements: Iterable[str]) -> list[str]:
    """Path elements in the order in which ``fieldsV1`` is written."""
    names = sorted(elements)
    if len(names) > 1 and names[-1][0] > "f":  # in text order items by key would come as text: "443" before "80"
        names.sort(key=_element_order)
    return names


def _element_order(key: str) -> tuple[Any, ...]:
    return _known_order(key) if len(key) <= MAX_KNOWN_CHARS else _order_of(key)


def _order_of(key: str) -> tuple[Any, ...]:
    if key == SELF:
        return (-1,)
    kind, rest = key[0], key[2:]
    if kind == "f":
        return 0, rest
    value = orjson.loads(rest)
    if kind == "k":
        return 1, [(name, _value_order(part)) for name, part in value.items()]
    return _RANK[kind], _value_order(value)


_known_order = functools.lru_cache(maxsize=4096)(_order_of)
"""Containers, ports and variables are called the same in many objects."""


def _value_order(value: Any) -> tuple[int, Any]:
    if isinstance(value, bool):
        return 2, value
    if isinstance(value, int | float):
        return 0, value
    return (1, value) if isinstance(value, str) else (3, orjson.dumps(value))


def paths(fields: Fields, prefix: str = "") -> Iterator[str]:
    """The fields in the set as conflict messages name them; at each level the fields themselves come first."""
    keys = [key for key in in_order(fields) if key != SELF]
    for key in keys:
        child = fields[key]
        if not child or SELF in child:
            yield prefix + element_text(key)
    for key in keys:
        if fields[key]:
            yield from paths(fields[key], prefix + element_text(key))


def element_text(key: str) -> str:
    """A path element as messages show it: ``.data``, ``[name="c"]``, ``[="a.b/1"]``, ``[0]``."""
    kind, rest = key[0], key[2:]
    if kind == "f":
        return f".{rest}"
    if kind == "i":
        return f"[{rest}]"
    value = orjson.loads(rest)
    if kind == "k":
        return f"[{','.join(f'{name}={_value_text(part)}' for name, part in value.items())}]"
    return f"[={_value_text(value)}]"


def _value_text(value: Any) -> str:
    return quote(value) if isinstance(value, str) else orjson.dumps(value).decode()
