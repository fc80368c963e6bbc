"""What rows are printed from: an object's bytes without what no cell shows, which is most of them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec

from apilayer.api.schema import schema_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from apilayer.api.resources import Resource

    Printable = tuple[dict[str, Any], msgspec.Raw]


class _PodSpec(TypedDict, total=False):
    """Of containers a row shows how many there are."""

    containers: list[msgspec.Raw] | None
    initContainers: Any
    nodeName: Any
    readinessGates: Any


_NARROWER: dict[str, dict[str, Any]] = {"pods": {"spec": _PodSpec | None}}


@functools.cache
def reader_of(resource: Resource) -> Callable[[bytes], Printable]:
    """A function from the JSON of an object to what its cells read of it, and its whole metadata as they stand.

    The resource is in its stored form. The function raises ``msgspec.MsgspecError`` for JSON of unusual types.
    """
    schema = schema_for(resource)
    metadata = schema.properties["metadata"]
    fields = dict.fromkeys(schema.properties, Any) | _NARROWER.get(resource.group_resource, {})
    whole = _decoder(resource.kind, fields | {"metadata": msgspec.Raw})
    rest = _decoder("Metadata", {name: Any for name in metadata.properties if name != "managedFields"})

    def read(item: bytes) -> Printable:
        obj = whole(item)
        raw = obj["metadata"]
        obj["metadata"] = rest(raw)
        return obj, raw

    return read


def _decoder(name: str, fields: dict[str, Any]) -> Callable[[bytes], dict[str, Any]]:
    return msgspec.json.Decoder(TypedDict(name, fields, total=False)).decode  # type: ignore[operator]
