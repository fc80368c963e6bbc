"""An applied configuration merged into an object, fields removed from one, and whether a value fits its type."""

from __future__ import annotations

from typing import Any

from apilayer.api.gotext import quote
from apilayer.api.managed.compare import ABSENT
from apilayer.api.managed.fieldset import SELF, Fields, element_text
from apilayer.api.managed.typed import ANY, ItemError, Type
from apilayer.api.patch.gotext import go_value

Object = dict[str, Any]

MAX_ERRORS = 100
_ANY_SCALAR = (str, int, float, bool)


class TypedError(ValueError):
    """A configuration that does not fit the type of its kind; the text lists all that is wrong."""


# ---------------------------------------------------------------- merging


def merge(shape: Type, live: Any, config: Any) -> Any:
    """`live` with what `config` says; lists keep their order and take in new items where the configuration has them.

    Shares its parts with the inputs. Raises ItemError.
    """
    if not shape.atomic and (live or config):
        if shape.is_map and (live.__class__ is dict or config.__class__ is dict):
            if _fits_map(live) and _fits_map(config):
                return _merge_maps(shape, live or {}, config or {})
        elif shape.has_items(live) or shape.has_items(config):
            return _merge_items(shape, live or [], config or [])
    return config


def _fits_map(value: Any) -> bool:
    return value is None or value.__class__ is dict


def _merge_maps(shape: Type, live: Object, config: Object) -> Object:
    out = dict(live)
    for key, value in config.items():
        known = live.get(key, ABSENT)
        child = shape.descend(key)[1]
        out[key] = value if known is ABSENT or child is None else merge(child, known, value)
    return out


def _merge_items(shape: Type, live: list[Any], config: list[Any]) -> list[Any]:
    """The items of both: the configuration's in its order, those of `live` alone where they stood between them."""
    left = [(shape.item_element(item), item) for item in live]
    right = [(shape.item_element(item), item) for item in config]
    known: dict[str, Any] = {}
    for element, item in left:
        known[element] = None if element in known else item  # repeated items are not merged with anything
    wanted = frozenset(element for element, _ in right)
    shared = [element for element, _ in reversed(right) if element in known]
    out: list[Any] = []
    merged: set[str] = set()
    at = 0
    for element, item in right:
        while at < len(left) and left[at][0] != element:
            name, unchanged = left[at]
            if name not in wanted:
                out.append(unchanged)
            elif not shared or shared[-1] == name:
                # The next item of both stands here: what the configuration has before it goes first.
                at += name in merged
                break
            at += 1
        at += at < len(left) and left[at][0] == element
        out.append(merge(shape.element or ANY, known[element], item) if element in known else item)
        merged.add(element)
        if shared and shared[-1] == element:
            shared.pop()
    out.extend(item for element, item in left[at:] if element not in wanted)
    return out


# ---------------------------------------------------------------- removing


def remove(shape: Type, value: Any, doomed: Fields) -> Any:
    """`value` without the fields in `doomed`. What held only those is null afterwards, as in the original."""
    if value.__class__ is dict and shape.is_map:
        return _remove_members(shape, value, doomed) or None if value and not shape.atomic else None
    if value.__class__ is list and shape.is_list:
        return _remove_items(shape, value, doomed) or None if shape.has_items(value) else None
    return value


def _remove_members(shape: Type, value: Object, doomed: Fields) -> Object:
    out: Object = {}
    for key, member in value.items():
        element, child = shape.descend(key)
        below = doomed.get(element)
        if below is None:
            out[key] = member
        elif below and SELF not in below:
            out[key] = remove(child, member, below) if child is not None else member
    return out


def _remove_items(shape: Type, value: list[Any], doomed: Fields) -> list[Any]:
    out: list[Any] = []
    child = shape.element
    for item in value:
        below = doomed.get(shape.item_element(item))
        if below is None:
            out.append(item)
        elif below and SELF not in below:
            out.append(remove(child, item, below) if child is not None else item)
    return out


def with_named_fields(shape: Type | None, fields: Fields) -> Fields:
    """`fields` with every declared field on the way to one: to own a.b.c is to own a, unless it is a map's key."""
    out: Fields = {}
    for key, child in fields.items():
        if not child:
            out[key] = child
            continue
        declared, below = _step(shape, key)
        named = with_named_fields(below, child)
        out[key] = {SELF: {}, **named} if declared and SELF not in named else named
    return out


