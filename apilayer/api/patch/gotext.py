"""Values as Go prints them in the errors of patches: with ``%v``, or as JSON in the order of its structs."""

from __future__ import annotations

from typing import Any

from apilayer.api.types import message


def go_value(value: Any) -> str:
    """`value`, a decoded JSON value, as ``fmt.Sprintf("%v", value)``: ``map[a:1 b:[x <nil>]]``."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_value(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(go_value(item) for item in value) + "]"
    if isinstance(value, float):
        return _go_float(value)
    return str(value)


def _go_float(value: float) -> str:
    """Shortest form that reads back the same; exponents from 1e+21 on and below 1e-4, as ``%v`` has it."""
    if value and not 1e-4 <= abs(value) < 1e21:
        digits, _, exponent = f"{value!r}".partition("e")
        if not exponent:
            digits, _, exponent = f"{value:.17g}".partition("e")
        return f"{digits.removesuffix('.0')}e{int(exponent):+03d}"
    text = repr(value)
    if "e" in text:
        text = f"{value:.0f}" if abs(value) >= 1 else f"{value:.10f}".rstrip("0")
    return text.removesuffix(".0")


def go_type(value: Any) -> str:
    """The Go type that a decoded JSON value has."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "bool"
    for python_type, name in (
        (dict, "map[string]interface {}"),
        (list, "[]interface {}"),
        (str, "string"),
        (int, "int64"),
    ):
        if isinstance(value, python_type):
            return name
    return "float64"


def struct_order(value: Any, name: str) -> Any:
    """`value`, a message `name`, with its members in the order of the Go struct; unknown ones come last."""
    if not isinstance(value, dict):
        return value
    fields = message(name).json_fields
    ordered = {key: value[key] for key in fields if key in value}
    for key, member in (ordered | value).items():
        field = fields.get(key)
        if field is None or not field.is_message or field.is_map:
            ordered[key] = member
        elif isinstance(member, list):
            ordered[key] = [struct_order(item, field.type) for item in member]
        else:
            ordered[key] = struct_order(member, field.type)
    return ordered
