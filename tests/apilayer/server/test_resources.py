"""The resource API through the whole server."""

from __future__ import annotations

import base64
import gzip

import pytest

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
MERGE = "application/merge-patch+json"


def configmap(name: str = "c", **data: str) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def test_the_life_of_an_object(client) -> None:
    created = await client.request("POST", CONFIGMAPS, configmap(a="1"))
    assert created.status == 201
    assert created.headers["content-type"] == "application/json"
    assert created.headers["cache-control"] == "no-cache, private"
    assert len(created.headers["audit-id"]) == 36
    assert "date" in created.headers
    got = await client.request("GET", f"{CONFIGMAPS}/c")
    assert (got.status, got.json) == (200, created.json)
    replaced = await client.request("PUT", f"{CONFIGMAPS}/c", {**got.json, "data": {"a": "2"}})
    assert (replaced.status, replaced.json["data"]) == (200, {"a": "2"})
    patched = await client.request("PATCH", f"{CONFIGMAPS}/c", {"data": {"b": "3"}}, Content_Type=MERGE)
    assert patched.json["data"] == {"a": "2", "b": "3"}
    stale = await client.request("PUT", f"{CONFIGMAPS}/c", got.json)
    assert (stale.status, stale.json["reason"]) == (409, "Conflict")
    deleted = await client.request("DELETE", f"{CONFIGMAPS}/c")
    assert deleted.json["status"] == "Success"
    assert deleted.json["details"] == {"name": "c", "kind": "configmaps", "uid": got.json["metadata"]["uid"]}
    gone = await client.request("GET", f"{CONFIGMAPS}/c")
    assert (gone.status, gone.message) == (404, 'configmaps "c" not found')


@pytest.mark.parametrize(
    ("content_type", "operation"),
    [
        (MERGE, b'{"data":{"a":null,"b":"x"}}'),
        ("application/strategic-merge-patch+json", b'{"data":{"a":null,"b":"x"}}'),
        (
            "application/json-patch+json",
            b'[{"op":"remove","path":"/data/a"},{"op":"add","path":"/data/b","value":"x"}]',
        ),
    ],
)
async def test_patches(client, content_type: str, operation: bytes) -> None:
    await client.request("POST", CONFIGMAPS, configmap(a="1"))
    patched = await client.request("PATCH", f"{CONFIGMAPS}/c", operation, Content_Type=content_type)
    assert (patched.status, patched.json["data"]) == (200, {"b": "x"})


async def test_a_patch_with_a_stale_version(client) -> None:
    await client.request("POST", CONFIGMAPS, configmap(a="1"))
    body = {"metadata": {"resourceVersion": "1"}, "data": {"q": "1"}}
    answer = await client.request("PATCH", f"{CONFIGMAPS}/c", body, Content_Type=MERGE)
    assert (answer.status, answer.json["reason"]) == (409, "Conflict")
    renamed = await client.request("PATCH", f"{CONFIGMAPS}/c", {"metadata": {"name": "z"}}, Content_Type=MERGE)
    assert renamed.status == 400
    assert renamed.message == "the name of the object (z) does not match the name on the URL (c)"


async def test_bodies_in_yaml_and_protobuf(client) -> None:
    yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y1}\ndata: {a: b}\n"
    answer = await client.request("POST", CONFIGMAPS, yaml, Content_Type="application/yaml")
    assert (answer.status, answer.json["data"]) == (201, {"a": "b"})
    meta = b"\x0a\x01p"
    raw = b"\x0a" + bytes([len(meta)]) + meta + b"\x12\x06\x0a\x01a\x12\x01b"
    kind = b"\x0a\x02v1\x12\x09ConfigMap"
    envelope = b"k8s\0\x0a" + bytes([len(kind)]) + kind + b"\x12" + bytes([len(raw)]) + raw
    answer = await client.request("POST", CONFIGMAPS, envelope, Content_Type="application/vnd.kubernetes.protobuf")
    assert answer.status == 201, answer.json
    assert (answer.status, answer.json["metadata"]["name"], answer.json["data"]) == (201, "p", {"a": "b"})


async def test_lists_and_pages(client) -> None:
    for name in "abc":
        await client.request("POST", CONFIGMAPS, configmap(name))
    listed = (await client.request("GET", CONFIGMAPS)).json
    assert (listed["kind"], listed["apiVersion"]) == ("ConfigMapList", "v1")
    assert [item["metadata"]["name"] for item in listed["items"]] == ["a", "b", "c"]
    assert not any("kind" in item for item in listed["items"])
    page = (await client.request("GET", f"{CONFIGMAPS}?limit=2")).json
    assert page["metadata"]["remainingItemCount"] == 1
    rest = (await client.request("GET", f"{CONFIGMAPS}?limit=2&continue={page['metadata']['continue']}")).json
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c"]
    assert rest["metadata"]["resourceVersion"] == page["metadata"]["resourceVersion"]
    by_name = (await client.request("GET", f"{CONFIGMAPS}?fieldSelector=metadata.name%3Db")).json
    assert [item["metadata"]["name"] for item in by_name["items"]] == ["b"]
    deleted = (await client.request("DELETE", f"{CONFIGMAPS}?fieldSelector=metadata.name!%3Db")).json
    assert [item["metadata"]["name"] for item in deleted["items"]] == ["a", "c"]


