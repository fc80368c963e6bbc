"""Objects as ``Table``, ``PartialObjectMetadata`` and its list: the forms of meta.k8s.io that clients ask for.

Source: Kubernetes API concepts, "Receiving resources as Tables"; the server picks the form from the Accept
header and passes the version it was asked in (v1 or v1beta1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api import status
from apilayer.api.gotext import quote
from apilayer.api.schema import schema_for
from apilayer.api.table.age import since
from apilayer.api.table.cells import dig
from apilayer.api.table.columns import Column, columns_of, row_of
from apilayer.api.table.pods import pod_row_conditions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
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
    if not column.described_by:
        return column.text
    schema = schema_for(resource)
    for name in column.described_by.split("."):
        below = schema.items if name == "[]" else schema.properties[name]
        assert below is not None
        schema = below
    return schema.description


def _columns(resource: Resource) -> tuple[Column, ...]:
    """The columns of a resource, printed from its stored form. Raises StatusError 406 when it has no table."""
    columns = columns_of(resource.storage.group_resource)
    if columns is None:
        raise status.not_acceptable(())
    return columns


_definitions: dict[str, list[dict[str, Any]]] = {}


def table_columns(resource: Resource) -> list[dict[str, Any]]:
    """The ``columnDefinitions`` of the resource's table; shared, not to be changed."""
    kept = resource.storage
    if kept.group_resource not in _definitions:
        _definitions[kept.group_resource] = [
            {
                "name": column.name,
                "type": column.type,
                "format": column.format,
                "description": _description(kept, column),
                "priority": column.priority,
            }
            for column in _columns(kept)
        ]
    return _definitions[kept.group_resource]


def table_row_cells(resource: Resource, obj: Mapping[str, Any], now: datetime) -> list[Any]:
    """The cells of one object's row, in the order of the columns; ages are as of `now` (with a zone).

    `obj` is in the stored form.
    """
    whole_row = row_of(resource.storage.group_resource)
    if whole_row is not None:
        return whole_row(obj, now)
    cells = [column.cell(obj, now) for column in _columns(resource) if column.cell is not None]
    # Kubernetes prints one cell more than these have columns.
    return [*cells, since(dig(obj, "metadata", "creationTimestamp"), now)] if resource.kind == "IPAddress" else cells


def row_without_object(resource: Resource, obj: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The cells of a row, and conditions where the object has ended. `obj` is in the stored form."""
    row: dict[str, Any] = {"cells": table_row_cells(resource, obj, now)}
    if resource.kind == "Pod":
        conditions = pod_row_conditions(obj)
        if conditions:
            row["conditions"] = conditions
    return row


def table_row(
    resource: Resource,
    obj: Mapping[str, Any],
    include_object: str,
    now: datetime,
    version: str = "v1",
    shown: Callable[[], Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """One row: cells, conditions where the object has ended, and the object as `include_object` says.

    `obj` is in the stored form; `shown` gives it in the form that was asked for, if that is another one.
    """
    row = row_without_object(resource, obj, now)
    if include_object == "None":
        row["object"] = None
        return row
    whole = obj if shown is None else shown()
    if include_object == "Object":
        row["object"] = {**whole, "kind": resource.kind, "apiVersion": resource.api_version}
    else:
        row["object"] = partial_object_metadata(whole, version)
    return row


def to_table(
    resource: Resource,
    objects: Iterable[tuple[Mapping[str, Any], Callable[[], Mapping[str, Any]] | None]],
    list_meta: Mapping[str, Any],
    include_object: str,
    now: datetime,
    *,
    version: str = "v1",
    with_columns: bool = True,
) -> dict[str, Any]:
    """A ``Table`` of `objects`, which are pairs (stored, shown) as `table_row` takes them.

    `list_meta` becomes its metadata (resourceVersion, continue, ...).
    `include_object` is Metadata, Object or None. A watch sends the columns in its first event only.
    """
    rows = [table_row(resource, obj, include_object, now, version, shown) for obj, shown in objects]
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": dict(list_meta),
        "columnDefinitions": table_columns(resource) if with_columns else None,
        "rows": rows if rows or not _is_default(resource) else None,
    }


def _is_default(resource: Resource) -> bool:
    """Whether Kubernetes has no printer for the resource: its default one shows creation dates, and no rows as null."""
    return any(column.type == "date" for column in _columns(resource))


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
