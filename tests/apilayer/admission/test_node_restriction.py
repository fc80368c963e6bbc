"""NodeRestriction: what a node may write, and that it concerns nobody else."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from apilayer.admission.plugin import CREATE, DELETE, UPDATE, Operation
from apilayer.admission.plugins.node_restriction import CSI_NODES, LEASES, SLICES, NodeRestriction
from apilayer.pipeline.authentication import User
from tests.apilayer.admitting import ALICE, Cluster, review, setup

Object = dict[str, Any]
NODE = User("system:node:n", groups=("system:nodes", "system:authenticated"))


def pod(node: str = "n", **more: Any) -> Object:
    return {"metadata": {"name": "p", "uid": "u1", **more}, "spec": {"nodeName": node}}


CLUSTER = (
    Cluster()
    .put("nodes", {"metadata": {"name": "n", "uid": "u0"}})
    .put("pods", pod(), "ns")
    .put("pods", {**pod("m"), "metadata": {"name": "q", "uid": "u2"}}, "ns")
)
PLUGIN = NodeRestriction(setup(CLUSTER))


def refusal(
    operation: Operation,
    resource: str,
    new: Object | None,
    old: Object | None = None,
    user: User = NODE,
    **where: Any,
) -> str:
    text = review(PLUGIN, operation, resource, new, old, user=user, **where).refusal
    return text.partition(" is forbidden: ")[2] or text


OWNER = {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u0", "controller": True}


def mirror(owner: Object | None = None, spec: Object | None = None, **metadata: Any) -> Object:
    made = pod(annotations={"kubernetes.io/config.mirror": "x"}, ownerReferences=[{**OWNER, **(owner or {})}])
    made["metadata"].update(metadata)
    made["spec"].update(spec or {})
    return made


ME = 'node "n"'


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (mirror(), ""),
        (pod(), f'pod does not have "kubernetes.io/config.mirror" annotation, {ME} can only create mirror pods'),
        (mirror(spec={"nodeName": "m"}), f"{ME} can only create pods with spec.nodeName set to itself"),
        (mirror(ownerReferences=[]), f"{ME} can only create pods with an owner reference set to itself"),
        (
            mirror(ownerReferences=[OWNER, OWNER]),
            f"{ME} can only create pods with a single owner reference set to itself",
        ),
        (mirror({"name": "m"}), f"{ME} can only create pods with an owner reference set to itself"),
        (
            mirror({"controller": False}),
            f"{ME} can only create pods with a controller owner reference set to itself",
        ),
        (mirror({"blockOwnerDeletion": True}), f"{ME} must not set blockOwnerDeletion on an owner reference"),
        (mirror({"uid": "other"}), "node n UID mismatch: expected other got u0"),
        (
            mirror(spec={"serviceAccountName": "a"}),
            f"{ME} can not create pods that reference a service account",
        ),
        (
            mirror(spec={"containers": [{"envFrom": [{"secretRef": {"name": "s"}}]}]}),
            f"{ME} can not create pods that reference secrets",
        ),
        (
            mirror(spec={"volumes": [{"configMap": {"name": "c"}}]}),
            f"{ME} can not create pods that reference configmaps",
        ),
        (
            mirror(spec={"volumes": [{"projected": {"sources": [{"clusterTrustBundle": {}}]}}]}),
            f"{ME} can not create pods that reference clustertrustbundles",
        ),
        (
            mirror(spec={"volumes": [{"persistentVolumeClaim": {"claimName": "c"}}]}),
            f"{ME} can not create pods that reference persistentvolumeclaims",
        ),
    ],
)
def test_mirror_pods(new: Object, expected: str) -> None:
    assert refusal(CREATE, "pods", new) == expected


def test_pods_of_other_nodes_are_left_alone() -> None:
    only = "can only update pod status for pods with spec.nodeName set to itself"
    assert refusal(DELETE, "pods", None, pod()) == ""
    assert refusal(DELETE, "pods", None, pod("m")) == f"{ME} can only delete pods with spec.nodeName set to itself"
    assert refusal(UPDATE, "pods", pod(), pod()) == (
        f'unexpected operation "UPDATE", {ME} can only create and delete mirror pods'
    )
    assert refusal(UPDATE, "pods", pod(), pod(), subresource="status") == ""
    assert refusal(UPDATE, "pods", pod("m"), pod("m"), subresource="status") == f"{ME} {only}"
    labelled = pod(labels={"a": "b"})
    assert refusal(UPDATE, "pods", labelled, pod(), subresource="status") == (
        f"{ME} cannot update labels through pod status"
    )
    assert refusal(UPDATE, "pods", pod(), pod(), subresource="resize") == (
        "unexpected pod subresource \"resize\", only 'status' and 'eviction' are allowed"
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("p", ""),
        ("q", "node n can only evict pods with spec.nodeName set to itself"),
        ("none", 'pods "none" not found'),
    ],
)
def test_evictions(name: str, expected: str) -> None:
    eviction = {"metadata": {"name": name}}
    assert refusal(CREATE, "pods", eviction, subresource="eviction") == expected


def node(name: str = "n", labels: Object | None = None, **spec: Any) -> Object:
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec}


RESTRICTED = {"node-restriction.kubernetes.io/a": "b"}


@pytest.mark.parametrize(
    ("operation", "new", "old", "expected"),
    [
        (CREATE, node(labels={"kubernetes.io/os": "linux", "own": "x", "kubelet.kubernetes.io/x": "y"}), None, ""),
        (CREATE, node("m"), None, f'{ME} is not allowed to modify node "m"'),
        (
            CREATE,
            node(labels={**RESTRICTED, "x.k8s.io/y": ""}),
            None,
            f"{ME} is not allowed to set the following labels: node-restriction.kubernetes.io/a, x.k8s.io/y",
        ),
        (CREATE, node(configSource={}), None, f"{ME} is not allowed to create pods with a non-nil configSource"),
        (UPDATE, node(labels=RESTRICTED), node(labels=RESTRICTED), ""),
        (
            UPDATE,
            node(),
            node(labels=RESTRICTED),
            "is not allowed to modify labels: node-restriction.kubernetes.io/a",
        ),
        (UPDATE, node(taints=[]), node(taints=[{"key": "a"}]), f"{ME} is not allowed to modify taints"),
        (DELETE, None, node(), ""),
        (DELETE, None, node("m"), f'{ME} is not allowed to modify node "m"'),
    ],
)
def test_its_own_node(operation: Operation, new: Object | None, old: Object | None, expected: str) -> None:
    assert refusal(operation, "nodes", new, old) == expected


@pytest.mark.parametrize(
    ("namespace", "name", "expected"),
    [
        ("kube-node-lease", "n", ""),
        ("kube-node-lease", "m", "can only access node lease with the same name as the requesting node"),
        ("ns", "n", 'can only access leases in the "kube-node-lease" system namespace'),
    ],
)
def test_its_own_lease(namespace: str, name: str, expected: str) -> None:
    lease = {"metadata": {"name": name}}
    assert refusal(CREATE, LEASES, lease, namespace=namespace) == expected
    assert refusal(UPDATE, LEASES, lease, lease, namespace=namespace) == expected


def test_its_own_drivers_and_devices() -> None:
    assert refusal(CREATE, CSI_NODES, node()) == ""
    assert refusal(CREATE, CSI_NODES, node("m")) == "can only access CSINode with the same name as the requesting node"
    text = "ResourceSlice with the same NodeName as the requesting node"
    assert refusal(CREATE, SLICES, pod()) == ""
    assert refusal(CREATE, SLICES, pod("m")) == f"can only create {text}"
    assert refusal(DELETE, SLICES, None, pod("m")) == f"can only delete {text}"


def claim(**status: Any) -> Object:
    return {"metadata": {"name": "c"}, "spec": {}, "status": {"phase": "Bound", **status}}


def test_the_size_of_claims() -> None:
    only = "is not allowed to update fields other than status.capacity and status.conditions"
    grown, gone = claim(capacity={"storage": "2Gi"}), claim(phase="Lost")
    assert refusal(UPDATE, "persistentvolumeclaims", grown, claim(), subresource="status") == ""
    assert refusal(UPDATE, "persistentvolumeclaims", gone, claim(), subresource="status") == f"{ME} {only}"
    assert refusal(UPDATE, "persistentvolumeclaims", grown, claim()) == "may only update PVC status"


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        ({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u1"}, ""),
        ({}, "node requested token not bound to a pod"),
        ({"apiVersion": "v1", "kind": "Pod", "name": "p"}, "node requested token with a pod binding without a uid"),
        ({"apiVersion": "v1", "kind": "Pod", "name": "none", "uid": "u"}, 'pods "none" not found'),
        (
            {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"},
            "the UID in the bound object reference (u) does not match the UID in record. "
            "The object might have been deleted and then recreated",
        ),
        (
            {"apiVersion": "v1", "kind": "Pod", "name": "q", "uid": "u2"},
            "node requested token bound to a pod scheduled on a different node",
        ),
    ],
)
def test_tokens_of_pods_that_it_runs(bound: Object, expected: str) -> None:
    request = {"metadata": {"name": "a"}, "spec": {"boundObjectRef": bound}}
    assert refusal(CREATE, "serviceaccounts", request, subresource="token") == expected


@pytest.mark.parametrize(
    ("audiences", "granted", "expected"),
    [
        ([], "nobody", 'audience "" not found in pod spec volume'),
        (["vault"], "nobody", ""),
        (["inline"], "nobody", ""),
        (["claimed"], "nobody", ""),
        (["ephemeral"], "nobody", ""),
        (["other"], "nobody", 'audience "other" not found in pod spec volume'),
        (["other"], "other", ""),
        (["https://x/y"], "https://x/y", ""),
        (["vault", "inline"], "nobody", "node may only request 0 or 1 audiences"),
    ],
)
def test_whom_tokens_are_for(audiences: list[str], granted: str, expected: str) -> None:
    async def may(user: User, *what: str) -> bool:
        assert what[:2] == ("request-serviceaccounts-token-audience", "")
        return (user, *what[2:]) == (NODE, granted, "ns", "account")

    volumes = [
        {"name": "a", "projected": {"sources": [{"serviceAccountToken": {"audience": "vault"}}, {"secret": {}}]}},
        {"name": "b", "csi": {"driver": "inline"}},
        {"name": "c", "persistentVolumeClaim": {"claimName": "c"}},
        {"name": "d", "ephemeral": {"volumeClaimTemplate": {}}},
        {"name": "e", "persistentVolumeClaim": {"claimName": "unbound"}},
        {"name": "f", "emptyDir": {}},
    ]
    cluster = Cluster().put("pods", {**pod(), "spec": {"nodeName": "n", "volumes": volumes}}, "ns")
    for claim_name, driver in (("c", "claimed"), ("p-d", "ephemeral")):
        cluster.put("persistentvolumeclaims", {"metadata": {"name": claim_name}, "spec": {"volumeName": driver}}, "ns")
        cluster.put("persistentvolumes", {"metadata": {"name": driver}, "spec": {"csi": {"driver": driver}}})
    for driver in ("inline", "claimed", "ephemeral"):
        made = {"metadata": {"name": driver}, "spec": {"tokenRequests": [{"audience": driver}]}}
        cluster.put("csidrivers.storage.k8s.io", made)
    bound = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u1"}
    request = {"metadata": {}, "spec": {"boundObjectRef": bound, "audiences": audiences}}
    plugin = NodeRestriction(setup(cluster, may=may))
    outcome = review(plugin, CREATE, "serviceaccounts", request, user=NODE, subresource="token", name="account")
    text = outcome.refusal.partition(" is forbidden: ")[2]
    assert text.startswith(expected)
    assert bool(text) is bool(expected)


@pytest.mark.parametrize("user", [ALICE, User("system:node:n", groups=("devs",)), User("n", groups=("system:nodes",))])
def test_nobody_else_is_restricted(user: User) -> None:
    assert refusal(CREATE, "nodes", node("m", RESTRICTED), user=user) == ""
    assert refusal(CREATE, "pods", copy.deepcopy(pod("m")), user=user) == ""


def test_a_node_that_does_not_say_which() -> None:
    nameless = User("system:node:", groups=("system:nodes",))
    assert refusal(CREATE, "nodes", node(), user=nameless) == 'could not determine node from user "system:node:"'
