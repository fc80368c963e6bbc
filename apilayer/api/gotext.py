"""Text as Go's standard library prints it: quoted strings and JSON of values.

Kubernetes' messages are made with Go's ``%q`` and ``encoding/json``; clients and people compare them.
"""

from __future__ import annotations

from typing import Any

import orjson

_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def quote(text: str) -> str:
    """`text` in double quotes with escapes, as Go's ``strconv.Quote`` (``%q``) writes it."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_ESCAPES.get(char) or _quote_rune(char) for char in text) + '"'


def _quote_rune(char: str) -> str:
    code = ord(char)
    if char.isprintable():
        return char
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def json_text(value: Any) -> str:
    """`value` as compact JSON the way Go's ``encoding/json`` writes it (``<``, ``>`` and ``&`` escaped)."""
    text = orjson.dumps(value).decode()
    for char, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        if char in text:
            text = text.replace(char, escape)
    return text


def parse_bool(text: str) -> bool:
    """`text` as Go's ``strconv.ParseBool`` reads it; what that refuses is False."""
    return text in ("1", "t", "T", "true", "TRUE", "True")


def string_slice(values: list[str]) -> str:
    """`values` as Go's ``%#v`` prints a ``[]string``."""
    return "[]string{" + ", ".join(quote(value) for value in values) + "}"
