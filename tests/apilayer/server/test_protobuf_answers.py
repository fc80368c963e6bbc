"""Answers and watches in protobuf, over a real server."""

from __future__ import annotations

from struct import unpack

import pytest

from apilayer.api import protobuf
from apilayer.api.protobuf import message_encoder, type_head
from apilayer.api.protobuf.message import decode_message
from tests.apilayer.protobuf_fields import delimited_fields

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
PROTOBUF = "application/vnd.kubernetes.protobuf"
METADATA = f"{PROTOBUF};as=PartialObjectMetadata;v=v1;g=meta.k8s.io"


def configmap(name: str, **data: str) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def message_in(envelope: bytes) -> bytes:
    assert envelope.startswith(protobuf.MAGIC)
    return dict(delimited_fields(envelope[len(protobuf.MAGIC) :]))[2]


async def test_an_object_is_the_same_in_both(client) -> None:
    body = message_encoder("core/v1.ConfigMap")(configmap("c", a="1"))
    head = type_head("v1", "ConfigMap")
    sent = protobuf.envelope(head, body)
    created = await client.request("POST", CONFIGMAPS, sent, Content_Type=PROTOBUF, Accept=PROTOBUF)
    assert (created.status, created.headers["content-type"]) == (201, PROTOBUF)
    json = (await client.request("GET", f"{CONFIGMAPS}/c")).json
    assert protobuf.decode(created.body) == json
    again = await client.request("GET", f"{CONFIGMAPS}/c", Accept=f"{PROTOBUF},application/json")
    assert again.body == created.body


async def test_lists_and_metadata(client) -> None:
    for name in ("a", "b"):
        await client.request("POST", CONFIGMAPS, configmap(name, k=name))
    listed = await client.request("GET", f"{CONFIGMAPS}?limit=1", Accept=PROTOBUF)
    parts = delimited_fields(message_in(listed.body))
    json = (await client.request("GET", f"{CONFIGMAPS}?limit=1")).json
    assert decode_message(parts[0][1], 0, len(parts[0][1]), "meta/v1.ListMeta", 0) == json["metadata"]
    assert [number for number, _ in parts] == [1, 2]
    assert decode_message(parts[1][1], 0, len(parts[1][1]), "core/v1.ConfigMap", 0) == json["items"][0]
    reduced = await client.request("GET", f"{CONFIGMAPS}/a", Accept=METADATA)
    ((number, metadata),) = delimited_fields(message_in(reduced.body))
    assert number == 1
    assert decode_message(metadata, 0, len(metadata), "meta/v1.ObjectMeta", 0)["name"] == "a"
    assert b"PartialObjectMetadata" in reduced.body
    many = await client.request("GET", CONFIGMAPS, Accept=METADATA.replace("Metadata;", "MetadataList;"))
    assert [number for number, _ in delimited_fields(message_in(many.body))] == [1, 2, 2]


async def test_failures_and_tables(client) -> None:
    missing = await client.request("GET", f"{CONFIGMAPS}/none", Accept=PROTOBUF)
    assert (missing.status, missing.headers["content-type"]) == (404, PROTOBUF)
    found = protobuf.decode(missing.body)
    assert (found["kind"], found["reason"], found["details"]["name"]) == ("Status", "NotFound", "none")
    table = await client.request("GET", CONFIGMAPS, Accept=f"{PROTOBUF};as=Table;v=v1;g=meta.k8s.io")
    assert table.status == 406
    deleted = await client.request("POST", CONFIGMAPS, configmap("d"))
    assert deleted.status == 201
    gone = await client.request("DELETE", f"{CONFIGMAPS}/d", Accept=PROTOBUF)
    assert protobuf.decode(gone.body)["status"] == "Success"


