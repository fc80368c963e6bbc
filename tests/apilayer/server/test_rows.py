"""Rows of tables that are joined from bytes: the same as those that are made of whole objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from apilayer.api import meta
from apilayer.api.conversion import from_storage
from apilayer.api.resources import RESOURCES, Resource
from apilayer.api.schema import schema_for
from apilayer.api.table import partial_object_metadata, reader_of, to_table
from apilayer.pipeline.negotiation import Accepted
from apilayer.server.forms import Form
from apilayer.storage.codec import Codec, Entry

if TYPE_CHECKING:
    from apilayer.api.schema import Schema

PRINTED = [resource for resource in RESOURCES if not resource.virtual and resource.verbs != ("create",)]
DEEPEST = 7


def sample(schema: Schema, depth: int = 0) -> Any:
    """A value with everything in it that the schema knows."""
    if schema.properties and depth < DEEPEST:
        return {name: sample(below, depth + 1) for name, below in schema.properties.items()}
    if schema.type == "array":
        return [sample(schema.items, depth + 1)] * 2 if schema.items is not None else []
    if schema.type == "object":
        return {} if schema.additional is None else {"k": sample(schema.additional, depth + 1)}
    if schema.type in ("integer", "number"):
        return 3
    if schema.type == "boolean":
        return True
    if schema.format == "date-time":
        return "2026-01-01T00:00:00.000000Z" if schema.reference.endswith("MicroTime") else "2026-01-01T00:00:00Z"
    return "7"


def whole(resource: Resource) -> Entry:
    stored = resource.storage
    obj = sample(schema_for(stored))
    obj["metadata"] = {**obj["metadata"], "name": "a", "managedFields": [{"manager": "m"}]}
    codec = Codec(stored)
    return codec.entry(b"/a", codec.encode(obj), 5)


def rows(resource: Resource, entry: Entry, include: str) -> list[Any]:
    """As `to_table` makes them of the whole object."""
    obj = entry.object()
    shown = from_storage(resource, entry.object())
    table = to_table(resource, [(obj, lambda: shown)], {}, include, meta.utc_now())
    found: list[Any] = table["rows"]
    return found


@pytest.mark.parametrize("resource", PRINTED, ids=lambda resource: f"{resource.plural}.{resource.api_version}")
def test_rows_are_those_of_the_whole_object(resource: Resource) -> None:
    entry = whole(resource)
    for include in ("Metadata", "Object", "None"):
        form = Form(resource, Accepted(form="Table", version="v1"), pretty=False, include=include)
        assert [orjson.loads(item) for item in form.items([entry])] == rows(resource, entry, include)
    metadata_only = Form(resource, Accepted(form="PartialObjectMetadataList", version="v1"), pretty=False, include="")
    shown = partial_object_metadata(from_storage(resource, entry.object()))
    assert [orjson.loads(item) for item in metadata_only.items([entry])] == [shown]


def test_of_a_pod_little_is_read() -> None:
    pods = next(resource for resource in PRINTED if resource.kind == "Pod")
    obj, raw = reader_of(pods)(whole(pods).item)
    assert sorted(obj["spec"]) == ["containers", "initContainers", "nodeName", "readinessGates"]
    assert "managedFields" not in obj["metadata"]
    assert orjson.loads(bytes(raw))["managedFields"] == [{"manager": "m"}]


@pytest.mark.parametrize("spec", [{"containers": None}, None, {"containers": "none"}, 5, {"containers": {"a": 1}}])
def test_stored_objects_of_strange_types(spec: Any) -> None:
    pods = next(resource for resource in PRINTED if resource.kind == "Pod")
    codec = Codec(pods)
    entry = codec.entry(b"/a", codec.encode({"metadata": {"name": "a"}, "spec": spec}), 5)
    form = Form(pods, Accepted(form="Table", version="v1"), pretty=False, include="Metadata")
    try:
        expected = rows(pods, entry, "Metadata")
    except AttributeError:
        with pytest.raises(AttributeError):
            form.items([entry])
    else:
        assert [orjson.loads(item) for item in form.items([entry])] == expected
