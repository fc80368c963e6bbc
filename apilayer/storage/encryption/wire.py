"""Messages of bytes, texts, numbers and maps as protobuf has them: what the KMS API and its stored objects are.

A message is a dict from field number to value: ``bytes``, or ``int`` for a number. Maps are lists of pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.api.errors import DecodeError
from apilayer.api.protobuf.message import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping

_VARINT, _BYTES = 0, 2

Fields = dict[int, "list[bytes | int]"]


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def encode(fields: Mapping[int, bytes | int | Mapping[str, bytes]]) -> bytes:
    """The message; empty values are left out, as proto3 does. Maps are written in the order of their keys."""
    out = bytearray()
    for number, value in sorted(fields.items()):
        if isinstance(value, int):
            if value:
                out += _varint(number << 3 | _VARINT) + _varint(value)
        elif isinstance(value, bytes):
            if value:
                out += _varint(number << 3 | _BYTES) + _varint(len(value)) + value
        else:
            for key in sorted(value):
                pair = encode({1: key.encode(), 2: value[key]})
                out += _varint(number << 3 | _BYTES) + _varint(len(pair)) + pair
    return bytes(out)


def decode(data: bytes) -> Fields:
    """The message's fields, each as often as it occurs. Raises DecodeError."""
    found: Fields = {}
    reader = Reader(data, 0, len(data))
    while reader.more():
        number, kind = reader.tag()
        if kind == _VARINT:
            found.setdefault(number, []).append(reader.varint())
        elif kind == _BYTES:
            start, stop = reader.span()
            found.setdefault(number, []).append(data[start:stop])
        else:
            reader.skip(kind)
    return found


def last_bytes(fields: Fields, number: int) -> bytes:
    """The field's value, the last one if there are several; b"" for none. Raises DecodeError for a number."""
    value = fields.get(number, [b""])[-1]
    if isinstance(value, int):
        raise DecodeError(f"proto: cannot parse invalid wire-format data (field {number})")
    return value


def last_text(fields: Fields, number: int) -> str:
    """As `last_bytes`, decoded. Raises DecodeError."""
    try:
        return last_bytes(fields, number).decode()
    except UnicodeDecodeError as error:
        raise DecodeError("string field contains invalid UTF-8") from error


def last_number(fields: Fields, number: int) -> int:
    """The field's number; 0 for none. Raises DecodeError for bytes."""
    value = fields.get(number, [0])[-1]
    if not isinstance(value, int):
        raise DecodeError(f"proto: cannot parse invalid wire-format data (field {number})")
    return value


def pairs(fields: Fields, number: int) -> dict[str, bytes]:
    """The field as a map. Raises DecodeError."""
    found: dict[str, bytes] = {}
    for pair in fields.get(number, ()):
        if isinstance(pair, int):
            raise DecodeError(f"proto: cannot parse invalid wire-format data (field {number})")
        inner = decode(pair)
        found[last_text(inner, 1)] = last_bytes(inner, 2)
    return found
