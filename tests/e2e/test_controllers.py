"""What makes a lone API server usable, as kubectl sees it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.cluster import needs_kubectl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.on_etcd import Cluster

pytestmark = pytest.mark.slow

NAMESPACE = "team"
SHORT = "--timeout=30s"


@pytest.fixture(scope="module")
def k(own_on_either: Cluster) -> Cluster:
    """One API server."""
    needs_kubectl()
    return own_on_either


@pytest.fixture
def team(k: Cluster) -> Iterator[Cluster]:
    """A namespace that is gone for good after each test."""
    k.kubectl("create", "namespace", NAMESPACE)
    k.kubectl("wait", "--for=create", "serviceaccount/default", f"-n={NAMESPACE}", SHORT)
    yield k
    k.kubectl("delete", "namespace", NAMESPACE, SHORT, "--ignore-not-found")


def names(k: Cluster, kind: str, *options: str) -> list[str]:
    listed = json.loads(k.kubectl("get", kind, f"-n={NAMESPACE}", "-o=json", *options))
    return [item["metadata"]["name"] for item in listed["items"]]


def one(k: Cluster, kind: str, name: str) -> Any:
    return json.loads(k.kubectl("get", kind, name, f"-n={NAMESPACE}", "-o=json"))


def deployment_with_dependents(k: Cluster) -> None:
    """A deployment, a replica set of it and a pod of that, as kube-controller-manager would make them."""
    k.kubectl("create", "deployment", "web", "--image=nginx", f"-n={NAMESPACE}")
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
    selector = {"matchLabels": {"app": "web"}}
    make(
        k,
        "apps/v1",
        "ReplicaSet",
        "web-1",
        ("apps/v1", "Deployment", "web"),
        {"selector": selector, "template": template},
    )
    make(k, "v1", "Pod", "web-1-a", ("apps/v1", "ReplicaSet", "web-1"), template["spec"])


def make(k: Cluster, version: str, kind: str, name: str, owner: tuple[str, str, str], spec: object) -> None:
    uid = one(k, owner[1].lower(), owner[2])["metadata"]["uid"]
    reference = {"apiVersion": owner[0], "kind": owner[1], "name": owner[2], "uid": uid, "blockOwnerDeletion": True}
    metadata = {"name": name, "labels": {"app": "web"}, "ownerReferences": [reference]}
    obj = {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}
    k.kubectl("create", f"-n={NAMESPACE}", "-f=-", stdin=json.dumps(obj))


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_what_a_deployment_owns_goes_with_it(team: Cluster, cascade: str) -> None:
    deployment_with_dependents(team)
    team.kubectl("delete", "deployment", "web", f"--cascade={cascade}", f"-n={NAMESPACE}", SHORT)
    for kind, name in (("replicaset", "web-1"), ("pod", "web-1-a")):
        team.kubectl("wait", "--for=delete", f"{kind}/{name}", f"-n={NAMESPACE}", SHORT)


def test_what_a_deployment_owns_can_be_left_behind(team: Cluster) -> None:
    deployment_with_dependents(team)
    team.kubectl("delete", "deployment", "web", "--cascade=orphan", f"-n={NAMESPACE}", SHORT)
    assert names(team, "deployments") == []
    assert "ownerReferences" not in one(team, "replicaset", "web-1")["metadata"]
    assert one(team, "pod", "web-1-a")["metadata"]["ownerReferences"][0]["name"] == "web-1"


def test_a_namespace_ends_and_nothing_is_left(team: Cluster) -> None:
    deployment_with_dependents(team)
    team.kubectl("expose", "deployment", "web", "--port=80", "--type=NodePort", f"-n={NAMESPACE}")
    address = one(team, "service", "web")["spec"]["clusterIP"]
    assert address in team.kubectl("get", "ipaddresses", "-o=name")
    team.kubectl("delete", "namespace", NAMESPACE, SHORT)
    for kind in ("pods", "replicasets.apps", "services", "configmaps", "serviceaccounts", "endpointslices"):
        assert names(team, kind) == []
    assert address not in team.kubectl("get", "ipaddresses", "-o=name")


def test_every_namespace_has_its_account_and_the_ca(team: Cluster) -> None:
    team.kubectl("wait", "--for=create", "configmap/kube-root-ca.crt", f"-n={NAMESPACE}", SHORT)
    found = one(team, "configmap", "kube-root-ca.crt")["data"]["ca.crt"]
    assert found == team.ca.read_text()
    assert names(team, "serviceaccounts") == ["default"]


def test_a_service_finds_its_pods(team: Cluster) -> None:
    deployment_with_dependents(team)
    team.kubectl("expose", "deployment", "web", "--port=80", f"-n={NAMESPACE}")
    state = {"phase": "Running", "podIP": "10.1.0.1", "podIPs": [{"ip": "10.1.0.1"}]}
    state["conditions"] = [{"type": "Ready", "status": "True"}]
    patch = json.dumps({"status": state})
    team.kubectl("patch", "pod", "web-1-a", "--subresource=status", "--type=merge", f"-p={patch}", f"-n={NAMESPACE}")
    where = "--for=jsonpath={.subsets[0].addresses[0].ip}=10.1.0.1"
    team.kubectl("wait", where, "endpoints/web", f"-n={NAMESPACE}", SHORT)
    (piece,) = names(team, "endpointslices")
    found = one(team, "endpointslice", piece)["endpoints"]
    assert found[0]["addresses"] == ["10.1.0.1"]
    assert found[0]["targetRef"]["name"] == "web-1-a"
    assert "10.1.0.1:80" in team.kubectl("describe", "service", "web", f"-n={NAMESPACE}")


def test_the_kubernetes_service(k: Cluster) -> None:
    spec = json.loads(k.kubectl("get", "service", "kubernetes", "-n=default", "-o=json"))["spec"]
    assert spec["clusterIP"] == "10.0.0.1"
    assert spec["ports"][0]["targetPort"] == k.api_port
    assert "10.0.0.0/24" in k.kubectl("get", "servicecidrs", "kubernetes", "-o=yaml")
