"""Lists that are sent empty: null to whoever reads them, a field that somebody owns to whoever asks who does."""

from __future__ import annotations

from typing import Any

from apilayer.api.decode import decode_body
from apilayer.api.decode.emptied import without_empty
from apilayer.api.resources import find

ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles"
PATCHES = {
    "application/merge-patch+json": b'{"rules": [\n]}',
    "application/strategic-merge-patch+json": b'{"rules":[]}',
    "application/json-patch+json": b'[{"op":"add","path":"/rules","value":[]}]',
}


def role(name: str = "r", **members: Any) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"a": "b"}}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, **members}


def owners(answer: Any) -> list[str]:
    """Who owns the rules of the role that was answered, which has none."""
    assert answer.json["rules"] is None
    entries = answer.json["metadata"].get("managedFields", ())
    return [entry["manager"] for entry in entries if "f:rules" in entry["fieldsV1"]]


async def test_who_creates_with_an_empty_list_owns_it(client) -> None:
    bodies = [(role("empty", rules=[]), ["a"]), (role("null", rules=None), []), (role("absent"), [])]
    for body, owned in bodies:
        made = await client.request("POST", f"{ROLES}?fieldManager=a", body)
        assert (made.status, owners(made)) == (201, owned)
        assert owners(await client.request("GET", f"{ROLES}/{body['metadata']['name']}")) == owned
    text = b"kind: Role\napiVersion: rbac.authorization.k8s.io/v1\nmetadata: {name: yaml}\nrules: [ ]\n"
    made = await client.request("POST", f"{ROLES}?fieldManager=a", text, Content_Type="application/yaml")
    assert (made.status, owners(made)) == (201, ["a"])


async def test_who_updates_with_an_empty_list_takes_it_once(client) -> None:
    await client.request("POST", f"{ROLES}?fieldManager=a", role())
    taken = await client.request("PUT", f"{ROLES}/r?fieldManager=b", role(rules=[]))
    assert (taken.status, owners(taken)) == (200, ["b"])
    again = await client.request("PUT", f"{ROLES}/r?fieldManager=b", role(rules=[]))
    assert again.json == taken.json
    assert (await client.request("PUT", f"{ROLES}/r?fieldManager=c", role(rules=None))).json == taken.json


async def test_who_patches_with_an_empty_list_takes_it(client) -> None:
    await client.request("POST", f"{ROLES}?fieldManager=a", role(rules=[]))
    for manager, (content_type, body) in zip("bcd", PATCHES.items(), strict=True):
        taken = await client.request("PATCH", f"{ROLES}/r?fieldManager={manager}", body, Content_Type=content_type)
        assert (taken.status, owners(taken)) == (200, [manager])


def test_lists_within_lists_and_those_that_may_be_left_out() -> None:
    pods = find("", "v1", "pods")
    assert pods is not None
    spec = b'{"containers":[{"args":[]}],"volumes":[null,{"projected":{"sources":[]}}]}'
    body = b'{"metadata":{"finalizers":[]},"spec":%s}' % spec
    plain, kept = (decode_body(body, None, pods, emptied=emptied).object for emptied in (False, True))
    assert plain["spec"]["volumes"][1]["projected"]["sources"] is None
    assert kept["spec"]["volumes"][1]["projected"]["sources"] == []
    assert without_empty(kept, "core/v1.Pod") == plain
    kept["spec"]["volumes"][1]["projected"]["sources"] = None
    assert kept == plain


async def test_an_object_with_objects_of_another_kind_in_it_keeps_them(client) -> None:
    """Claims in a StatefulSet have a kind of their own, which is not among what is decoded."""
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    labels = {"a": "b"}
    container = {"name": "c", "image": "i", "args": []}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        "volumeClaimTemplates": [claim],
    }
    body = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "s"}, "spec": spec}
    made = await client.request("POST", "/apis/apps/v1/namespaces/default/statefulsets?fieldManager=a", body)
    assert made.status == 201, made.json
    assert made.json["spec"]["volumeClaimTemplates"][0]["kind"] == "PersistentVolumeClaim"
