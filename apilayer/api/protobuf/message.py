"""One protobuf message to a JSON object, by the type table; written for hostile input.

Every length is checked against its enclosing message, depth is bounded, unknown fields are skipped, and
every fault is a `DecodeError`.
"""

from __future__ import annotations

import functools
from math import isfinite
from struct import unpack_from
from typing import TYPE_CHECKING, Any

from apilayer.api import types
from apilayer.api.encoding import base64text, gotime, jsontext
from apilayer.api.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

    Decoder = Callable[[bytes, int, int, int], Any]

MAX_DEPTH = jsontext.MAX_DEPTH
_EOF = "unexpected EOF"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Reader:
    """A cursor over the bytes ``data[position:stop]`` of one message."""

    __slots__ = ("_data", "_position", "_stop")

    def __init__(self, data: bytes, position: int, stop: int) -> None:
        self._data = data
        self._position = position
        self._stop = stop

    def more(self) -> bool:
        """Whether any field is left."""
        return self._position < self._stop

    def varint(self) -> int:
        """The next varint, unsigned 64 bits."""
        value = shift = 0
        while True:
            if self._position >= self._stop:
                raise DecodeError(_EOF)
            byte = self._data[self._position]
            self._position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFFFFFFFFFFFFFF
            shift += 7
            if shift >= 70:
                raise DecodeError("proto: integer overflow")

    def signed(self) -> int:
        """The next varint as a signed 64-bit number."""
        value = self.varint()
        return value - 2**64 if value >= 2**63 else value

    def tag(self) -> tuple[int, int]:
        """Number and wire type of the next field."""
        tag = self.varint()
        if tag >> 3 == 0:
            raise DecodeError(f"proto: illegal tag 0 (wire type {tag & 7})")
        return tag >> 3, tag & 7

    def span(self) -> tuple[int, int]:
        """Start and stop of a length-delimited value, which is then behind the cursor."""
        length = self.varint()
        start = self._position
        if length > self._stop - start:
            raise DecodeError(_EOF)
        self._position = start + length
        return start, self._position

    def text(self) -> str:
        """A length-delimited value as text; bytes that are not UTF-8 are replaced."""
        start, stop = self.span()
        return self._data[start:stop].decode("utf-8", "replace")

    def double(self) -> float:
        """A 64-bit floating point number; whole ones as integers, as JSON writes them."""
        start = self._position
        if start + 8 > self._stop:
            raise DecodeError(_EOF)
        self._position = start + 8
        value: float = unpack_from("<d", self._data, start)[0]
        if not isfinite(value):
            raise DecodeError(f"json: unsupported value: {value}")
        return int(value) if value.is_integer() and abs(value) < 1e15 else value

    def skip(self, wire_type: int) -> None:
        """Pass over the value of an unknown field."""
        if wire_type == _VARINT:
            self.varint()
        elif wire_type == _BYTES:
            self.span()
        elif wire_type in (_FIXED32, _FIXED64):
            self._position += 4 if wire_type == _FIXED32 else 8
            if self._position > self._stop:
                raise DecodeError(_EOF)
        else:
            raise DecodeError(f"proto: illegal wireType {wire_type}")


def _string(data: bytes, start: int, stop: int, depth: int) -> str:
    del depth
    return data[start:stop].decode("utf-8", "replace")


def _bytes(data: bytes, start: int, stop: int, depth: int) -> str:
    del depth
    return base64text.encode(data[start:stop])


def _numbers(data: bytes, start: int, stop: int) -> dict[int, int | str]:
    """The fields of a small wrapper message: numbers and texts by field number."""
    reader = Reader(data, start, stop)
    found: dict[int, int | str] = {}
    while reader.more():
        number, wire_type = reader.tag()
        if wire_type == _VARINT:
            found[number] = reader.signed()
        elif wire_type == _BYTES:
            found[number] = reader.text()
        else:
            reader.skip(wire_type)
    return found


def _time(micro: bool) -> Decoder:
    def decode(data: bytes, start: int, stop: int, depth: int) -> str | None:
        del depth
        if start == stop:
            return None
        found = _numbers(data, start, stop)
        seconds, nanos = found.get(1, 0), found.get(2, 0)
        if isinstance(seconds, str) or isinstance(nanos, str):
            raise DecodeError("proto: wrong wireType for a time")
        try:
            return gotime.from_unix(seconds, nanos, micro=micro)
        except gotime.TimeError as error:
            raise DecodeError(str(error)) from error

    return decode


def _quantity(data: bytes, start: int, stop: int, depth: int) -> str:
    del depth
    return str(_numbers(data, start, stop).get(1, "")) or "0"


def _int_or_string(data: bytes, start: int, stop: int, depth: int) -> int | str:
    del depth
    found = _numbers(data, start, stop)
    return str(found.get(3, "")) if found.get(1, 0) == 1 else int(found.get(2, 0))


def _raw_json(data: bytes, start: int, stop: int, depth: int) -> Any:
    """The value of FieldsV1, RawExtension: one bytes field that holds JSON."""
    reader = Reader(data, start, stop)
    raw = b""
    while reader.more():
        number, wire_type = reader.tag()
        if number == 1 and wire_type == _BYTES:
            first, last = reader.span()
            raw = data[first:last]
        else:
            reader.skip(wire_type)
    if not raw:
        return None
    value = jsontext.loads(raw)
    if depth + raw.count(b"{") + raw.count(b"[") > MAX_DEPTH:
        jsontext.check_depth(value)
    return value


