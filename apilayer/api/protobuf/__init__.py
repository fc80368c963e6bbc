"""Kubernetes' protobuf bodies to JSON documents, and back.

A body is an envelope: four magic bytes and a message ``Unknown`` with the type (apiVersion, kind) and the
object's own bytes. What a message's fields are stands in `apilayer.api.types`. Source: protobuf encoding
(proto2) and Kubernetes' ``runtime/serializer/protobuf``.
"""

from __future__ import annotations

from typing import Any

from apilayer.api import types
from apilayer.api.errors import DecodeError
from apilayer.api.protobuf.encode import delimited, message_encoder, prefix
from apilayer.api.protobuf.message import Reader, decode_message

__all__ = ["MAGIC", "decode", "delimited", "encode", "envelope", "message_encoder", "type_head"]

MAGIC = b"k8s\x00"
_NO_MAGIC = "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"


def type_head(api_version: str, kind: str) -> bytes:
    """The start of every envelope of a kind: magic bytes and type."""
    names = delimited(1, api_version.encode()) + delimited(2, kind.encode())
    return MAGIC + delimited(1, names)


def envelope(head: bytes, message: bytes) -> bytes:
    """`message` behind the `type_head` of its kind."""
    before, after = envelope_around(head, len(message))
    return before + message + after


def envelope_around(head: bytes, size: int) -> tuple[bytes, bytes]:
    """What stands before and after a message of `size` bytes."""
    return head + prefix(2, size), b"\x1a\x00\x22\x00"


def encode(obj: dict[str, Any]) -> bytes:
    """A whole object with kind and apiVersion (absent: v1) in its envelope. KeyError when its kind has no message."""
    api_version, kind = obj.get("apiVersion", "v1"), obj["kind"]
    name = _message_name(api_version, kind)
    if name is None:
        raise KeyError(f"{api_version}.{kind}")
    return envelope(type_head(api_version, kind), message_encoder(name)(obj))


def decode(envelope: bytes, default_type: tuple[str, str] = ("", ""), also_as: tuple[str, ...] = ()) -> dict[str, Any]:
    """The JSON document in `envelope`, with kind and apiVersion.

    Byte fields come as base64, times as RFC 3339; fields with a zero value are present as sent.
    `default_type` is the (apiVersion, kind) of an envelope that names none; messages of the apiVersions `also_as` are
    its own. A kind without a message in the
    table gives a document of kind and apiVersion alone. DecodeError for malformed input.
    """
    if not envelope:
        raise DecodeError("empty data")
    if not envelope.startswith(MAGIC):
        raise DecodeError(_NO_MAGIC)
    api_version = kind = ""
    start = stop = 0
    reader = Reader(envelope, len(MAGIC), len(envelope))
    while reader.more():
        number, wire_type = reader.tag()
        if number == 1 and wire_type == 2:
            api_version, kind = _type_meta(envelope, *reader.span())
        elif number == 2 and wire_type == 2:
            start, stop = reader.span()
        elif number == 3 and wire_type == 2:
            if reader.text():
                raise DecodeError("content encodings are not supported")
        else:
            reader.skip(wire_type)
    api_version, kind = api_version or default_type[0], kind or default_type[1]
    document: dict[str, Any] = {"kind": kind, "apiVersion": api_version}
    name = _message_name(default_type[0] if api_version in also_as else api_version, kind)
    if name is not None:
        document.update(decode_message(envelope, start, stop, name, 0))
    return document


def _message_name(api_version: str, kind: str) -> str | None:
    group, _, version = api_version.rpartition("/")
    for name in (f"{group or 'core'}/{version}.{kind}", f"meta/v1.{kind}"):
        if types.find(name) is not None:
            return name
    return None


def _type_meta(data: bytes, start: int, stop: int) -> tuple[str, str]:
    found = {1: "", 2: ""}
    reader = Reader(data, start, stop)
    while reader.more():
        number, wire_type = reader.tag()
        if number in found and wire_type == 2:
            found[number] = reader.text()
        else:
            reader.skip(wire_type)
    return found[1], found[2]