def _step(shape: Type | None, key: str) -> tuple[bool, Type | None]:
    """Whether a path element is a declared field, and the type below it."""
    if shape is None:
        return False, None
    if key[0] == "f":
        known = shape.fields.get(key[2:]) if shape.is_map else None
        if known is not None:
            return True, known[1]
        return False, shape.element if shape.is_map else None
    return False, shape.element if key[0] == "k" and shape.is_list else None


def atomic_only(shape: Type | None, fields: Fields) -> Fields:
    """`fields` of an older schema with what is now one field owned as such."""
    out: Fields | None = None
    for key, child in fields.items():
        if not child:
            continue
        _, below = _step(shape, key)
        if below is None:
            continue
        kept = {} if below.atomic and not below.any_value else atomic_only(below, child)
        if kept is not child:
            if out is None:
                out = dict(fields)
            out[key] = kept
    return fields if out is None else out


# ---------------------------------------------------------------- checking


def check(shape: Type, value: Any) -> None:
    """Raises TypedError unless `value` fits and no list repeats an item."""
    errors: list[str] = []
    _check(shape, value, "", errors)
    if len(errors) == 1:
        raise TypedError(errors[0])
    if errors:
        raise TypedError("\n  ".join(["errors:", *errors]))


def _check(shape: Type, value: Any, path: str, errors: list[str]) -> None:
    if value is None or len(errors) >= MAX_ERRORS:
        return
    if shape.is_map and (value.__class__ is dict or not shape.any_value):
        if value.__class__ is dict:
            _check_members(shape, value, path, errors)
        else:
            errors.append(f"{path}: expected map, got &{{{go_value(value)}}}")
    elif shape.is_list and (value.__class__ is list or shape.scalar is None):
        if value.__class__ is list:
            _check_items(shape, value, path, errors)
        else:
            errors.append(f"{path}: expected list, got &{{{go_value(value)}}}")
    elif shape.scalar is not None:
        problem = _scalar_problem(shape.scalar, value)
        if problem:
            errors.append(f"{path}: {problem}")


def _check_members(shape: Type, value: Object, path: str, errors: list[str]) -> None:
    for key, member in value.items():
        child = shape.descend(key)[1]
        where = f"{path}.{key}"
        if child is None:
            errors.append(f"{where}: field not declared in schema")
            return
        _check(child, member, where, errors)


def _check_items(shape: Type, value: list[Any], path: str, errors: list[str]) -> None:
    child = shape.element
    assert child is not None
    seen: set[str] = set()
    for index, item in enumerate(value):
        where = f"[{index}]"
        if shape.has_items(value):
            try:
                element = shape.item_element(item)
            except ItemError as error:
                errors.append(f"{path}: element {index}: {error}")
                return
            where = element_text(element)
            if element in seen:
                errors.append(f"{path}: duplicate entries for key {where}")
            seen.add(element)
        _check(child, item, path + where, errors)


def _scalar_problem(scalar: str, value: Any) -> str:
    if scalar == "numeric":
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        return "" if fits else f"expected numeric (int or float), got {_go_type(value)}"
    if scalar == "untyped":
        return "" if isinstance(value, _ANY_SCALAR) else f"expected any scalar, got {_go_syntax(value)}"
    wanted = str if scalar == "string" else bool
    return "" if isinstance(value, wanted) else f"expected {scalar}, got {_go_syntax(value)}"


def _go_type(value: Any) -> str:
    """The type of a decoded value, as ``%T`` prints it."""
    for python_type, name in ((bool, "bool"), (str, "string"), (list, "[]interface {}")):
        if isinstance(value, python_type):
            return name
    return "map[string]interface {}" if isinstance(value, dict) else "float64"


def _go_syntax(value: Any) -> str:
    """A decoded value as ``%#v`` prints the wrapper it is held in."""
    return f"&value.valueUnstructured{{Value:{_go_literal(value)}}}"


def _go_literal(value: Any) -> str:
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, dict):
        return (
            "map[string]interface {}{"
            + ", ".join(f"{quote(key)}:{_go_literal(value[key])}" for key in sorted(value))
            + "}"
        )
    if isinstance(value, list):
        return f"[]interface {{}}{{{', '.join(_go_literal(item) for item in value)}}}"
    return "interface {}(nil)" if value is None else go_value(value)
