"""Objects as ``Table``, ``PartialObjectMetadata`` and its list: the forms of meta.k8s.io that clients ask for.

Source: Kubernetes API concepts, "Receiving resources as Tables"; the server picks the form from the Accept
header and passes the version it was asked in (v1 or v1beta1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api import status
from apilayer.api.gotext import quote
from apilayer.api.schema import schema_for
from apilayer.api.table.columns import COLUMNS, ROWS, Column
from apilayer.api.table.pods import pod_row_conditions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from apilayer.api.resources import Resource

INCLUDE_OBJECT = ("", "Metadata", "Object", "None")


def check_include_object(value: str) -> str:
    """The ``includeObject`` parameter, "" meaning Metadata. Raises StatusError 400 for anything unknown."""
    if value not in INCLUDE_OBJECT:
        rule = "must be 'Metadata', 'Object', 'None', or empty"
        raise status.bad_request(
            f"Unable to convert to Table as requested: includeObject: Invalid value: {quote(value)}: {rule}"
        )
    return value or "Metadata"


def _description(resource: Resource, column: Column) -> str:
    if column.text:
        return column.text
    schema = schema_for(resource)
    for name in column.described_by.split("."):
        schema = schema.properties[name]
    return schema.description


_definitions: dict[tuple[str, str], list[dict[str, Any]]] = {}


def _make_definitions(resource: Resource) -> list[dict[str, Any]]:
    return [
        {
            "name": column.name,
            "type": "string",
            "format": column.format,
            "description": _description(resource, column),
            "priority": column.priority,
        }
        for column in COLUMNS[resource.group, resource.plural]
    ]


def table_columns(resource: Resource) -> list[dict[str, Any]]:
    """The ``columnDefinitions`` of the resource's table; shared, not to be changed."""
    key = (resource.group, resource.plural)
    if key not in _definitions:
        _definitions[key] = _make_definitions(resource)
    return _definitions[key]


def table_row_cells(resource: Resource, obj: Mapping[str, Any], now: datetime) -> list[Any]:
    """The cells of one object's row, in the order of the columns; ages are as of `now` (with a zone)."""
    key = (resource.group, resource.plural)
    whole_row = ROWS.get(key)
    if whole_row is not None:
        return whole_row(obj, now)
    return [column.cell(obj, now) for column in COLUMNS[key] if column.cell is not None]


def table_row(
    resource: Resource, obj: Mapping[str, Any], include_object: str, now: datetime, version: str = "v1"
) -> dict[str, Any]:
    """One row: cells, conditions where the object has ended, and the object as `include_object` says."""
    row: dict[str, Any] = {"cells": table_row_cells(resource, obj, now)}
    if resource.kind == "Pod":
        conditions = pod_row_conditions(obj)
        if conditions:
            row["conditions"] = conditions
    if include_object == "None":
        row["object"] = None
    elif include_object == "Object":
        row["object"] = {"kind": resource.kind, "apiVersion": resource.api_version, **obj}
    else:
        row["object"] = partial_object_metadata(obj, version)
    return row


def to_table(
    resource: Resource,
    objects: Iterable[Mapping[str, Any]],
    list_meta: Mapping[str, Any],
    include_object: str,
    now: datetime,
    *,
    version: str = "v1",
    with_columns: bool = True,
) -> dict[str, Any]:
    """A ``Table`` of `objects`; `list_meta` becomes its metadata (resourceVersion, continue, ...).

    `include_object` is Metadata, Object or None. A watch sends the columns in its first event only.
    """
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": dict(list_meta),
        "columnDefinitions": table_columns(resource) if with_columns else None,
        "rows": [table_row(resource, obj, include_object, now, version) for obj in objects],
    }


def partial_object_metadata(obj: Mapping[str, Any], version: str = "v1") -> dict[str, Any]:
    """`obj` reduced to its metadata."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": obj.get("metadata") or {},
    }


def partial_object_metadata_list(
    objects: Iterable[Mapping[str, Any]], list_meta: Mapping[str, Any], version: str = "v1"
) -> dict[str, Any]:
    """A list whose items are reduced to their metadata."""
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": dict(list_meta),
        "items": [partial_object_metadata(obj, version) for obj in objects],
    }