async def test_tables_and_metadata(client) -> None:
    await client.request("POST", CONFIGMAPS, configmap(a="1"))
    table = (await client.request("GET", CONFIGMAPS, Accept=TABLE)).json
    assert (table["kind"], table["rows"][0]["cells"][:2]) == ("Table", ["c", 1])
    assert table["columnDefinitions"][0]["name"] == "Name"
    one = (await client.request("GET", f"{CONFIGMAPS}/c?includeObject=None", Accept=TABLE)).json
    assert one["rows"][0]["object"] is None
    bad = await client.request("GET", f"{CONFIGMAPS}?includeObject=x", Accept=TABLE)
    assert bad.status == 400
    metadata_only = TABLE.replace("Table", "PartialObjectMetadata")
    reduced = (await client.request("GET", f"{CONFIGMAPS}/c", Accept=metadata_only)).json
    assert (reduced["kind"], "data" in reduced) == ("PartialObjectMetadata", False)
    wrong = await client.request("GET", CONFIGMAPS, Accept=metadata_only)
    assert wrong.status == 406
    assert wrong.message.endswith("but the requested object is a list (*core.ConfigMapList)")
    list_form = metadata_only.replace("Metadata;", "MetadataList;")
    reduced = (await client.request("GET", CONFIGMAPS, Accept=list_form)).json
    assert [item["metadata"]["name"] for item in reduced["items"]] == ["c"]


async def test_other_forms_of_answers(client) -> None:
    await client.request("POST", CONFIGMAPS, configmap(a="1"))
    answer = await client.request("GET", f"{CONFIGMAPS}/c", Accept="application/yaml")
    assert answer.headers["content-type"] == "application/yaml"
    assert answer.body.startswith(b'apiVersion: v1\ndata:\n  a: "1"\nkind: ConfigMap\n')
    assert (await client.request("GET", f"{CONFIGMAPS}/c?pretty=true")).body.startswith(b'{\n  "kind"')
    assert (await client.request("GET", f"{CONFIGMAPS}/c", User_Agent="curl/8")).body.startswith(b"{\n")
    asked = "application/json;pretty=1"
    for path in (f"{CONFIGMAPS}/c", CONFIGMAPS, "/apis/apps"):
        assert (await client.request("GET", path, Accept=asked)).body.startswith(b"{\n"), path
    refused = await client.request("POST", CONFIGMAPS, configmap("x"), Accept="application/xml")
    assert refused.status == 406
    assert (await client.request("GET", f"{CONFIGMAPS}/x")).status == 404


async def test_large_answers_are_compressed_for_who_wants_that(client) -> None:
    await client.request("POST", CONFIGMAPS, configmap(a="x" * 200_000))
    plain = await client.request("GET", f"{CONFIGMAPS}/c")
    packed = await client.request("GET", f"{CONFIGMAPS}/c", Accept_Encoding="gzip, deflate")
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert len(packed.body) < 10_000
    assert gzip.decompress(packed.body) == plain.body


async def test_warnings(client) -> None:
    answer = await client.request("POST", CONFIGMAPS, {**configmap(), "bogus": 1, "more": 2})
    assert answer.status == 201
    assert answer.headers["warning"] == '299 - "unknown field \\"bogus\\""\n299 - "unknown field \\"more\\""'


async def test_dry_run(client) -> None:
    answer = await client.request("POST", f"{CONFIGMAPS}?dryRun=All", configmap())
    assert answer.status == 201
    assert "resourceVersion" not in answer.json["metadata"]
    assert (await client.request("GET", f"{CONFIGMAPS}/c")).status == 404


