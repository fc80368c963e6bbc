"""Tables of every served kind, and objects reduced to their metadata."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from apilayer.api.resources import RESOURCES, Resource, find
from apilayer.api.status import StatusError
from apilayer.api.table import (
    check_include_object,
    partial_object_metadata,
    partial_object_metadata_list,
    table_columns,
    table_row_cells,
    to_table,
)

NOW = datetime(2026, 1, 1, 1, 0, tzinfo=UTC)
META = {"name": "t0", "namespace": "n", "creationTimestamp": "2026-01-01T00:00:00Z"}


def row(plural: str, group: str = "") -> Resource:
    found = find(group, "v1", plural)
    assert found is not None
    return found


def titles(resource: Resource, *, wide: bool = False) -> list[str]:
    return [column["name"] for column in table_columns(resource) if wide or column["priority"] == 0]


@pytest.mark.parametrize(
    ("resource", "narrow", "wide"),
    [
        (row("namespaces"), "Name|Status|Age", ""),
        (row("configmaps"), "Name|Data|Age", ""),
        (row("secrets"), "Name|Type|Data|Age", ""),
        (row("pods"), "Name|Ready|Status|Restarts|Age", "IP|Node|Nominated Node|Readiness Gates"),
        (row("events"), "Last Seen|Type|Reason|Object|Message", "Subobject|Source|First Seen|Count|Name"),
        (row("leases", "coordination.k8s.io"), "Name|Holder|Age", ""),
        (row("deployments", "apps"), "Name|Ready|Up-to-date|Available|Age", "Containers|Images|Selector"),
    ],
)
def test_columns(resource: Resource, narrow: str, wide: str) -> None:
    assert titles(resource) == narrow.split("|")
    others = [name for name in titles(resource, wide=True) if name not in titles(resource)]
    assert others == (wide.split("|") if wide else [])


PRINTED = [resource for resource in RESOURCES if resource.verbs != ("create",)]
"""Everything but bindings and reviews, which nobody can read."""


@pytest.mark.parametrize("resource", PRINTED, ids=lambda resource: f"{resource.plural}.{resource.version}")
def test_every_column_is_described_and_every_cell_shown(resource: Resource) -> None:
    columns = table_columns(resource)
    undescribed = {"Handler"}  # the one field that Kubernetes' own documentation leaves out
    assert all(column["description"] or column["name"] in undescribed for column in columns)
    assert {column["type"] for column in columns} <= {"string", "integer", "boolean", "date"}
    assert "Name" in [column["name"] for column in columns if column["format"] == "name"]
    more = 1 if resource.kind == "IPAddress" else 0
    assert len(table_row_cells(resource, {}, NOW)) == len(columns) + more


EVENT: dict[str, Any] = {
    "metadata": META,
    "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{c}"},
    "reason": "R",
    "message": " m\n",
    "type": "Warning",
    "source": {"component": "c", "host": "h"},
    "count": 3,
    "firstTimestamp": "2025-12-31T23:00:00Z",
    "lastTimestamp": "2026-01-01T00:59:00Z",
}
DEPLOYMENT: dict[str, Any] = {
    "metadata": META,
    "spec": {
        "replicas": 2,
        "selector": {
            "matchLabels": {"b": "2", "a": "1"},
            "matchExpressions": [
                {"key": "d", "operator": "NotIn", "values": ["y", "x"]},
                {"key": "c", "operator": "In", "values": ["z"]},
                {"key": "e", "operator": "Exists"},
                {"key": "f", "operator": "DoesNotExist"},
            ],
        },
        "template": {"spec": {"containers": [{"name": "c", "image": "busybox:1"}, {"name": "d", "image": "i"}]}},
    },
    "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1},
}


@pytest.mark.parametrize(
    ("resource", "obj", "cells"),
    [
        (row("namespaces"), {"metadata": META, "status": {"phase": "Active"}}, ["t0", "Active", "60m"]),
        (row("configmaps"), {"metadata": META, "data": {"a": ""}, "binaryData": {"b": ""}}, ["t0", 2, "60m"]),
        (row("secrets"), {"metadata": META, "type": "Opaque", "data": {"a": "eA=="}}, ["t0", "Opaque", 1, "60m"]),
        (
            row("leases", "coordination.k8s.io"),
            {"metadata": META, "spec": {"holderIdentity": "h"}},
            ["t0", "h", "60m"],
        ),
        (
            row("deployments", "apps"),
            DEPLOYMENT,
            ["t0", "1/2", 2, 1, "60m", "c,d", "busybox:1,i", "a=1,b=2,c in (z),d notin (x,y),e,!f"],
        ),
        (row("deployments", "apps"), {"metadata": META}, ["t0", "0/0", 0, 0, "60m", "", "", "<none>"]),
        (
            row("events"),
            EVENT,
            ["60s", "Warning", "R", "pod/p", "spec.containers{c}", "c, h", "m", "120m", 3, "t0"],
        ),
        (
            row("events"),
            {
                "eventTime": "2026-01-01T00:50:00.000000Z",
                "involvedObject": {"kind": "Node"},
                "reportingComponent": "k",
                "series": {"count": 7, "lastObservedTime": "2026-01-01T00:58:57.500000Z"},
            },
            ["62s", "", "", "node", "", "k", "", "10m", 7, ""],
        ),
        (
            row("events"),
            {"eventTime": "2026-01-01T00:50:00.000000Z"},
            ["10m", "", "", "", "", "", "", "10m", 1, ""],
        ),
    ],
)
def test_cells(resource: Resource, obj: dict[str, Any], cells: list[Any]) -> None:
    assert table_row_cells(resource, obj, NOW) == cells


def test_a_table_and_what_it_says_of_its_objects() -> None:
    config_maps = row("configmaps")
    obj = {"metadata": META, "data": {"a": "b"}}
    table = to_table(config_maps, [(obj, None)], {"resourceVersion": "5", "continue": "x"}, "Metadata", NOW)
    assert list(table) == ["kind", "apiVersion", "metadata", "columnDefinitions", "rows"]
    assert table["kind"] == "Table"
    assert table["apiVersion"] == "meta.k8s.io/v1"
    assert table["metadata"] == {"resourceVersion": "5", "continue": "x"}
    assert table["columnDefinitions"] == table_columns(config_maps)
    assert table["rows"] == [
        {
            "cells": ["t0", 1, "60m"],
            "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": META},
        }
    ]
    without = to_table(config_maps, [(obj, None)], {}, "None", NOW, version="v1beta1", with_columns=False)
    assert without["apiVersion"] == "meta.k8s.io/v1beta1"
    assert without["columnDefinitions"] is None
    assert without["rows"] == [{"cells": ["t0", 1, "60m"], "object": None}]
    whole = to_table(config_maps, [(obj, lambda: obj)], {}, "Object", NOW)["rows"][0]["object"]
    assert whole == {"kind": "ConfigMap", "apiVersion": "v1", **obj}
    assert to_table(config_maps, [], {}, "Metadata", NOW)["rows"] == []
    # Kinds that Kubernetes has no printer for have null instead of no rows.
    assert to_table(row("limitranges"), [], {}, "Metadata", NOW)["rows"] is None


def test_a_resource_without_a_table() -> None:
    with pytest.raises(StatusError) as caught:
        table_columns(row("bindings"))
    assert caught.value.code == 406


def test_rows_of_ended_pods_carry_a_condition() -> None:
    pods = row("pods")
    rows = to_table(
        pods, [({"status": {"phase": phase}}, None) for phase in ("Running", "Succeeded")], {}, "None", NOW
    )["rows"]
    assert "conditions" not in rows[0]
    assert rows[1]["conditions"][0]["reason"] == "Succeeded"


def test_include_object() -> None:
    assert [check_include_object(value) for value in ("", "Metadata", "Object", "None")] == [
        "Metadata",
        "Metadata",
        "Object",
        "None",
    ]
    with pytest.raises(StatusError) as caught:
        check_include_object("Bad")
    assert caught.value.status["message"] == (
        "Unable to convert to Table as requested: includeObject: Invalid value: \"Bad\": must be 'Metadata',"
        " 'Object', 'None', or empty"
    )


def test_metadata_alone() -> None:
    obj = {"metadata": META, "data": {}}
    partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": META}
    assert partial_object_metadata(obj) == partial
    assert partial_object_metadata_list([obj], {"resourceVersion": "7"}) == {
        "kind": "PartialObjectMetadataList",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "7"},
        "items": [partial],
    }
