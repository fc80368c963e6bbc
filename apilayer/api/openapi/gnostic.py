"""The version 2 document as protobuf, in the messages of gnostic's ``openapi_v2.proto``, which older clients ask for.

Tables say where each key of the JSON document goes; extensions (``x-...``) and other free values travel as text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from apilayer.api.protobuf.encode import delimited, varint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Node = dict[str, Any]
    Encoder = Callable[[Any], bytes]
    Fields = Mapping[str, tuple[int, Encoder]]


def _text(value: Any) -> bytes:
    return str(value).encode()


def _free(value: Any) -> bytes:
    """Any: field 2 is the value as YAML, of which JSON is a part."""
    return delimited(2, orjson.dumps(value))


def _message(node: Node, fields: Fields, extensions: int) -> bytes:
    """A message with `fields` by key; a list stands for a repeated field, a bool for a varint."""
    parts: list[tuple[int, bytes]] = []
    for key, value in node.items():
        if key.startswith("x-"):
            parts.append((extensions, delimited(extensions, delimited(1, key.encode()) + delimited(2, _free(value)))))
            continue
        number, encode = fields[key]
        if isinstance(value, bool):
            parts.append((number, varint(number << 3) + varint(int(value))))
        elif isinstance(value, list):
            parts.extend((number, delimited(number, encode(item))) for item in value)
        else:
            parts.append((number, delimited(number, encode(value))))
    parts.sort(key=lambda part: part[0])
    return b"".join(part for _, part in parts)


def _named(number: int, encode: Encoder) -> Encoder:
    """A map: a message whose repeated field `number` holds pairs of a name and a value."""
    return lambda node: b"".join(
        delimited(number, delimited(1, name.encode()) + delimited(2, encode(value))) for name, value in node.items()
    )


def _schema(node: Node) -> bytes:
    """A schema; ``type`` and ``items`` have wrappers around them, as they may be lists."""
    return _message(node, _SCHEMA, 31)


_SCHEMA: Fields = {
    "$ref": (1, _text),
    "format": (2, _text),
    "title": (3, _text),
    "description": (4, _text),
    "default": (5, _free),
    "required": (19, _text),
    "enum": (20, _free),
    "additionalProperties": (21, lambda node: delimited(1, _schema(node))),
    "type": (22, lambda name: delimited(1, _text(name))),
    "items": (23, lambda node: delimited(1, _schema(node))),
    "allOf": (24, _schema),
    "properties": (25, _named(1, _schema)),
}
_BODY: Fields = {
    "description": (1, _text),
    "name": (2, _text),
    "in": (3, _text),
    "required": (4, _text),
    "schema": (5, _schema),
}
_QUERY: Fields = {
    "required": (1, _text),
    "in": (2, _text),
    "description": (3, _text),
    "name": (4, _text),
    "type": (6, _text),
    "uniqueItems": (20, _text),
}
_PATH: Fields = {
    "required": (1, _text),
    "in": (2, _text),
    "description": (3, _text),
    "name": (4, _text),
    "type": (5, _text),
    "uniqueItems": (19, _text),
}


def _parameter(node: Node) -> bytes:
    """A parameter inside three choices: an item of a list, of a body or not, of the query or the path."""
    if node["in"] == "body":
        return delimited(1, delimited(1, _message(node, _BODY, 6)))
    number, fields, extensions = (4, _PATH, 22) if node["in"] == "path" else (3, _QUERY, 23)
    return delimited(1, delimited(2, delimited(number, _message(node, fields, extensions))))


_RESPONSE: Fields = {"description": (1, _text), "schema": (2, lambda node: delimited(1, _schema(node)))}


def _response(node: Node) -> bytes:
    return delimited(1, _message(node, _RESPONSE, 5))


_OPERATION: Fields = {
    "tags": (1, _text),
    "description": (3, _text),
    "operationId": (5, _text),
    "produces": (6, _text),
    "consumes": (7, _text),
    "parameters": (8, _parameter),
    "responses": (9, _named(1, _response)),
    "schemes": (10, _text),
}


def _operation(node: Node) -> bytes:
    return _message(node, _OPERATION, 13)


_ITEM: Fields = {
    "get": (2, _operation),
    "put": (3, _operation),
    "post": (4, _operation),
    "delete": (5, _operation),
    "patch": (8, _operation),
    "parameters": (9, _parameter),
}


def _item(node: Node) -> bytes:
    return _message(node, _ITEM, 10)


_KEY: Fields = {"type": (1, _text), "name": (2, _text), "in": (3, _text), "description": (4, _text)}


def _security(node: Node) -> bytes:
    """An API key, the second of the kinds of security."""
    return delimited(2, _message(node, _KEY, 5))


def _names(values: list[str]) -> bytes:
    return b"".join(delimited(1, value.encode()) for value in values)


_DOCUMENT: Fields = {
    "swagger": (1, _text),
    "info": (2, lambda node: _message(node, {"title": (1, _text), "version": (2, _text)}, 7)),
    "paths": (8, _named(2, _item)),
    "definitions": (9, _named(1, _schema)),
    "security": (12, _named(1, _names)),
    "securityDefinitions": (13, _named(1, _security)),
}


def encode_v2(document: Node) -> bytes:
    """The version 2 document as a protobuf message. KeyError for a key that the tables do not know."""
    return _message(document, _DOCUMENT, 16)
