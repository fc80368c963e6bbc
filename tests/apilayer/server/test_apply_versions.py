"""Server-side apply across the versions of a kind, and through the scale of a workload."""

from __future__ import annotations

from typing import Any

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "d"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        },
    },
}


def autoscaler(version: str, most: int) -> dict[str, Any]:
    spec = {"maxReplicas": most, "scaleTargetRef": TARGET}
    return {
        "apiVersion": f"autoscaling/{version}",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"},
        "spec": spec,
    }


async def apply(client, path: str, body: Any, manager: str, **headers: str) -> Any:
    return await client.request("PATCH", f"{path}?fieldManager={manager}", body, Content_Type=APPLY, **headers)


async def test_fields_of_one_version_are_owned_in_the_other(client) -> None:
    paths = {v: f"/apis/autoscaling/{v}/namespaces/default/horizontalpodautoscalers/h" for v in ("v1", "v2")}
    made = await apply(client, paths["v1"], autoscaler("v1", 3), "alpha")
    assert made.status == 201
    (entry,) = made.json["metadata"]["managedFields"]
    assert entry["apiVersion"] == "autoscaling/v1"
    assert entry["fieldsV1"] == {"f:spec": {"f:maxReplicas": {}, "f:scaleTargetRef": {}}}
    conflict = await apply(client, paths["v2"], autoscaler("v2", 4), "beta")
    assert (conflict.status, conflict.message) == (
        409,
        'Apply failed with 1 conflict: conflict with "alpha": .spec.maxReplicas',
    )
    moved = await apply(client, paths["v2"], autoscaler("v2", 4), "alpha")
    (entry,) = moved.json["metadata"]["managedFields"]
    assert entry["apiVersion"] == "autoscaling/v2"
    assert entry["fieldsV1"]["f:spec"]["f:scaleTargetRef"] == {"f:apiVersion": {}, "f:kind": {}, "f:name": {}}
    assert (moved.status, moved.json["spec"]["maxReplicas"]) == (200, 4)


async def test_who_scales_owns_the_replicas(client) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments/d"
    assert (await apply(client, path, DEPLOYMENT, "alpha")).status == 201
    body = {"spec": {"replicas": 7}}
    scaled = await client.request("PATCH", f"{path}/scale?fieldManager=hpa", body, Content_Type=MERGE)
    assert (scaled.status, scaled.json["spec"], "managedFields" in scaled.json["metadata"]) == (
        200,
        {"replicas": 7},
        False,
    )
    entries = (await client.request("GET", path)).json["metadata"]["managedFields"]
    owners = [
        (entry["manager"], entry.get("subresource"), "f:replicas" in entry["fieldsV1"]["f:spec"]) for entry in entries
    ]
    assert owners == [("alpha", None, False), ("hpa", "scale", True)]
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 2}}
    conflict = await apply(client, f"{path}/scale", scale, "other")
    assert conflict.message.endswith(
        'conflict with "hpa" with subresource "scale" using autoscaling/v1: .spec.replicas'
    )