def _string_list(data: bytes, start: int, stop: int, depth: int) -> list[str]:
    """A message whose one field is a list of strings."""
    del depth
    return [data[first:last].decode("utf-8", "replace") for _, (first, last) in _parts(data, start, stop)]


def _parts(data: bytes, start: int, stop: int) -> list[tuple[int, tuple[int, int]]]:
    """Number and span of the length-delimited fields of a message."""
    reader = Reader(data, start, stop)
    found = []
    while reader.more():
        number, wire_type = reader.tag()
        if wire_type == _BYTES:
            found.append((number, reader.span()))
        else:
            reader.skip(wire_type)
    return found


_SCHEMA = "apiextensions.k8s.io/v1.JSONSchemaProps"


def _schema_or_bool(data: bytes, start: int, stop: int, depth: int) -> Any:
    parts = _parts(data, start, stop)
    for number, (first, last) in parts:
        if number == 2:
            return decode_message(data, first, last, _SCHEMA, depth + 1)
    return _numbers(data, start, stop).get(1, 0) != 0


def _schema_or_list(items: Decoder) -> Decoder:
    """One schema (field 1), or a list (field 2)."""

    def decode(data: bytes, start: int, stop: int, depth: int) -> Any:
        parts = _parts(data, start, stop)
        for number, (first, last) in parts:
            if number == 1:
                return decode_message(data, first, last, _SCHEMA, depth + 1)
        return [items(data, first, last, depth) for number, (first, last) in parts if number == 2]

    return decode


def _schema(data: bytes, start: int, stop: int, depth: int) -> Any:
    return decode_message(data, start, stop, _SCHEMA, depth + 1)


_LENGTH_DELIMITED: dict[str, Decoder] = {
    "string": _string,
    "bytes": _bytes,
    "Time": _time(micro=False),
    "MicroTime": _time(micro=True),
    "Quantity": _quantity,
    "IntOrString": _int_or_string,
    "FieldsV1": _raw_json,
    "RawExtension": _raw_json,
    "JSON": _raw_json,
    "Strings": _string_list,
    "SchemaOrBool": _schema_or_bool,
    "SchemaOrArray": _schema_or_list(_schema),
    "SchemaOrStrings": _schema_or_list(_string),
}
_VARINT_TYPES = frozenset({"bool", "int32", "int64"})


def _value_decoder(kind: str) -> Decoder | None:
    """The decoder of a length-delimited value of that type; None for numbers."""
    if kind in _VARINT_TYPES or kind == "double":
        return None
    if kind in _LENGTH_DELIMITED:
        return _LENGTH_DELIMITED[kind]
    return lambda data, start, stop, depth: decode_message(data, start, stop, kind, depth + 1)


@functools.cache
def _plan(name: str) -> dict[int, tuple[types.Field, Decoder | None]]:
    return {field.number: (field, _value_decoder(field.type)) for field in types.message(name).fields}


def decode_message(data: bytes, start: int, stop: int, name: str, depth: int) -> dict[str, Any]:
    """Message `name` in ``data[start:stop]`` as a JSON object; DecodeError when it is malformed."""
    if depth > MAX_DEPTH:
        raise jsontext.DepthError
    plan = _plan(name)
    out: dict[str, Any] = {}
    reader = Reader(data, start, stop)
    while reader.more():
        number, wire_type = reader.tag()
        known = plan.get(number)
        if known is None:
            reader.skip(wire_type)
            continue
        field, decoder = known
        if decoder is None:
            _take_number(reader, field, wire_type, data, out)
            continue
        if wire_type != _BYTES:
            raise DecodeError(f"proto: wrong wireType = {wire_type} for field {field.name}")
        first, last = reader.span()
        if field.is_map:
            key, value = _map_entry(data, first, last, decoder, depth)
            out.setdefault(field.name, {})[key] = value
            continue
        value = decoder(data, first, last, depth)
        if field.inline:
            out.update(value)
        elif field.repeated:
            out.setdefault(field.name, []).append(value)
        else:
            out[field.name] = value
    return out


def _take_number(reader: Reader, field: types.Field, wire_type: int, data: bytes, out: dict[str, Any]) -> None:
    """Read a varint field, packed lists included, into `out`."""
    if wire_type == _FIXED64 and field.type == "double":
        out[field.name] = reader.double()
    elif wire_type == _VARINT and field.type != "double":
        value = reader.signed()
        number: int | bool = value != 0 if field.type == "bool" else value
        if field.repeated:
            out.setdefault(field.name, []).append(number)
        else:
            out[field.name] = number
    elif wire_type == _BYTES and field.repeated:
        packed = Reader(data, *reader.span())
        values = out.setdefault(field.name, [])
        while packed.more():
            values.append(packed.signed())
    else:
        raise DecodeError(f"proto: wrong wireType = {wire_type} for field {field.name}")


def _map_entry(data: bytes, start: int, stop: int, decoder: Decoder, depth: int) -> tuple[str, Any]:
    reader = Reader(data, start, stop)
    key = ""
    value = decoder(data, stop, stop, depth)
    while reader.more():
        number, wire_type = reader.tag()
        if number == 1 and wire_type == _BYTES:
            key = reader.text()
        elif number == 2 and wire_type == _BYTES:
            value = decoder(data, *reader.span(), depth)
        else:
            reader.skip(wire_type)
    return key, value
