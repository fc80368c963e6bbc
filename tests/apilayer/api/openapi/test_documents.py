"""OpenAPI documents: complete, consistent with the rows, and with what kubectl looks for."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
import pytest

from apilayer.api import openapi
from apilayer.api.resources import RESOURCES, Resource

PATHS = openapi.openapi_v3_paths()


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(references, node.values()))
    if isinstance(node, list):
        return set().union(*map(references, node))
    return set()


def document(path: str) -> dict[str, Any]:
    found = openapi.openapi_v3(path)
    assert found is not None
    return found


def group_path(resource: Resource) -> str:
    return f"apis/{resource.api_version}" if resource.group else "api/v1"


def test_the_index_names_every_document_with_its_hash() -> None:
    index = openapi.openapi_v3_index()["paths"]
    assert list(index) == PATHS
    assert {"api", "api/v1", "apis", "apis/apps", "apis/apps/v1", "version"} <= set(index)
    for path, entry in index.items():
        encoded = openapi.openapi_v3_encoded(path)
        assert encoded is not None
        assert encoded.hash == hashlib.sha512(encoded.body).hexdigest().upper()
        assert entry == {"serverRelativeURL": f"/openapi/v3/{path}?hash={encoded.hash}"}


def test_documents_that_are_not_there() -> None:
    assert openapi.openapi_v3("apis/none/v1") is None
    assert openapi.openapi_v3_encoded("") is None


@pytest.mark.parametrize("path", PATHS)
def test_a_document_is_whole_and_has_nothing_more(path: str) -> None:
    found = document(path)
    assert found["openapi"] == "3.0.0"
    schemas = found["components"]["schemas"]
    reached = {ref.removeprefix("#/components/schemas/") for ref in references(found)}
    assert reached == set(schemas)
    encoded = openapi.openapi_v3_encoded(path)
    assert encoded is not None
    assert orjson.loads(encoded.body) == found


def operations(found: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, item in found["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    ]


def test_operation_ids_are_unique_and_named_as_client_generators_expect() -> None:
    ids = [op["operationId"] for path in PATHS for _, _, op in operations(document(path))]
    assert len(ids) == len(set(ids))
    assert {
        "listCoreV1NamespacedPod",
        "listCoreV1PodForAllNamespaces",
        "watchCoreV1NamespacedPodList",
        "watchCoreV1PodListForAllNamespaces",
        "watchCoreV1Namespace",
        "createCoreV1NamespacedConfigMap",
        "readCoreV1NamespacedPodStatus",
        "replaceCoreV1Namespace",
        "patchCoreV1NamespaceStatus",
        "deleteCoordinationV1NamespacedLease",
        "deleteAppsV1CollectionNamespacedDeployment",
        "getAppsV1APIResources",
        "getAppsAPIGroup",
        "getCodeVersion",
        "getAPIVersions",
    } <= set(ids)


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.plural)
def test_every_verb_of_a_resource_has_its_operation(resource: Resource) -> None:
    gvk = {"group": resource.group, "kind": resource.kind, "version": resource.version}
    actions = {
        op["x-kubernetes-action"]
        for path, _, op in operations(document(group_path(resource)))
        if op.get("x-kubernetes-group-version-kind") == gvk and f"/{resource.plural}" in path
    }
    of_verb = {"create": "post", "update": "put"}
    # The eviction of a pod and the binding of one are posted, but to other kinds.
    assert actions - {"watchlist"} == {of_verb.get(verb, verb) for verb in resource.verbs}


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.plural)
def test_kubectl_finds_what_it_asks_of_patch(resource: Resource) -> None:
    gvk = {"group": resource.group, "kind": resource.kind, "version": resource.version}
    patches = [
        op
        for _, method, op in operations(document(group_path(resource)))
        if method == "patch" and op["x-kubernetes-group-version-kind"] == gvk
    ]
    own = [sub for sub in resource.subresources if sub.kind == resource.kind and "patch" in sub.verbs]
    assert len(patches) == ("patch" in resource.verbs) + len(own)
    for patch in patches:
        named = {parameter["name"]: parameter for parameter in patch["parameters"]}
        assert set(named) == {"dryRun", "fieldManager", "fieldValidation", "force"}
        assert named["fieldValidation"]["in"] == "query"
        assert set(patch["requestBody"]["content"]) == {
            "application/apply-patch+yaml",
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
        }


def test_parameters_of_a_path() -> None:
    item = document("api/v1")["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]
    assert [(parameter["name"], parameter["in"]) for parameter in item["parameters"]] == [
        ("name", "path"),
        ("namespace", "path"),
        ("pretty", "query"),
    ]
    assert item["parameters"][0] == {
        "description": "name of the Pod",
        "in": "path",
        "name": "name",
        "required": True,
        "schema": {"type": "string", "uniqueItems": True},
    }
    everywhere = document("api/v1")["paths"]["/api/v1/pods"]
    assert "labelSelector" in [parameter["name"] for parameter in everywhere["parameters"]]
    assert "parameters" not in everywhere["get"]


@pytest.mark.parametrize(
    ("path", "method", "description"),
    [
        ("/api/v1/namespaces/{namespace}/pods", "post", "create a Pod"),
        ("/api/v1/namespaces/{namespace}/events/{name}", "delete", "delete an Event"),
        ("/api/v1/namespaces/{namespace}/endpoints", "post", "create Endpoints"),
        ("/api/v1/namespaces/{namespace}/pods/{name}/binding", "post", "create binding of a Pod"),
        (
            "/api/v1/namespaces/{namespace}/replicationcontrollers/{name}/scale",
            "get",
            "read scale of the specified ReplicationController",
        ),
    ],
)
def test_operations_are_described(path: str, method: str, description: str) -> None:
    assert document("api/v1")["paths"][path][method]["description"] == description


def test_version_2_has_everything_in_one() -> None:
    found = openapi.openapi_v2()
    assert found["swagger"] == "2.0"
    assert {ref.removeprefix("#/definitions/") for ref in references(found)} == set(found["definitions"])
    assert set(found["paths"]) == {path for name in PATHS for path in document(name)["paths"]}
    create = found["paths"]["/api/v1/namespaces/{namespace}/configmaps"]["post"]
    assert create["parameters"][0] == {
        "in": "body",
        "name": "body",
        "required": True,
        "schema": {"$ref": "#/definitions/io.k8s.api.core.v1.ConfigMap"},
    }
    assert create["responses"]["201"]["schema"] == {"$ref": "#/definitions/io.k8s.api.core.v1.ConfigMap"}
    assert create["produces"] == [
        "application/json",
        "application/vnd.kubernetes.protobuf",
        "application/yaml",
    ]
    assert {"uniqueItems", "type", "name", "in", "description"} == set(create["parameters"][1])
    encoded = openapi.openapi_v2_encoded()
    assert orjson.loads(encoded.body) == found
