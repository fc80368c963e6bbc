"""Discovery documents, classic and aggregated, as the rows make them."""

from __future__ import annotations

from apilayer.api import discovery
from apilayer.api.resources import RESOURCES

OBJECT_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


def test_api_versions() -> None:
    assert discovery.api_versions("127.0.0.1:6443") == {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:6443"}],
    }


def test_api_groups_and_one_of_them() -> None:
    groups = discovery.api_groups()
    assert list(groups) == ["kind", "apiVersion", "groups"]
    apps = {
        "name": "apps",
        "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
        "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"},
    }
    assert groups["groups"][1] == apps
    autoscaling = discovery.api_group("autoscaling")
    assert autoscaling is not None
    assert [version["version"] for version in autoscaling["versions"]] == ["v2", "v1"]
    assert autoscaling["preferredVersion"]["version"] == "v2"
    assert "" not in [group["name"] for group in groups["groups"]]
    assert discovery.api_group("apps") == {"kind": "APIGroup", "apiVersion": "v1", **apps}
    assert discovery.api_group("") is None
    assert discovery.api_group("none") is None


def test_resources_of_the_core_group() -> None:
    document = discovery.api_resource_list("", "v1")
    assert document is not None
    assert list(document) == ["kind", "groupVersion", "resources"]
    assert document["groupVersion"] == "v1"
    names = [entry["name"] for entry in document["resources"]]
    assert names == sorted(names)
    by_name = {entry["name"]: entry for entry in document["resources"]}
    assert by_name["pods"] == {
        "name": "pods",
        "singularName": "pod",
        "namespaced": True,
        "kind": "Pod",
        "verbs": OBJECT_VERBS,
        "shortNames": ["po"],
        "categories": ["all"],
        "storageVersionHash": "xPOwRZ+Yhw8=",
    }
    assert by_name["pods/status"] == {
        "name": "pods/status",
        "singularName": "",
        "namespaced": True,
        "kind": "Pod",
        "verbs": ["get", "patch", "update"],
    }
    assert by_name["configmaps"]["storageVersionHash"] == "qFsyl6wFWjQ="
    assert "deletecollection" not in by_name["namespaces"]["verbs"]


def test_resources_of_a_named_group() -> None:
    document = discovery.api_resource_list("apps", "v1")
    assert document is not None
    assert list(document) == ["kind", "apiVersion", "groupVersion", "resources"]
    assert document["groupVersion"] == "apps/v1"
    by_name = {entry["name"]: entry for entry in document["resources"]}
    assert by_name["deployments"]["storageVersionHash"] == "8aSe+NMegvE="
    assert (by_name["deployments/scale"]["group"], by_name["deployments/scale"]["kind"]) == ("autoscaling", "Scale")
    assert discovery.api_resource_list("apps", "v2") is None
    assert discovery.api_resource_list("none", "v1") is None


def test_aggregated_discovery_says_the_same() -> None:
    for core in (True, False):
        document = discovery.aggregated(core)
        assert document["kind"] == "APIGroupDiscoveryList"
        assert document["apiVersion"] == "apidiscovery.k8s.io/v2"
        for item in document["items"]:
            group = item["metadata"].get("name", "")
            assert (group == "") is core
            for version in item["versions"]:
                assert version["freshness"] == "Current"
                classic = discovery.api_resource_list(group, version["version"])
                assert classic is not None
                expected = [entry["name"] for entry in classic["resources"]]
                found: list[str] = []
                for entry in version["resources"]:
                    found.append(entry["resource"])
                    found += [f"{entry['resource']}/{sub['subresource']}" for sub in entry.get("subresources", [])]
                assert found == expected


def test_an_aggregated_entry() -> None:
    (item,) = discovery.aggregated(core=True)["items"]
    entries = {entry["resource"]: entry for entry in item["versions"][0]["resources"]}
    assert entries["namespaces"] == {
        "resource": "namespaces",
        "responseKind": {"group": "", "version": "", "kind": "Namespace"},
        "scope": "Cluster",
        "singularResource": "namespace",
        "verbs": [verb for verb in OBJECT_VERBS if verb != "deletecollection"],
        "shortNames": ["ns"],
        "subresources": [
            {
                "subresource": "finalize",
                "responseKind": {"group": "", "version": "", "kind": "Namespace"},
                "verbs": ["update"],
            },
            {
                "subresource": "status",
                "responseKind": {"group": "", "version": "", "kind": "Namespace"},
                "verbs": ["get", "patch", "update"],
            },
        ],
    }


def test_every_row_is_discoverable() -> None:
    for resource in RESOURCES:
        document = discovery.api_resource_list(resource.group, resource.version)
        assert document is not None
        assert resource.plural in [entry["name"] for entry in document["resources"]]
