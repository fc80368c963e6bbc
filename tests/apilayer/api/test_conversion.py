"""Objects of two versions over one stored form: nothing is lost on the way there and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apilayer.api.conversion import from_storage, to_storage
from apilayer.api.decode import decode_document
from apilayer.api.resources import Resource, find

TARGET = {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}
IDENTITY = {"name": "m", "selector": {"matchLabels": {"a": "b"}}}
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
PREFIX = "autoscaling.alpha.kubernetes.io/"


def row(group: str, version: str, plural: str) -> Resource:
    found = find(group, version, plural)
    assert found is not None
    return found


OLD = row("autoscaling", "v1", "horizontalpodautoscalers")
NEW = row("autoscaling", "v2", "horizontalpodautoscalers")


def scaler(resource: Resource = NEW, status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    body = {
        "metadata": {"name": "h", "annotations": {"mine": "x"}},
        "spec": {"maxReplicas": 3, "scaleTargetRef": TARGET, **spec},
    }
    return decode_document({**body, "status": {"desiredReplicas": 0, **(status or {})}}, resource).object


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("Resource", {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}),
        ("Resource", {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 7}}),
        ("ContainerResource", {"name": "cpu", "container": "c", "target": {"type": "Utilization",
                                                                          "averageUtilization": 7}}),
        ("Pods", {"metric": IDENTITY, "target": {"type": "AverageValue", "averageValue": "5"}}),
        ("Object", {"metric": IDENTITY, "describedObject": {"kind": "Service", "name": "s"},
                    "target": {"type": "Value", "value": "3"}}),
        ("External", {"metric": IDENTITY, "target": {"type": "Value", "value": "30m"}}),
        ("External", {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "2"}}),
    ],
)  # fmt: skip
def test_metrics_survive_version_1(kind: str, source: dict[str, Any]) -> None:
    name = kind[0].lower() + kind[1:]
    new = scaler(metrics=[{"type": kind, name: source}, CPU])
    old = from_storage(OLD, new)
    assert old["spec"]["targetCPUUtilizationPercentage"] == 50
    assert set(old["metadata"]["annotations"]) == {"mine", f"{PREFIX}metrics"}
    assert to_storage(OLD, old) == new


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("Resource", {"name": "memory", "current": {"averageValue": "1Gi", "averageUtilization": 7}}),
        ("ContainerResource", {"name": "cpu", "container": "c", "current": {"averageValue": "1"}}),
        ("Pods", {"metric": IDENTITY, "current": {"averageValue": "5"}}),
        ("Object", {"metric": IDENTITY, "describedObject": {"kind": "Service", "name": "s"},
                    "current": {"value": "3"}}),
        ("External", {"metric": IDENTITY, "current": {"value": "30m", "averageValue": "1"}}),
    ],
)  # fmt: skip
def test_statuses_of_metrics_survive_version_1(kind: str, source: dict[str, Any]) -> None:
    name = kind[0].lower() + kind[1:]
    condition = {"type": "AbleToScale", "status": "True", "reason": "r", "lastTransitionTime": "2024-01-02T03:04:05Z"}
    new = scaler(status={"currentMetrics": [{"type": kind, name: source}], "conditions": [condition]})
    old = from_storage(OLD, new)
    assert set(old["metadata"]["annotations"]) == {"mine", f"{PREFIX}current-metrics", f"{PREFIX}conditions"}
    assert to_storage(OLD, old) == new


def test_behavior_is_written_as_go_does_and_read_in_any_case() -> None:
    down = {"policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}], "tolerance": "100m"}
    new = scaler(behavior={"scaleDown": down})
    old = from_storage(OLD, new)
    assert old["metadata"]["annotations"][f"{PREFIX}behavior"] == (
        '{"ScaleUp":null,"ScaleDown":{"StabilizationWindowSeconds":null,"SelectPolicy":null,'
        '"Policies":[{"Type":"Percent","Value":100,"PeriodSeconds":15}],"Tolerance":"100m"}}'
    )
    assert to_storage(OLD, old) == new
    for written in ({"scaleDown": down}, {"SCALEDOWN": down}):
        old["metadata"]["annotations"][f"{PREFIX}behavior"] = json.dumps(written)
        assert to_storage(OLD, old) == new


@pytest.mark.parametrize("text", ["", "x", "null", "7", '{"ScaleDown": 7}', '{"ScaleDown": {"Policies": [7]}}', "[]"])
def test_annotations_that_cannot_be_read_are_dropped(text: str) -> None:
    names = ("metrics", "behavior", "current-metrics", "conditions")
    old = scaler(OLD)
    old["metadata"]["annotations"] = {f"{PREFIX}{name}": text for name in names}
    new = to_storage(OLD, old)
    assert "annotations" not in new["metadata"]
    assert "behavior" not in new["spec"]
    assert "metrics" not in new["spec"]


def test_an_event_has_other_names_in_its_own_group() -> None:
    events = row("events.k8s.io", "v1", "events")
    body = {"metadata": {"name": "e"}, "regarding": {"kind": "Pod"}, "note": "n", "reportingController": "a.b/c",
            "deprecatedCount": 3, "deprecatedSource": {"host": "h"}, "eventTime": None}  # fmt: skip
    event = decode_document(body, events).object
    stored = to_storage(events, event)
    assert (stored["involvedObject"], stored["message"], stored["count"]) == ({"kind": "Pod"}, "n", 3)
    assert from_storage(events, stored) == event
