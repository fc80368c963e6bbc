"""What is wrong with a document, in the words of Kubernetes' JSON decoder: the path taken only when needed.

A walk in document order collects unknown and repeated fields, remembers the first field of a wrong type and
stops at a bad time or quantity, just as Go's decoder does. What is left over is a plain document that fits.
"""

from __future__ import annotations

from typing import Any

from apilayer.api import quantity
from apilayer.api.decode.convert import INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, SCHEMA
from apilayer.api.encoding import base64text, gotime
from apilayer.api.encoding.jsontext import Number, Pairs
from apilayer.api.errors import DecodeError
from apilayer.api.gotext import json_text, quote
from apilayer.api.types import SCHEMA_UNIONS, Field, message

MAX_STRICT_ERRORS = 100
MAX_LITERAL = 64  # characters of a number that a message repeats
_INT_RANGE = {"int32": (INT32_MIN, INT32_MAX), "int64": (INT64_MIN, INT64_MAX)}


class Checker:
    """One walk over one document; `strict_errors` has the unknown and repeated fields afterwards."""

    def __init__(self) -> None:
        self.strict_errors: list[str] = []
        self._type_error: DecodeError | None = None
        self._fields: list[str] = []

    def clean(self, document: Pairs | dict[str, Any], name: str) -> dict[str, Any]:
        """`document` without what message `name` does not know; DecodeError when it does not fit."""
        cleaned = self._message(document, name, "")
        if self._type_error is not None:
            raise self._type_error
        return cleaned

    def _strict(self, text: str) -> None:
        if len(self.strict_errors) < MAX_STRICT_ERRORS and text not in self.strict_errors:
            self.strict_errors.append(text)

    def _message(self, document: Pairs | dict[str, Any], name: str, path: str) -> dict[str, Any]:
        fields = message(name).json_fields
        struct = message(name).short_name
        out: dict[str, Any] = {}
        seen: set[str] = set()
        for key, value in _members(document):
            where = f"{path}.{key}" if path else key
            field = fields.get(key)
            if field is None:
                self._strict(f"unknown field {quote(where)}")
                continue
            if key in seen:
                self._strict(f"duplicate field {quote(where)}")
            seen.add(key)
            self._fields.append(key)
            out[key] = self._field(value, field, struct, where)
            self._fields.pop()
        return out

    def _field(self, value: Any, field: Field, struct: str, path: str) -> Any:
        if value is None:
            return None
        if field.repeated:
            if not isinstance(value, list) or isinstance(value, Pairs):
                return self._mismatch(value, field.go_type, struct)
            return [self._single(item, field, struct, f"{path}[{index}]") for index, item in enumerate(value)]
        if field.is_map:
            return self._map(value, field, struct, path)
        return self._single(value, field, struct, path)

    def _map(self, value: Any, field: Field, struct: str, path: str) -> Any:
        if not isinstance(value, (Pairs, dict)):
            return self._mismatch(value, field.go_type, struct)
        out: dict[str, Any] = {}
        for key, item in _members(value):
            if key in out:
                self._strict(f"duplicate field {quote(f'{path}.{key}')}")
            out[key] = self._single(item, field, struct, f"{path}.{key}")
        return out

    def _single(self, value: Any, field: Field, struct: str, path: str) -> Any:
        if value is None:
            return None
        if isinstance(value, float):
            value = Number(json_text(value))
        if field.is_message:
            if isinstance(value, (Pairs, dict)):
                return self._message(value, field.type, path)
            return self._mismatch(value, _item_type(field), struct)
        if field.type in ("FieldsV1", "RawExtension", "JSON"):
            return self._raw(value, path)
        if field.type in SCHEMA_UNIONS:
            return self._schema_union(value, field, struct, path)
        if field.type == "Strings":
            fits = isinstance(value, list) and all(type(item) is str for item in value)
            return value if fits else self._mismatch(value, field.go_type, struct)
        if field.type in ("Quantity", "Time", "MicroTime", "IntOrString"):
            return self._wrapper(value, field, struct)
        return self._scalar(value, field, struct)

    def _schema_union(self, value: Any, field: Field, struct: str, path: str) -> Any:
        """A schema, a list of schemas or of names, or a bool."""
        if isinstance(value, (Pairs, dict)):
            return self._message(value, SCHEMA, path)
        if isinstance(value, list):
            return [
                item
                if field.type == "SchemaOrStrings" and type(item) is str
                else self._schema_union(item, field, struct, f"{path}[{index}]")
                for index, item in enumerate(value)
            ]
        if isinstance(value, bool):
            return value
        return self._mismatch(value, field.go_type, struct)

    def _raw(self, value: Any, path: str) -> Any:
        if isinstance(value, Pairs):
            return {key: self._raw(item, path) for key, item in value}
        if isinstance(value, list):
            return [self._raw(item, path) for item in value]
        return float(value) if isinstance(value, Number) else value

    def _scalar(self, value: Any, field: Field, struct: str) -> Any:
        kind = field.type
        if kind in ("string", "bytes") and type(value) is str:
            if kind == "bytes":
                try:
                    base64text.decode(value)
                except base64text.Base64Error as error:
                    self._remember(DecodeError(str(error)))
                    return None
            return value
        if kind == "bool" and type(value) is bool:
            return value
        if kind == "double" and isinstance(value, (int, Number)) and not isinstance(value, bool):
            return float(value) if isinstance(value, Number) else value
        if kind in _INT_RANGE and isinstance(value, (int, Number)) and not isinstance(value, bool):
            low, high = _INT_RANGE[kind]
            if isinstance(value, int) and low <= value <= high:
                return value
            return self._mismatch(value, _item_type(field), struct, literal=_literal(value))
        return self._mismatch(value, _item_type(field), struct)

    def _wrapper(self, value: Any, field: Field, struct: str) -> Any:
        try:
            if field.type == "Quantity":
                text = str(value).strip() if type(value) in (str, int, Number) else "x"
                return quantity.canonical(text)
            if field.type == "IntOrString":
                return self._int_or_string(value, struct)
            if type(value) is not str:
                raise self._unmarshal_error(value, "string", struct)
            if field.type == "MicroTime":
                return gotime.canonical_micro_time(value)
            return gotime.canonical_time(value)
        except (quantity.QuantityError, gotime.TimeError) as error:
            raise DecodeError(str(error)) from error

    def _int_or_string(self, value: Any, struct: str) -> int | str:
        if type(value) is str:
            return value
        if type(value) is int and INT32_MIN <= value <= INT32_MAX:
            return value
        literal = _literal(value) if json_kind(value) == "number" else ""
        raise self._unmarshal_error(value, "int32", struct, literal)

    def _unmarshal_error(self, value: Any, go_type: str, struct: str, literal: str = "") -> DecodeError:
        where = f"{struct}.{'.'.join(self._fields)}"
        return DecodeError(
            f"json: cannot unmarshal {json_kind(value)}{literal} into Go struct field {where} of type {go_type}"
        )

    def _mismatch(self, value: Any, go_type: str, struct: str, literal: str = "") -> None:
        self._remember(self._unmarshal_error(value, go_type, struct, literal))

    def _remember(self, error: DecodeError) -> None:
        if self._type_error is None:
            self._type_error = error


def _literal(value: int | Number) -> str:
    text = str(value)
    return f" {text[:MAX_LITERAL]}..." if len(text) > MAX_LITERAL else f" {text}"


def _members(document: Pairs | dict[str, Any]) -> list[tuple[str, Any]]:
    return document if isinstance(document, Pairs) else list(document.items())


def _item_type(field: Field) -> str:
    item = field.go_type
    if field.repeated:
        return item.removeprefix("[]")
    return item.removeprefix("map[string]") if field.is_map else item


def json_kind(value: Any) -> str:
    """What Go's decoder calls a value of this type in its messages."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float, Number)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, (dict, Pairs)) else "array"