@pytest.mark.parametrize("accept", [PROTOBUF, f"{PROTOBUF};stream=watch"])
async def test_a_watch_is_frames_of_bare_events(client, server, accept: str) -> None:
    await client.request("POST", CONFIGMAPS, configmap("w", a="1"))
    async with server.connect() as other:
        query = "watch=1&resourceVersion=0&fieldSelector=metadata.name=w&timeoutSeconds=1&allowWatchBookmarks=true"
        watching = await other.watch(f"{CONFIGMAPS}?{query}", Accept=accept)
        assert watching.headers["content-type"] == f"{PROTOBUF};stream=watch"
        kind, obj = await frame(watching)
        assert (kind, protobuf.decode(obj)["data"]) == ("ADDED", {"a": "1"})
        # So short a watch has its one bookmark at once.
        kind, obj = await frame(watching)
        bookmark = protobuf.decode(obj)
        assert (kind, bookmark["kind"], list(bookmark["metadata"])) == ("BOOKMARK", "ConfigMap", ["resourceVersion"])
        await client.request("PUT", f"{CONFIGMAPS}/w", configmap("w", a="2"))
        kind, obj = await frame(watching)
        assert (kind, protobuf.decode(obj)["data"]) == ("MODIFIED", {"a": "2"})


async def frame(watching) -> tuple[str, bytes]:
    """Type and object of the next event: four bytes of length, a WatchEvent, in it a RawExtension."""
    (size,) = unpack(">I", await watching.exactly(4))
    event = dict(delimited_fields(await watching.exactly(size)))
    ((number, obj),) = delimited_fields(event[2])
    assert number == 1
    return event[1].decode(), obj


async def test_a_watch_that_cannot_start_says_so_in_a_frame(client, server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apilayer.storage.resource_cache.MAX_WINDOW_EVENTS", 1)
    for name in ("a", "b", "c"):
        await client.request("POST", CONFIGMAPS, configmap(name))
    async with server.connect() as other:
        watching = await other.watch(f"{CONFIGMAPS}?watch=1&resourceVersion=1", Accept=PROTOBUF)
        kind, obj = await frame(watching)
        assert (kind, protobuf.decode(obj)["reason"]) == ("ERROR", "Expired")


async def test_both_versions_of_an_autoscaler(client) -> None:
    """One object, kept once, in the form that each version has."""
    path = "/apis/autoscaling/{}/namespaces/default/horizontalpodautoscalers"
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    old = {"metadata": {"name": "h"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3}}
    old["spec"]["targetCPUUtilizationPercentage"] = 70
    made = await client.request("POST", path.format("v1"), old)
    assert (made.status, made.json["spec"]["targetCPUUtilizationPercentage"]) == (201, 70)
    new = (await client.request("GET", path.format("v2") + "/h")).json
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    assert new["spec"]["metrics"] == [{"type": "Resource", "resource": cpu}]
    assert new["metadata"]["resourceVersion"] == made.json["metadata"]["resourceVersion"]
    listed = await client.request("GET", path.format("v1"), Accept=PROTOBUF)
    assert b"autoscaling/v1" in listed.body
    memory = {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}
    new["spec"]["metrics"].append({"type": "Resource", "resource": memory})
    assert (await client.request("PUT", path.format("v2") + "/h", new)).status == 200
    shown = (await client.request("GET", path.format("v1") + "/h")).json
    assert "memory" in shown["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"]
    back = await client.request("PUT", path.format("v1") + "/h", shown)
    assert back.status == 200
    kept = (await client.request("GET", path.format("v2") + "/h")).json
    assert {metric["resource"]["name"] for metric in kept["spec"]["metrics"]} == {"cpu", "memory"}
    assert "annotations" not in kept["metadata"]


async def test_both_groups_of_events(client) -> None:
    events = "/apis/events.k8s.io/v1/namespaces/default/events"
    event = {
        "metadata": {"name": "e"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "x.y/z",
        "reportingInstance": "i",
        "action": "a",
        "reason": "r",
        "regarding": {"kind": "Pod", "namespace": "default", "name": "p"},
        "note": "n",
        "type": "Normal",
    }
    made = await client.request("POST", events, event)
    assert (made.status, made.json["note"]) == (201, "n")
    core = (await client.request("GET", "/api/v1/namespaces/default/events/e")).json
    assert (core["message"], core["involvedObject"]["name"], core["reportingComponent"]) == ("n", "p", "x.y/z")
    found = (await client.request("GET", f"{events}?fieldSelector=regarding.name=p")).json["items"]
    assert [item["regarding"]["name"] for item in found] == ["p"]
    wrong = await client.request("GET", f"{events}?fieldSelector=involvedObject.name=p")
    assert wrong.message == "field label not supported: involvedObject.name"
