"""Why a strategically merged document is no object of its kind, in the words of Kubernetes' converter.

Strategic merge patch goes from plain values to Go structs without JSON in between, so a wrong type is worded
differently than in a request body: ``cannot restore slice from map``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api.types import message

if TYPE_CHECKING:
    from apilayer.api.types import Field, Message

_KINDS = {"string": "string", "bool": "bool", "int32": "int32", "int64": "int64"}


def restore_error(document: dict[str, Any], name: str) -> str | None:
    """What the converter says about the first value of a wrong type in `document`, a message `name`.

    None when it finds none: times, quantities and the like are not looked into.
    """
    return _message_error(document, message(name))


def go_kind(value: Any) -> str:
    """The Go kind of a decoded JSON value."""
    for python_type, kind in (
        (bool, "bool"),
        (dict, "map"),
        (list, "slice"),
        (str, "string"),
        (int, "int64"),
    ):
        if isinstance(value, python_type):
            return kind
    return "float64"


def _message_error(value: Any, shape: Message) -> str | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        return f"cannot restore struct from: {go_kind(value)}"
    fields = shape.json_fields
    wrong = (_field_error(value[name], field) for name, field in fields.items() if name in value)
    return next((text for text in wrong if text), None)


def _field_error(value: Any, field: Field) -> str | None:
    if value is None:
        return None
    items: list[Any] = [value]
    if field.repeated:
        if not isinstance(value, list):
            return f"cannot restore slice from {go_kind(value)}"
        items = value
    elif field.is_map:
        if not isinstance(value, dict):
            return f"cannot restore map from {go_kind(value)}"
        items = list(value.values())
    wrong = (_item_error(item, field) for item in items)
    return next((text for text in wrong if text), None)


def _item_error(value: Any, field: Field) -> str | None:
    if field.is_message:
        return _message_error(value, message(field.type))
    wanted = _KINDS.get(field.type)
    if wanted is None or value is None:
        return None
    found = go_kind(value)
    if found == wanted or (found == "int64" and wanted == "int32"):
        return None
    if found == "float64" and wanted in ("int32", "int64") and value == int(value):
        return None
    numeric = ("int32", "int64", "float64")
    if (found in numeric and wanted in numeric) or (found == "int64" and wanted == "string"):
        go_type = (field.go_name or wanted) if wanted == "string" else wanted
        return f"cannot convert {found} to {go_type}"
    return f"unrecognized type: {wanted}"
