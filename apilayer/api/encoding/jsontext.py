"""JSON text to plain values, within bounds, and Go's words for what is wrong with it.

orjson does the work; the standard library's parser is asked only to explain an error or to show repeated
names, which orjson does not report.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from apilayer.api.errors import DecodeError

MAX_DEPTH = 64
MAX_FLAT_BYTES = 1024  # in longer ones there are so many brackets that counting them is in vain
MAX_INTEGER_DIGITS = 100  # longer ones cannot be a value of any field
_ESCAPED_COLONS = (b"\\u003a", b"\\u003A")
_DEEP_LINE = b"\n" + b" " * (2 * MAX_DEPTH)  # how far what is in the deepest object that may be is set in
_DEEP_BYTES = 2 * MAX_DEPTH * MAX_DEPTH  # what leads to such a line and back from it is at least so long
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


class Pairs(list[tuple[str, Any]]):
    """A JSON object as its members in document order, repeated names included."""


class Number(str):
    """A JSON number that is no integer, or a very long one, as its digits."""

    __slots__ = ()


class DepthError(DecodeError):
    """The document nests deeper than `MAX_DEPTH`."""

    def __init__(self) -> None:
        super().__init__(f"exceeded max depth of {MAX_DEPTH}")


def loads(body: bytes) -> Any:
    """The value that `body` writes; DecodeError with Go's message for bad JSON, DepthError when too deep."""
    value = _parsed(body)
    if len(body) > MAX_FLAT_BYTES or body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        check_depth(value)
    return value


def loads_checked(body: bytes) -> tuple[Any, bool]:
    """As `loads`, and whether some object in `body` may have a repeated name; False is certain."""
    value = _parsed(body)
    return value, _may_repeat_names(body, check_depth(value))


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if "ecursion" in str(error):
            raise DepthError from error
        return _loads_leniently(body)


def check_depth(value: Any) -> bytes:
    """Raise DepthError when objects and lists in `value` nest deeper than `MAX_DEPTH`; else `value` as JSON."""
    written = b""
    try:
        written = orjson.dumps(value, option=orjson.OPT_INDENT_2)
        if len(written) < _DEEP_BYTES or _DEEP_LINE not in written:
            return written
    except orjson.JSONEncodeError:  # too deep by far, or a number that is too large
        pass
    level = [value] if isinstance(value, (dict, list)) else []
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise DepthError
        level = [
            item
            for parent in level
            for item in (parent.values() if parent.__class__ is dict else parent)
            if item.__class__ is dict or item.__class__ is list
        ]
    return written


def _may_repeat_names(body: bytes, written: bytes) -> bool:
    """A repeated name takes its colon with it when the value is written anew.

    Nothing adds one but an escaped colon.
    """
    if body.count(b":") != written.count(b":"):
        return True
    return b"\\u" in body and any(escaped in body for escaped in _ESCAPED_COLONS)


def loads_pairs(body: bytes) -> Any:
    """`body`, which `loads` has accepted, with objects as `Pairs` and fractions as `Number`."""
    text = body.decode("utf-8", "replace")
    return json.loads(text, object_pairs_hook=Pairs, parse_float=Number, parse_int=_integer)


def _integer(digits: str) -> int | Number:
    return int(digits) if len(digits) <= MAX_INTEGER_DIGITS else Number(digits)


def _reject_constant(name: str) -> Any:
    raise ValueError(f"invalid character '{name[0]}' looking for beginning of value")


def _loads_leniently(body: bytes) -> Any:
    """Parse what Go accepts and orjson does not (bad UTF-8, lone surrogates); DecodeError otherwise."""
    text = body.decode("utf-8", "replace")
    try:
        value = json.loads(text, parse_constant=_reject_constant, parse_int=_integer)
    except RecursionError as error:
        raise DepthError from error
    except json.JSONDecodeError as error:
        raise DecodeError(_go_syntax_error(text, error)) from error
    except ValueError as error:
        raise DecodeError(str(error)) from error
    try:
        return orjson.loads(_repair(json.dumps(value, ensure_ascii=False)))
    except orjson.JSONDecodeError as error:  # a number beyond all floats is all that is left to be wrong
        raise DecodeError("json: cannot unmarshal number into Go value of type float64") from error


def _repair(text: str) -> str:
    """`text` with lone surrogates, which UTF-8 cannot carry, replaced as Go does."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _go_syntax_error(text: str, error: json.JSONDecodeError) -> str:
    position = error.pos
    if error.msg.startswith("Unterminated string"):
        return "unexpected end of JSON input"
    if "control character" in error.msg:
        return f"invalid character {_quote_char(text[position])} in string literal"
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    if position >= len(text):
        return "unexpected end of JSON input"
    head = f"invalid character {_quote_char(text[position])}"
    if error.msg.startswith("Extra data"):
        return f"{head} after top-level value"
    if "escape" in error.msg:
        return f"invalid character {_quote_char(text[position + 1 : position + 2] or ' ')} in string escape code"
    if "property name" in error.msg:
        return f"{head} looking for beginning of object key string"
    if "':' delimiter" in error.msg:
        return f"{head} after object key"
    if "',' delimiter" in error.msg:
        inside = _enclosing(text[: error.pos])
        return f"{head} after {'object key:value pair' if inside == '{' else 'array element'}"
    return f"{head} looking for beginning of value"


def _enclosing(text: str) -> str:
    """The bracket that is still open at the end of `text`."""
    depth = 0
    for char in reversed(_STRING.sub("", text)):
        if char in "]}":
            depth += 1
        elif char in "[{":
            if depth == 0:
                return char
            depth -= 1
    return "{"


def _quote_char(char: str) -> str:
    if char == "'":
        return "'\\''"
    if char == '"':
        return "'\"'"
    escapes = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"}
    if char in escapes:
        return f"'{escapes[char]}'"
    return f"'{char}'" if char.isprintable() else f"'\\x{ord(char):02x}'"
