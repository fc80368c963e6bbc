"""Who owns the replicas, seen through the scale and back."""

from __future__ import annotations

from typing import Any

from apilayer.api.managed.scale import scale_entries, workload_entries

REPLICAS = {"f:spec": {"f:replicas": {}}}
BOTH = {"f:spec": {"f:paused": {}, "f:replicas": {}}}


def entry(manager: str, fields: Any, version: str = "apps/v1", operation: str = "Update", **more: Any) -> Any:
    when = {"time": more.pop("time")} if "time" in more else {}
    head = {"manager": manager, "operation": operation, "apiVersion": version}
    return {**head, **when, "fieldsType": "FieldsV1", "fieldsV1": fields, **more}


def test_only_replicas_are_shown() -> None:
    entries = [
        entry("a", BOTH, time="t"),
        entry("b", {"f:spec": {"f:paused": {}}}),
        entry("c", REPLICAS, operation="Apply"),
    ]
    assert scale_entries(entries) == [
        entry("c", REPLICAS, "autoscaling/v1", "Apply"),
        entry("a", REPLICAS, "autoscaling/v1", time="t"),
    ]
    assert scale_entries(None) == []


def test_what_the_scale_gives_to_somebody_is_taken_from_the_others() -> None:
    entries = [entry("a", BOTH, time="t"), entry("b", REPLICAS)]
    of_scale = [entry("hpa", REPLICAS, "autoscaling/v1", subresource="scale", time="now")]
    assert workload_entries(entries, of_scale, "apps/v1") == [
        entry("hpa", REPLICAS, subresource="scale"),
        entry("a", {"f:spec": {"f:paused": {}}}, time="t"),
    ]


def test_who_keeps_the_replicas_keeps_its_entry() -> None:
    entries = [entry("a", BOTH, time="t"), entry("hpa", REPLICAS, subresource="scale", time="u")]
    of_scale = scale_entries(entries)
    assert workload_entries(entries, of_scale, "apps/v1") == entries