async def test_secrets_and_pods(client) -> None:
    secrets = "/api/v1/namespaces/default/secrets"
    answer = await client.request("POST", secrets, {"metadata": {"name": "s"}, "stringData": {"a": "b"}})
    assert (answer.status, answer.json["type"]) == (201, "Opaque")
    assert base64.b64decode(answer.json["data"]["a"]) == b"b"
    pods = "/api/v1/namespaces/default/pods"
    pod = {"metadata": {"generateName": "p-"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    created = (await client.request("POST", pods, pod)).json
    name = created["metadata"]["name"]
    assert created["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    status = {"status": {"phase": "Running"}, "spec": {"nodeName": "x"}}
    answer = await client.request("PATCH", f"{pods}/{name}/status", status, Content_Type=MERGE)
    assert (answer.json["status"]["phase"], "nodeName" in answer.json["spec"]) == ("Running", False)
    assert (await client.request("GET", f"{pods}/{name}/status")).json == answer.json
    deleted = await client.request("DELETE", f"{pods}/{name}")
    assert (deleted.status, deleted.json["kind"]) == (200, "Pod")


@pytest.mark.parametrize(
    ("method", "path", "code", "message"),
    [
        ("GET", "/api/v1/namespaces/default/nosuch", 404, "the server could not find the requested resource"),
        ("GET", "/apis/apps/v9/deployments", 404, "the server could not find the requested resource"),
        ("GET", f"{CONFIGMAPS}/c/nosuch", 404, "the server could not find the requested resource"),
        ("GET", f"{CONFIGMAPS}/a%2Fb", 404, "the server could not find the requested resource"),
        ("GET", "/api/v1/namespaces/default//configmaps", 404, "the server could not find the requested resource"),
        ("GET", "/api/v1/configmaps/c", 404, "the server could not find the requested resource"),
        ("GET", CONFIGMAPS.replace("/api/", "/apis//"), 404, "the server could not find the requested resource"),
        ("GET", f"{CONFIGMAPS}/Bad_Name", 404, 'configmaps "Bad_Name" not found'),
        ("PUT", CONFIGMAPS, 405, "the server does not allow this method on the requested resource"),
        ("POST", f"{CONFIGMAPS}/c", 405, "the server does not allow this method on the requested resource"),
        ("POST", "/api/v1/configmaps", 405, "the server does not allow this method on the requested resource"),
        ("DELETE", "/api/v1/namespaces", 405, "the server does not allow this method on the requested resource"),
        ("OPTIONS", CONFIGMAPS, 405, "the server does not allow this method on the requested resource"),
        ("GET", f"{CONFIGMAPS}?timeout=x", 400, "invalid timeout specified in the request URL"),
        ("GET", f"{CONFIGMAPS}?limit=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
    ],
)
async def test_what_is_not_there(client, method: str, path: str, code: int, message: str) -> None:
    answer = await client.request(method, path, b"{}" if method in ("PUT", "POST") else None)
    assert answer.status == code
    assert answer.message.startswith(message)


@pytest.mark.parametrize("path", ["/apis/nosuch.example.com/v1/x", "/nosuch", "/apis/nosuch.example.com"])
async def test_paths_of_nobody(client, path: str) -> None:
    answer = await client.request("GET", path)
    assert (answer.status, answer.body) == (404, b"404 page not found\n")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_head(client) -> None:
    answer = await client.request("HEAD", f"{CONFIGMAPS}/c")
    assert (answer.status, answer.body) == (405, b"")
    assert (await client.request("HEAD", "/livez")).status == 200


async def test_a_form_that_does_not_fit_is_refused_before_anything_is_done(client) -> None:
    list_form = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    answer = await client.request("POST", CONFIGMAPS, configmap(), Accept=list_form)
    assert answer.status == 406
    assert answer.message.endswith("but the requested object is not a list (*core.ConfigMap)")
    assert (await client.request("GET", f"{CONFIGMAPS}/c")).status == 404
    assert (await client.request("GET", f"{CONFIGMAPS}?watch=1", Accept=list_form)).status == 406
    object_form = list_form.replace("List", "")
    await client.request("POST", CONFIGMAPS, configmap())
    assert (await client.request("DELETE", CONFIGMAPS, Accept=object_form)).status == 406
    assert (await client.request("GET", f"{CONFIGMAPS}/c")).status == 200


async def test_objects_without_metadata(client) -> None:
    await client.request("POST", CONFIGMAPS, configmap())
    for operation in ({"metadata": None}, {"metadata": {"name": None}}):
        answer = await client.request("PATCH", f"{CONFIGMAPS}/c", operation, Content_Type=MERGE)
        assert answer.status == 400
        assert "was undeterminable: name must be provided" in answer.message
    assert (await client.request("PUT", f"{CONFIGMAPS}/c", {"metadata": None})).status == 400
    assert (await client.request("POST", CONFIGMAPS, {"metadata": None})).status == 422


async def test_what_is_allowed_but_unwise_comes_with_a_warning(client) -> None:
    container = {"name": "c", "image": "i", "resources": {"requests": {"memory": "1m"}}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container]}}
    place = "spec.containers[0].resources.requests[memory]"
    warning = f'299 - "{place}: fractional byte value \\"1m\\" is invalid, must be an integer"'
    created = await client.request("POST", "/api/v1/namespaces/default/pods", pod)
    assert (created.status, created.headers["warning"]) == (201, warning)
    labels = {"metadata": {"labels": {"a": "b"}}}
    patched = await client.request("PATCH", "/api/v1/namespaces/default/pods/p", labels, Content_Type=MERGE)
    assert patched.status == 200
    assert "warning" not in patched.headers  # pods change often, and mostly by controllers
