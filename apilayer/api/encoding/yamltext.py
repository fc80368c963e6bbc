"""YAML text to JSON values, as ``sigs.k8s.io/yaml`` turns it into JSON: YAML 1.1 scalars, string keys.

Built from parser events on an explicit stack, so neither deep nesting nor aliases that multiply can hurt:
depth and the number of values that aliases add are bounded.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml._yaml import CParser

from apilayer.api.encoding import base64text
from apilayer.api.encoding.jsontext import MAX_DEPTH, DepthError
from apilayer.api.errors import DecodeError
from apilayer.api.gotext import quote

MAX_ALIASED_VALUES = 100_000
_MERGE = "<<"
_TRUE = frozenset({"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
_FALSE = frozenset({"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_NOT_A_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_INT = re.compile(r"([-+]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|0[0-7]+|[1-9][0-9]*|0)", re.ASCII)
_PREFIX = "tag:yaml.org,2002:"


class _Mapping(dict[str, Any]):
    """A mapping being built; `merges` are values of ``<<`` keys, applied when it is complete."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.merges: list[Any] = []


def loads(body: bytes) -> tuple[Any, list[str]]:
    """The first document in `body` as JSON values, and a text for each repeated key.

    Raises DecodeError with the message of the Go library for bad YAML and for values JSON cannot hold.
    """
    try:
        return _Builder().build(body)
    except yaml.MarkedYAMLError as error:
        if error.problem and "nesting depth" in error.problem:  # newer parsers have a bound of their own
            raise DepthError from error
        mark = error.problem_mark
        line = f"line {mark.line + 1}: " if mark is not None and mark.line else ""
        raise DecodeError(f"yaml: {line}{error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DecodeError(f"yaml: {error}") from error


class _Builder:
    """One document: the stack of open collections, the anchors and what was repeated."""

    def __init__(self) -> None:
        self._stack: list[tuple[_Mapping | list[Any], str | None]] = []
        self._keys: list[tuple[str, int] | None] = []
        self._anchors: dict[str, tuple[Any, int, int]] = {}
        self._open_anchors: set[str] = set()
        self._aliased = 0
        self._repeated: list[str] = []
        self._root: Any = None

    def build(self, body: bytes) -> tuple[Any, list[str]]:
        parser = CParser(body)
        try:
            while parser.check_event():
                event: Any = parser.get_event()
                if isinstance(event, yaml.DocumentEndEvent):
                    break
                self._take(event)
        finally:
            parser.dispose()
        return self._root, self._repeated

    def _take(self, event: yaml.Event) -> None:
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            if len(self._stack) >= MAX_DEPTH:
                raise DepthError
            line = _line(event)
            self._stack.append((_Mapping(line) if isinstance(event, yaml.MappingStartEvent) else [], event.anchor))
            self._keys.append(None)
            if event.anchor:
                self._open_anchors.add(event.anchor)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            container, anchor = self._stack.pop()
            self._keys.pop()
            if isinstance(container, _Mapping):
                _apply_merges(container)
            if anchor:
                self._open_anchors.discard(anchor)
                self._anchors[anchor] = (container, *_measure(container))
            self._add(container, 0)
        elif isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
            if event.anchor:
                self._anchors[event.anchor] = (value, 1, 0)
            plain = not event.style
            self._add(value, _line(event), merge=plain and event.value == _MERGE)
        elif isinstance(event, yaml.AliasEvent):
            self._add(self._resolve(event.anchor or ""), _line(event))

    def _resolve(self, anchor: str) -> Any:
        if anchor in self._open_anchors:
            raise DecodeError(f"yaml: anchor '{anchor}' value contains itself")
        if anchor not in self._anchors:
            raise DecodeError(f"yaml: unknown anchor '{anchor}' referenced")
        value, size, depth = self._anchors[anchor]
        self._aliased += size
        if self._aliased > MAX_ALIASED_VALUES:
            raise DecodeError("yaml: document contains excessive aliasing")
        if len(self._stack) + depth > MAX_DEPTH:
            raise DepthError
        return value

    def _add(self, value: Any, line: int, *, merge: bool = False) -> None:
        if not self._stack:
            self._root = value
            return
        container = self._stack[-1][0]
        if isinstance(container, list):
            container.append(value)
            return
        key = self._keys[-1]
        if key is None:
            self._keys[-1] = (_MERGE + "\0" if merge else _key(value), line)
            return
        self._keys[-1] = None
        name, key_line = key
        if name == _MERGE + "\0":
            container.merges.append(value)
            return
        if name in container:
            self._repeated.append(f"line {key_line}: key {quote(name)} already set in map")
        container[name] = value


def _line(event: yaml.Event) -> int:
    mark = event.start_mark
    return mark.line + 1 if mark is not None else 0


def _apply_merges(mapping: _Mapping) -> None:
    for merged in mapping.merges:
        for source in merged if isinstance(merged, list) else [merged]:
            if not isinstance(source, dict):
                raise DecodeError("yaml: map merge requires map or sequence of maps as the value")
            for key, value in source.items():
                mapping.setdefault(key, value)
    mapping.merges = []


def _measure(value: Any) -> tuple[int, int]:
    """Number of values in `value` and how deep it nests; bounded by what was built so far."""
    size, depth, level = 0, 0, [value]
    while level:
        size += len(level)
        if size > MAX_ALIASED_VALUES:
            return size, depth
        nested = [item for item in level if isinstance(item, (dict, list))]
        depth += bool(nested)
        level = [item for parent in nested for item in (parent.values() if isinstance(parent, dict) else parent)]
    return size, depth


def _key(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if value is None:
        return "null"
    raise DecodeError("yaml: invalid map key: keys must be scalars")


def _scalar(event: yaml.ScalarEvent) -> Any:
    text, tag = event.value, event.tag
    if tag is None or tag == "!":
        return text if event.style or tag == "!" else resolve(text)
    if tag == _PREFIX + "str":
        return text
    if tag == _PREFIX + "binary":
        try:
            return base64text.decode("".join(text.split())).decode("utf-8", "replace")
        except base64text.Base64Error as error:
            raise DecodeError(f"yaml: !!binary value contains invalid base64 data: {error}") from error
    return resolve(text)


def resolve(text: str) -> Any:
    """The value of a plain scalar by YAML 1.1 rules; times stay text, as in the Go library."""
    first = text[:1]
    if first.isalpha() or first in ("~", ""):
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
        return None if text in _NULL else text
    if not (first.isdigit() or first in "+-."):
        return text
    if _NOT_A_NUMBER.fullmatch(text):
        raise DecodeError(f"json: unsupported value: {text}")
    digits = text.replace("_", "") if "_" in text else text
    whole = _INT.fullmatch(digits)
    if whole is not None and len(digits) < 64:
        return _integer(whole[1], whole[2])
    if _FLOAT.fullmatch(digits):
        number = float(digits)
        if number in (float("inf"), float("-inf")):
            return text
        return int(number) if number.is_integer() and abs(number) < 2**63 else number
    return text


def _integer(sign: str, digits: str) -> int | float:
    base = {"x": 16, "b": 2, "o": 8}.get(digits[1:2].lower(), 8 if digits[0] == "0" and len(digits) > 1 else 10)
    value = int(digits[2:] if digits[1:2].isalpha() else digits, base)
    value = -value if sign == "-" else value
    return value if -(2**63) <= value < 2**64 else float(value)
