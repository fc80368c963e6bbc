"""Server-side apply over HTTP: what the parts of the server add to the field manager."""

from __future__ import annotations

from typing import Any

import pytest

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


def config(name: str = "a", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def apply(client, body: Any, query: str = "fieldManager=alpha", path: str = f"{CONFIGMAPS}/a") -> Any:
    return await client.request("PATCH", f"{path}?{query}", body, Content_Type=APPLY)


def managers(answer) -> list[tuple[str, str]]:
    return [(entry["manager"], entry["operation"]) for entry in answer.json["metadata"].get("managedFields", ())]


async def test_apply_creates_then_changes_then_does_nothing(client) -> None:
    created = await apply(client, config(x="1"))
    assert (created.status, created.json["data"], managers(created)) == (201, {"x": "1"}, [("alpha", "Apply")])
    changed = await apply(client, config(x="2"))
    assert (changed.status, changed.json["data"]) == (200, {"x": "2"})
    again = await apply(client, config(x="2"))
    assert again.json == changed.json


async def test_yaml_bodies(client) -> None:
    text = b'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: "1"\n  x: "2"\n'
    answer = await apply(client, text)
    assert (answer.status, answer.json["data"]) == (201, {"x": "2"})
    assert answer.headers["warning"] == '299 - "line 6: key \\"x\\" already set in map"'
    strict = await apply(client, text, "fieldManager=alpha&fieldValidation=Strict")
    assert (strict.status, strict.message) == (
        400,
        "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n"
        '  line 6: key "x" already set in map',
    )
    assert "warning" not in (await apply(client, text, "fieldManager=alpha&fieldValidation=Ignore")).headers


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"a: b: c", "error decoding YAML: error converting YAML to JSON: yaml: mapping values are not allowed"),
        (b'"x"', "cannot unmarshal string into Go value of type map[string]interface {}"),
        (b"[]", "cannot unmarshal array into Go value of type map[string]interface {}"),
        (b"", "invalid object type: /, Kind="),
        (config("b"), "the name of the object (b) does not match the name on the URL (a)"),
        (
            {**config(), "metadata": {"name": "a", "namespace": "b"}},
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
    ],
)
async def test_bad_bodies(client, body: Any, message: str) -> None:
    answer = await apply(client, body)
    assert answer.status == 400
    assert message in answer.message


async def test_preconditions(client) -> None:
    created = (await apply(client, config(x="1"))).json
    stale = {**config(x="2"), "metadata": {"name": "a", "resourceVersion": "1"}}
    assert (await apply(client, stale)).status == 409
    fresh = {**config(x="2"), "metadata": {"name": "a", "resourceVersion": created["metadata"]["resourceVersion"]}}
    assert (await apply(client, fresh)).status == 200
    other = {**config(x="2"), "metadata": {"name": "a", "uid": "other"}}
    assert (await apply(client, other)).status == 422
    absent = await apply(client, {**other, "metadata": {"name": "b", "uid": "u"}}, path=f"{CONFIGMAPS}/b")
    assert absent.status == 409
    assert "uid mismatch: the provided object specified uid u, and no existing object was found" in absent.message


async def test_what_an_apply_cannot_create(client) -> None:
    nowhere = await apply(client, config(), path="/api/v1/namespaces/nowhere/configmaps/a")
    assert (nowhere.status, nowhere.message) == (404, 'namespaces "nowhere" not found')
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "status": {}}
    path = "/apis/apps/v1/namespaces/default/deployments/d/status"
    assert (await apply(client, deployment, path=path)).status == 404


async def test_dry_run_stores_nothing(client) -> None:
    tried = await apply(client, config(x="1"), "fieldManager=alpha&dryRun=All")
    assert (tried.status, "resourceVersion" in tried.json["metadata"]) == (201, False)
    assert (await client.request("GET", f"{CONFIGMAPS}/a")).status == 404


async def test_every_write_says_who_made_it(client) -> None:
    made = await client.request("POST", CONFIGMAPS, config(x="1"), User_Agent="maker/v1 (x)")
    assert managers(made) == [("maker", "Update")]
    changed = {"data": {"y": "1"}}
    path = f"{CONFIGMAPS}/a"
    patched = await client.request("PATCH", f"{path}?fieldManager=named", changed, Content_Type=MERGE, User_Agent="x/1")
    assert managers(patched) == [("maker", "Update"), ("named", "Update")]
    replaced = await client.request("PUT", path, config(z="1"), User_Agent="putter")
    assert managers(replaced) == [("maker", "Update"), ("putter", "Update")]
    cleared = {"metadata": {"managedFields": []}}
    assert managers(await client.request("PATCH", path, cleared, Content_Type=MERGE)) == []


async def test_objects_that_are_too_large_with_their_managers_are_stored_without(client) -> None:
    data = {f"{number:0200}": "x" for number in range(4000)}
    answer = await client.request("POST", CONFIGMAPS, {"metadata": {"name": "a"}, "data": data})
    assert answer.status == 201
    assert "managedFields" not in answer.json["metadata"]
    body = {"metadata": {"labels": {"x": "y"}}}
    patched = await client.request("PATCH", f"{CONFIGMAPS}/a", body, Content_Type=MERGE)
    assert patched.status == 200


async def test_other_forms_of_apply_are_not_served(client) -> None:
    answer = await client.request(
        "PATCH", f"{CONFIGMAPS}/a?fieldManager=x", b"", Content_Type="application/apply-patch+cbor"
    )
    assert answer.status == 415


async def test_repeated_owners_are_dropped_with_a_warning(client) -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u"}
    twice = {"name": "a", "ownerReferences": [owner, owner]}
    made = await client.request("POST", CONFIGMAPS, {"metadata": twice})
    assert made.json["metadata"]["ownerReferences"] == [owner]
    assert "contains duplicate entries; API server dedups" in made.headers["warning"]
    assert made.headers["warning"].endswith('duplicate UID(s) observed: u"')
    patched = await client.request("PATCH", f"{CONFIGMAPS}/a", {"metadata": twice}, Content_Type=MERGE)
    assert patched.json["metadata"]["ownerReferences"] == [owner]
    assert "after mutating admission happens" in patched.headers["warning"]
