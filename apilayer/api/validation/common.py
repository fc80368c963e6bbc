"""What every rule needs: paths, reading of optional fields and the checks that recur."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api import field, names

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from apilayer.api.field import FieldError

Object = dict[str, Any]
Errors = list["FieldError"]

IMMUTABLE = "field is immutable"
NOT_NEGATIVE = "must be greater than or equal to 0"


def child(path: str, name: str) -> str:
    """`path` extended by a field name."""
    return f"{path}.{name}" if path else name


def part(obj: Mapping[str, Any], name: str) -> Object:
    """The object at `name`, {} when absent."""
    return obj.get(name) or {}


def items(obj: Mapping[str, Any], name: str) -> list[Any]:
    """The list at `name`, [] when absent."""
    return obj.get(name) or []


def indexed(obj: Mapping[str, Any], name: str, path: str) -> list[tuple[str, Any]]:
    """Path and value of each item of the list at `name`."""
    if not obj.get(name):
        return []
    return [(f"{child(path, name)}[{index}]", item) for index, item in enumerate(items(obj, name))]


def text(obj: Mapping[str, Any], name: str) -> str:
    """The string at `name`, "" when absent."""
    return obj.get(name) or ""


def named(path: str, value: str, rule: Callable[[str], list[str]]) -> Errors:
    """One error for each message of a name rule."""
    messages = rule(value)
    return [field.invalid(path, value, message) for message in messages] if messages else []


def required_text(obj: Mapping[str, Any], path: str, *keys: str) -> Errors:
    """An error for each of the fields `keys` that is empty."""
    return [field.required(f"{path}.{key}") for key in keys if not obj.get(key)]


def non_negative(obj: Mapping[str, Any], path: str, *keys: str) -> Errors:
    """An error for each number among the fields `keys` that is negative."""
    return [
        field.invalid(f"{path}.{key}", obj[key], NOT_NEGATIVE)
        for key in keys
        if isinstance(obj.get(key), int) and obj[key] < 0
    ]


def supported(path: str, value: Any, valid: Collection[str]) -> Errors:
    """An error when `value` is none of `valid`."""
    return [] if value in valid else [field.not_supported(path, value, valid)]


def ranged(path: str, value: Any, low: int, high: int) -> Errors:
    """An error when the number `value`, if given, is not from `low` to `high`."""
    if value is None:
        return []
    return [field.invalid(path, value, message) for message in names.in_range(value, low, high)]


def immutable(path: str, new: Any, old: Any, value: Any = None) -> Errors:
    """An error when the value changed; `value` is what to show instead of `new`."""
    if new == old:
        return []
    return [field.invalid(path, new if value is None else value, IMMUTABLE)]


def duplicates(path: str, values: Sequence[str]) -> Errors:
    """An error for each value that an earlier one equals, at its index."""
    seen: set[str] = set()
    wrong = []
    for index, value in enumerate(values):
        if value in seen:
            wrong.append(field.duplicate(f"{path}[{index}]", value))
        seen.add(value)
    return wrong


def int_or_percent(value: int | str, path: str) -> Errors:
    """A number that is not negative, or a percentage."""
    if isinstance(value, str):
        return [field.invalid(path, value, message) for message in names.percent(value)]
    return [field.invalid(path, value, NOT_NEGATIVE)] if value < 0 else []


def count_of(value: int | str) -> int:
    """The number, or that of the percentage; a malformed percentage counts as 0."""
    if isinstance(value, int):
        return value
    return 0 if names.percent(value) else int(value[:-1][:9])


def no_more_than_all(value: int | str, path: str) -> Errors:
    """A percentage, unless malformed, is at most 100; any number is fine."""
    if isinstance(value, str) and count_of(value) > 100:
        return [field.invalid(path, value, "must not be greater than 100%")]
    return []
