"""JSON objects to protobuf messages, by the type table.

Per message one closure, compiled once. Fields come in the order of their numbers and maps in the order of their
keys, as Kubernetes writes them; a field whose zero value means the same as its absence is left out. The objects
are in canonical form (see `apilayer.api.decode`), so nothing here checks them.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from struct import pack
from typing import TYPE_CHECKING, Any

import orjson

from apilayer.api import types
from apilayer.api.encoding import base64text

if TYPE_CHECKING:
    from collections.abc import Callable

    from apilayer.api.types import Field

    Encoder = Callable[[Any], bytes]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SMALL = tuple(bytes((number,)) for number in range(0x80))


def varint(number: int) -> bytes:
    """`number` as a varint; negative ones as 64 bits."""
    if 0 <= number < 0x80:
        return _SMALL[number]
    if number < 0:
        number += 1 << 64
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def delimited(number: int, payload: bytes) -> bytes:
    """Field `number` with a length-delimited value."""
    return prefix(number, len(payload)) + payload


def prefix(number: int, size: int) -> bytes:
    """What stands before a length-delimited value of `size` bytes."""
    return varint(number << 3 | 2) + varint(size)


# ---------------------------------------------------------------------- wrapper types: bytes of their messages


def _time(text: str | None) -> bytes:
    """Seconds and nanoseconds since 1970; the zero time is an empty message."""
    if not text:
        return b""
    moment = datetime.fromisoformat(text) - _EPOCH
    seconds = moment.days * 86400 + moment.seconds
    return b"\x08%s\x10%s" % (varint(seconds), varint(moment.microseconds * 1000))


def _quantity(text: Any) -> bytes:
    return delimited(1, str(text).encode())


def _int_or_string(value: int | str) -> bytes:
    if isinstance(value, str):
        return b"\x08\x01\x10\x00" + delimited(3, value.encode())
    return b"\x08\x00\x10%s\x1a\x00" % varint(value)


def _raw(value: Any) -> bytes:
    return b"" if value is None else delimited(1, orjson.dumps(value))


def _strings(values: list[str] | None) -> bytes:
    return b"".join(delimited(1, value.encode()) for value in values or ())


def _schema(value: Any) -> bytes:
    return message_encoder("apiextensions.k8s.io/v1.JSONSchemaProps")(value)


def _schema_or_bool(value: Any) -> bytes:
    if isinstance(value, bool):
        return b"\x08\x01" if value else b"\x08\x00"
    return b"\x08\x01" + delimited(2, _schema(value))


def _schema_or_array(value: Any) -> bytes:
    if isinstance(value, list):
        return b"".join(delimited(2, _schema(item)) for item in value)
    return delimited(1, _schema(value))


def _schema_or_strings(value: Any) -> bytes:
    if isinstance(value, list):
        return b"".join(delimited(2, item.encode()) for item in value)
    return delimited(1, _schema(value))


_DELIMITED: dict[str, Encoder] = {
    "string": str.encode,
    "bytes": base64text.decode,
    "Time": _time,
    "MicroTime": _time,
    "Quantity": _quantity,
    "IntOrString": _int_or_string,
    "FieldsV1": _raw,
    "RawExtension": _raw,
    "JSON": _raw,
    "Strings": _strings,
    "SchemaOrBool": _schema_or_bool,
    "SchemaOrArray": _schema_or_array,
    "SchemaOrStrings": _schema_or_strings,
}
_VARINTS = frozenset({"bool", "int32", "int64"})


# ---------------------------------------------------------------------- fields


def _payload_encoder(kind: str) -> Encoder:
    return _DELIMITED.get(kind) or message_encoder(kind)


def _number_encoder(field: Field) -> Encoder:
    """Bools, integers and doubles; lists of them are not packed, as proto2 does."""
    if field.type == "double":
        wide = varint(field.number << 3 | 1)
        return lambda value: wide + pack("<d", value)
    tag = varint(field.number << 3)
    return lambda value: tag + varint(int(value))


def _entry_encoder(field: Field) -> Callable[[str, Any], bytes]:
    """One entry of a map: key and value as fields 1 and 2 of a message."""
    tag = varint(field.number << 3 | 2)
    encode = _payload_encoder(field.type)

    def entry(key: str, value: Any) -> bytes:
        payload = delimited(1, key.encode()) + delimited(2, encode(value))
        return tag + varint(len(payload)) + payload

    return entry


def _framed(tag: bytes, encode: Encoder) -> Encoder:
    """A text, a message or another value behind its tag and its length."""

    def one(value: Any) -> bytes:
        payload = encode(value)
        size = len(payload)
        return tag + (_SMALL[size] if size < 0x80 else varint(size)) + payload

    return one


def _field_encoder(field: Field) -> Encoder:
    """The encoder of a number, a list or a map, tags included; nothing for a zero that is as good as absent."""
    if field.is_map:
        entry = _entry_encoder(field)
        return lambda entries: b"".join([entry(key, entries[key]) for key in sorted(entries)])
    if _is_number(field):
        one = _number_encoder(field)
    else:
        one = _framed(varint(field.number << 3 | 2), _payload_encoder(field.type))
    if field.repeated:
        return lambda values: b"".join([one(value) for value in values])
    if field.pointer:
        return one
    return lambda value: one(value) if value else b""


def _is_number(field: Field) -> bool:
    return field.type in _VARINTS or field.type == "double"


# Number, tag, encoder and whether an empty value is written. Without a tag the encoder writes everything itself.
_Plan = tuple[int, bytes, "Encoder", bool]


def _plan(field: Field) -> _Plan:
    """An empty value is as good as absent unless it is pointed to; bytes are told from none at all."""
    if field.is_map or field.repeated or _is_number(field):
        return field.number, b"", _field_encoder(field), False
    keep_empty = field.pointer or field.type == "bytes"
    return field.number, varint(field.number << 3 | 2), _payload_encoder(field.type), keep_empty


class _MessageEncoder:
    """Encodes one kind of message. Its plan is made on first use, because messages may contain themselves."""

    __slots__ = ("_inline", "_name", "_plan")

    def __init__(self, name: str) -> None:
        self._name = name
        self._plan: dict[str, _Plan] = {}
        self._inline: list[_Plan] = []

    def __call__(self, obj: dict[str, Any]) -> bytes:
        if not obj:
            return b""
        if not self._plan and not self._inline:
            self._compile()
        plan = self._plan
        parts: list[tuple[int, bytes]] = []
        for key, value in obj.items():
            known = plan.get(key)
            if known is None or value is None:
                continue
            number, tag, encode, keep_empty = known
            payload = encode(value)
            if tag and (payload or keep_empty):
                size = len(payload)
                parts.append((number, tag + (_SMALL[size] if size < 0x80 else varint(size)) + payload))
            elif payload:
                parts.append((number, payload))
        for number, tag, encode, _ in self._inline:
            # The fields of an inline message stand in the parent's JSON object.
            payload = encode(obj)
            if payload:
                parts.append((number, tag + varint(len(payload)) + payload))
        parts.sort()
        return b"".join([part for _, part in parts])

    def _compile(self) -> None:
        for field in types.message(self._name).fields:
            if field.inline:
                self._inline.append(_plan(field))
            else:
                self._plan[field.name] = _plan(field)


@functools.cache
def message_encoder(name: str) -> Encoder:
    """The encoder of a message: a canonical JSON object in, the message's bytes out."""
    return _MessageEncoder(name)
