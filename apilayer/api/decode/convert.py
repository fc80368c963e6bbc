"""JSON documents to objects in canonical form: the fast path that every well-formed request takes.

Per message one closure, compiled once from the type table. It copies the known fields, checks their types,
drops zero values where Kubernetes would not write them and adds those that it always writes. Anything out
of the ordinary (unknown field, wrong type, bad time) raises ValueError; `check` then finds out what is wrong.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from apilayer.api import quantity
from apilayer.api.encoding import base64text, gotime
from apilayer.api.remembered import SPECS, remembered
from apilayer.api.types import Field, message

if TYPE_CHECKING:
    from collections.abc import Callable

    Converter = Callable[[Any], Any]
    # What to do with a field: the exact Python class of its value (None: the converter decides), the
    # converter (None: take the value as it is) and whether to keep a zero value.
    Plan = tuple[type | None, Converter | None, bool]

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


class UnfitError(ValueError):
    """The document does not fit the message in the plain way."""


def _int32(value: int) -> int:
    if INT32_MIN <= value <= INT32_MAX:
        return value
    raise UnfitError


def _int64(value: int) -> int:
    if INT64_MIN <= value <= INT64_MAX:
        return value
    raise UnfitError


def _quantity(value: Any) -> str:
    if type(value) is str:
        return quantity.canonical(value.strip())
    if type(value) is int:
        return quantity.canonical(str(value))
    raise UnfitError  # floats: the number's own digits are needed, which only the slow parse keeps


def _int_or_string(value: Any) -> int | str:
    if type(value) is str:
        return value
    if type(value) is int:
        return _int32(value)
    raise UnfitError


def _double(value: Any) -> float:
    if type(value) is int or type(value) is float:
        return value
    raise UnfitError


def _strings(values: list[Any]) -> list[Any]:
    if all(type(value) is str for value in values):
        return values
    raise UnfitError


SCHEMA = "apiextensions.k8s.io/v1.JSONSchemaProps"


def _schema_union(value: Any) -> Any:
    """The one of a schema, a list of schemas or of names, or a bool that stands in the document."""
    if type(value) is dict:
        return converter(SCHEMA)(value)
    if type(value) is list:
        return [_schema_union(item) if type(item) is not str else item for item in value]
    if type(value) is bool:
        return value
    raise UnfitError


_SCALARS: dict[str, tuple[type | None, Converter | None]] = {
    "string": (str, None),
    "bool": (bool, None),
    "int32": (int, _int32),
    "int64": (int, _int64),
    "bytes": (str, base64text.canonical),
    "Time": (str, gotime.canonical_time),
    "MicroTime": (str, gotime.canonical_micro_time),
    "Quantity": (None, _quantity),
    "IntOrString": (None, _int_or_string),
    "FieldsV1": (None, None),
    "RawExtension": (None, None),
    "double": (None, _double),
    "JSON": (None, None),
    "Strings": (list, _strings),
    "SchemaOrBool": (None, _schema_union),
    "SchemaOrArray": (None, _schema_union),
    "SchemaOrStrings": (None, _schema_union),
}
ZERO_SCALARS: dict[str, Any] = {
    "string": "",
    "bool": False,
    "int32": 0,
    "int64": 0,
    "bytes": None,
    "Time": None,
    "MicroTime": None,
    "Quantity": "0",
    "IntOrString": 0,
    "FieldsV1": None,
    "RawExtension": None,
    "double": 0,
    "JSON": None,
    "Strings": None,
    "SchemaOrBool": None,
    "SchemaOrArray": None,
    "SchemaOrStrings": None,
}


def _list_of(
    item_class: type | None, convert: Converter | None, zero: Callable[[], Any], *, keep_empty: bool
) -> Converter:
    def convert_list(values: list[Any]) -> list[Any] | None:
        out = []
        for value in values:
            if type(value) is item_class or (item_class is None and value is not None):
                out.append(value if convert is None else convert(value))
            elif value is None:
                out.append(zero())
            else:
                raise UnfitError
        return out if out or keep_empty else None

    return convert_list


def _map_of(item_class: type | None, convert: Converter | None, zero: Callable[[], Any]) -> Converter:
    def convert_map(values: dict[str, Any]) -> dict[str, Any] | None:
        out = {}
        for key, value in values.items():
            if type(value) is item_class or (item_class is None and value is not None):
                out[key] = value if convert is None else convert(value)
            elif value is None:
                out[key] = zero()
            else:
                raise UnfitError
        return out or None

    return convert_map


def _item(field: Field) -> tuple[type | None, Converter | None, Callable[[], Any]]:
    if field.is_message:
        convert = converter(field.type)
        return dict, convert, lambda: convert({})
    item_class, scalar = _SCALARS[field.type]
    zero = "" if field.type == "bytes" else ZERO_SCALARS[field.type]
    return item_class, scalar, lambda: zero


def is_value_struct(field: Field) -> bool:
    """Whether the field is a struct by value: written even when empty."""
    single = not (field.repeated or field.is_map or field.pointer)
    return single and not field.omit_zero and (field.is_message or field.type in _VALUE_WRAPPERS)


_VALUE_WRAPPERS = frozenset({"Time", "MicroTime", "Quantity", "IntOrString"})


def _plan(field: Field) -> Plan:
    keep = field.always or field.pointer or is_value_struct(field)
    item_class, convert, zero = _item(field)
    if field.repeated:
        return list, _list_of(item_class, convert, zero, keep_empty=field.pointer), keep
    if field.is_map:
        return dict, _map_of(item_class, convert, zero), keep
    return item_class, convert, keep


def zero_value(field: Field) -> Callable[[], Any]:
    """Maker of the value that an absent field is written with."""
    if field.repeated or field.is_map or field.pointer:
        return lambda: None
    if field.is_message:
        convert = converter(field.type)
        return lambda: convert({})
    value = ZERO_SCALARS[field.type]
    return lambda: value


@functools.cache
def converter(name: str) -> Converter:
    """The converter for a message: a dict in, a new dict in canonical form out; ValueError when it does not fit."""
    plans: dict[str, Plan] = {}
    filled: list[tuple[str, Callable[[], Any]]] = []

    def compile_plans() -> None:
        """On first use, because messages may contain themselves."""
        fields = message(name).json_fields
        filled.extend(
            (key, zero_value(field)) for key, field in fields.items() if field.always or is_value_struct(field)
        )
        plans.update({key: _plan(field) for key, field in fields.items()})

    def convert(document: dict[str, Any]) -> dict[str, Any]:
        if not plans:
            compile_plans()
        out: dict[str, Any] = {}
        for key, value in document.items():
            plan = plans.get(key)
            if plan is None:
                raise UnfitError
            expected, change, keep = plan
            if type(value) is expected or (expected is None and value is not None):
                if change is not None:
                    value = change(value)
                if value or keep:
                    out[key] = value
            elif value is not None:
                raise UnfitError
        for key, zero in filled:
            if key not in out:
                out[key] = zero()
        return out

    return remembered(convert) if name in SPECS else convert
