"""What bodies say: the object's metadata, the object as JSON, the Status that was answered. Pure.

What cannot be read is left out: a bad body is the business of the handler, which refuses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from apilayer.api import protobuf
from apilayer.api.errors import DecodeError
from apilayer.api.protobuf.message import Reader
from apilayer.audit.event import ResponseStatus

if TYPE_CHECKING:
    from apilayer.pipeline.request import Response

MAX_YAML_BYTES = 256 * 1024
"""Larger YAML is not turned into JSON: that takes long."""
_HINT_BYTES = 64
"""A Status names its kind within so many bytes, in every encoding."""


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """Of an object, what events say about it."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class _Named(msgspec.Struct, frozen=True):
    metadata: Metadata | None = None


_EMPTY = Metadata()
_decode_named = msgspec.json.Decoder(_Named).decode


def metadata_of(body: bytes, content_type: str) -> Metadata:
    """The metadata of the object in a request's body, empty where there is none."""
    media = _media(content_type)
    try:
        if media == "json":
            return _decode_named(body).metadata or _EMPTY
        if media == "protobuf":
            return _protobuf_metadata(body)
        found = (_parsed(body, media) or {}).get("metadata")
        return msgspec.convert(found, Metadata) if isinstance(found, dict) else _EMPTY
    except (msgspec.MsgspecError, DecodeError, UnicodeDecodeError, RecursionError):
        return _EMPTY


def _protobuf_metadata(body: bytes) -> Metadata:
    """Field 1 of every object, which is field 2 of its envelope, without decoding the rest. Raises DecodeError."""
    if not body.startswith(protobuf.MAGIC):
        return _EMPTY
    start, stop = _span_of(2, body, len(protobuf.MAGIC), len(body))
    reader = Reader(body, *_span_of(1, body, start, stop))
    found = {1: "", 3: "", 5: "", 6: ""}
    while reader.more():
        number, wire_type = reader.tag()
        if number in found and wire_type == 2:
            found[number] = reader.text()
        else:
            reader.skip(wire_type)
    return Metadata(*found.values())


def _span_of(wanted: int, data: bytes, start: int, stop: int) -> tuple[int, int]:
    """Where the field of this number is in a message; empty when it is not there. Raises DecodeError."""
    reader = Reader(data, start, stop)
    while reader.more():
        number, wire_type = reader.tag()
        if (number, wire_type) == (wanted, 2):
            return reader.span()
        reader.skip(wire_type)
    return stop, stop


def as_json(body: bytes, content_type: str, *, omit_managed_fields: bool, compact: bool) -> msgspec.Raw | None:
    """A body as JSON on one line, None when it holds no JSON value. `compact`: it is JSON on one line already."""
    media = _media(content_type)
    if media == "json" and compact and not (omit_managed_fields and b'"managedFields"' in body):
        return msgspec.Raw(body)
    obj = _parsed(body, media)
    if obj is None:
        return None
    if omit_managed_fields:
        _drop_managed_fields(obj)
    try:
        return msgspec.Raw(orjson.dumps(obj))
    except TypeError:  # a number that JSON has and this encoder has not
        return None


def response_status(response: Response) -> ResponseStatus:
    """The code of an answer; when it is a Status, that too."""
    code, body = response.status, response.body
    if code < 400 and b"Status" not in body[:_HINT_BYTES]:
        return _succeeded(code)
    found = _parsed(body, _media(response.content_type.decode("latin-1")))
    if not isinstance(found, dict) or found.get("kind") != "Status":
        return ResponseStatus(metadata={}, code=code)
    return of_status(found, code)


def of_status(status: dict[str, Any], code: int) -> ResponseStatus:
    """From a Status object."""
    details = status.get("details")
    return ResponseStatus(
        metadata={},
        status=str(status.get("status") or ""),
        message=str(status.get("message") or ""),
        reason=str(status.get("reason") or ""),
        details=details if isinstance(details, dict) else None,
        code=code,
    )


_known: dict[int, ResponseStatus] = {}


def _succeeded(code: int) -> ResponseStatus:
    """One for each code, of which there are few."""
    found = _known.get(code)
    if found is None:
        found = _known[code] = ResponseStatus(metadata={}, code=code)
    return found


def _media(content_type: str) -> str:
    """json, yaml or protobuf; "" for what is none of these. Patches are named after what they are written in."""
    word = content_type.partition(";")[0].strip().lower()
    if not word or word.endswith(("/json", "+json")):
        return "json"
    if word.endswith(("/yaml", "+yaml")):
        return "yaml"
    return "protobuf" if word == "application/vnd.kubernetes.protobuf" else ""


def _parsed(body: bytes, media: str) -> Any:
    try:
        if media == "json":
            return orjson.loads(body)
        if media == "protobuf":
            return protobuf.decode(body)
        if media == "yaml":
            return _from_yaml(body)
    except (orjson.JSONDecodeError, DecodeError, RecursionError):
        return None
    return None


def _from_yaml(body: bytes) -> Any:
    try:
        return orjson.loads(body)  # as kubectl writes what it calls YAML
    except orjson.JSONDecodeError:
        pass
    if len(body) > MAX_YAML_BYTES:
        return None
    from apilayer.api.encoding import yamltext

    return yamltext.loads(body)[0]


def _drop_managed_fields(obj: Any) -> None:
    """From an object, and from each item of a list."""
    if not isinstance(obj, dict):
        return
    metadata = obj.get("metadata")
    if isinstance(metadata, dict):
        metadata.pop("managedFields", None)
    items = obj.get("items")
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and isinstance(item.get("metadata"), dict):
            item["metadata"].pop("managedFields", None)
