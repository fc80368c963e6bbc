"""JSON to messages, as etcd's gateway reads it: what is no base64 is refused, where protobuf's own reader takes what it
can make of it for the bytes that were meant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf import json_format

from kvraft.errors import InvalidArgument

if TYPE_CHECKING:
    from google.protobuf.message import Message

    M = TypeVar("M", bound=Message)

MAX_DEPTH = 64


def _base64(alphabet: str) -> str:
    one = f"[{alphabet}]"
    return f"(?:{one}{{4}})*(?:{one}{{2}}(?:==)?|{one}{{3}}=?)?"


_BASE64 = re.compile(f"{_base64('A-Za-z0-9+/')}|{_base64('A-Za-z0-9_-')}")
"""The usual alphabet or the one for URLs, padded or not."""


def from_json(found: object, message: M) -> M:
    """Fill ``message`` from an object; fields that it does not know are ignored. Raises InvalidArgument."""
    if not isinstance(found, dict):
        raise InvalidArgument("json: cannot unmarshal what is no object")
    try:
        json_format.ParseDict(found, message, ignore_unknown_fields=True, max_recursion_depth=MAX_DEPTH)
    except (json_format.ParseError, ValueError, RecursionError) as error:
        raise InvalidArgument(str(error)) from error
    _check_bytes(found, message.DESCRIPTOR)
    return message


def _check_bytes(found: dict[str, Any], descriptor: Any) -> None:
    """Raises InvalidArgument for bytes that are no base64. ``found`` has been read, so its shape is right."""
    for name, value in found.items():
        field = descriptor.fields_by_name.get(name) or descriptor.fields_by_camelcase_name.get(name)
        if field is None or value is None:
            continue
        each = value if isinstance(value, list) else [value]
        if field.message_type is not None:
            for inner in each:
                _check_bytes(inner, field.message_type)
        elif field.type == field.TYPE_BYTES:
            for text in each:
                if _BASE64.fullmatch(text) is None:
                    shown = text if len(text) <= 64 else f"{text[:64]}..."
                    raise InvalidArgument(f'invalid value for bytes field {field.name}: "{shown}"')
