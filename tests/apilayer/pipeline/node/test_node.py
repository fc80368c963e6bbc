"""What nodes may do: each answer against a table, and the graph against one that is made anew each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apilayer.pipeline.authentication import User
from apilayer.pipeline.authorization import NO_OPINION, Rules, Verdict
from apilayer.pipeline.node import NodeAuthorizer, NodeGraph
from apilayer.pipeline.rbac import parse_rules
from apilayer.pipeline.request_info import parse
from apilayer.pipeline.selected import selected
from apilayer.registry.options import parse_query
from apilayer.registry.roles import default_roles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apilayer.pipeline.rbac import Rule

Object = dict[str, Any]

ONE = User("system:node:one", groups=("system:nodes", "system:authenticated"))
ALLOWED = Verdict(True)


def rules() -> Sequence[Rule]:
    return next(parse_rules(obj) for _, _, obj in default_roles() if obj["metadata"]["name"] == "system:node")


def pod(name: str, node: str = "one", *, namespace: str = "n", status: Object | None = None, **spec: Any) -> Object:
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"nodeName": node, **spec},
        "status": status or {},
    }


def volume(name: str, claim: str, **source: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"claimRef": {"namespace": "n", "name": claim}, **source}}


CLUSTER = (
    ("pods", pod("p", serviceAccountName="sa", imagePullSecrets=[{"name": "pull"}])),
    (
        "pods",
        pod(
            "q",
            volumes=[
                {"name": "a", "configMap": {"name": "settings"}},
                {"name": "b", "persistentVolumeClaim": {"claimName": "claim"}},
                {"name": "c", "ephemeral": {"volumeClaimTemplate": {}}},
                {"name": "d", "projected": {"sources": [{"secret": {"name": "projected"}}]}},
            ],
            containers=[{"envFrom": [{"secretRef": {"name": "env"}}]}],
            resourceClaims=[
                {"name": "x", "resourceClaimName": "named"},
                {"name": "y", "resourceClaimTemplateName": "t"},
                {"name": "z", "resourceClaimTemplateName": "t"},
            ],
            status={
                "resourceClaimStatuses": [{"name": "y", "resourceClaimName": "made"}, {"name": "z"}],
                "extendedResourceClaimStatus": {"resourceClaimName": "extended"},
            },
        ),
    ),
    ("pods", pod("other", "two", serviceAccountName="theirs", imagePullSecrets=[{"name": "theirs"}])),
    (
        "pods",
        {
            **pod("mirror", serviceAccountName="mine", imagePullSecrets=[{"name": "mine"}]),
            "metadata": {"name": "mirror", "namespace": "n", "annotations": {"kubernetes.io/config.mirror": "x"}},
        },
    ),
    (
        "persistentvolumes",
        volume("v", "claim", csi={"nodeStageSecretRef": {"namespace": "s", "name": "stage"}})
        | {"status": {"phase": "Bound"}},
    ),
    ("persistentvolumes", volume("w", "q-c", cephfs={"secretRef": {"name": "ceph"}})),
    (
        "persistentvolumes",
        volume("x", "theirs", csi={"controllerPublishSecretRef": {"namespace": "s", "name": "control"}}),
    ),
    ("volumeattachments.storage.k8s.io", {"metadata": {"name": "att"}, "spec": {"nodeName": "one"}}),
    ("resourceslices.resource.k8s.io", {"metadata": {"name": "slice"}, "spec": {"nodeName": "one"}}),
    ("resourceslices.resource.k8s.io", {"metadata": {"name": "theirs"}, "spec": {"nodeName": "two"}}),
)


class Source:
    def __init__(self) -> None:
        self.graph = NodeGraph()
        for resource, obj in CLUSTER:
            put(self.graph, resource, obj)

    def current(self) -> NodeGraph:
        return self.graph


def put(graph: NodeGraph, resource: str, obj: Object, *, gone: bool = False) -> None:
    metadata = obj["metadata"]
    path = f"{metadata['namespace']}/{metadata['name']}" if "namespace" in metadata else metadata["name"]
    graph.put(resource, path, None if gone else obj)


NODES = NodeAuthorizer(Source(), rules)
N = "/api/v1/namespaces/n"
DRA, STORAGE, COORDINATION = "/apis/resource.k8s.io/v1", "/apis/storage.k8s.io/v1", "/apis/coordination.k8s.io/v1"
UNRELATED = "no relationship found between node 'one' and this object"
ONLY_GET = "can only get individual resources of this type"


@pytest.mark.parametrize(
    ("request_line", "answer"),
    [
        (f"GET {N}/secrets/pull", True),
        (f"GET {N}/secrets/projected", True),
        (f"GET {N}/secrets/env", True),
        (f"GET {N}/secrets?fieldSelector=metadata.name=pull&watch=1", True),
        (f"GET {N}/secrets/theirs", UNRELATED),
        (f"GET {N}/secrets/mine", UNRELATED),
        (f"GET {N}/secrets/ceph", True),
        ("GET /api/v1/namespaces/s/secrets/stage", True),
        ("GET /api/v1/namespaces/s/secrets/control", UNRELATED),
        (f"GET {N}/secrets", "No Object name found"),
        (f"PUT {N}/secrets/pull", "can only read resources of this type"),
        (f"GET {N}/secrets/pull/status", "cannot read subresource"),
        ("GET /api/v1/secrets", "can only read namespaced object of this type"),
        (f"GET {N}/configmaps/settings", True),
        (f"GET {N}/configmaps/other", UNRELATED),
        (f"GET {N}/persistentvolumeclaims/claim", True),
        (f"GET {N}/persistentvolumeclaims/q-c", True),
        (f"GET {N}/persistentvolumeclaims", ONLY_GET),
        (f"PATCH {N}/persistentvolumeclaims/claim/status", True),
        (f"GET {N}/persistentvolumeclaims/claim/status", "can only get/update/patch this type"),
        ("GET /api/v1/persistentvolumes/v", True),
        ("GET /api/v1/persistentvolumes/w", True),
        ("GET /api/v1/persistentvolumes/x", UNRELATED),
        ("GET /api/v1/persistentvolumes/v/status", "cannot get subresource"),
        (f"GET {DRA}/namespaces/n/resourceclaims/named", True),
        (f"GET {DRA}/namespaces/n/resourceclaims/made", True),
        (f"GET {DRA}/namespaces/n/resourceclaims/extended", True),
        (f"GET {DRA}/namespaces/n/resourceclaims/t", UNRELATED),
        (f"GET {STORAGE}/volumeattachments/att", True),
        (f"GET {STORAGE}/volumeattachments", ONLY_GET),
        (f"POST {N}/serviceaccounts/sa/token", True),
        (f"POST {N}/serviceaccounts/theirs/token", UNRELATED),
        (f"POST {N}/serviceaccounts/mine/token", UNRELATED),
        (f"POST {N}/serviceaccounts/sa/other", "can only create token subresource of serviceaccount"),
        (f"GET {N}/serviceaccounts/sa", True),
        (f"GET {N}/serviceaccounts/theirs", UNRELATED),
        (f"GET {N}/serviceaccounts", "can only create tokens for individual service accounts"),
        (f"POST {COORDINATION}/namespaces/kube-node-lease/leases", True),
        (f"PUT {COORDINATION}/namespaces/kube-node-lease/leases/one", True),
        (
            f"PUT {COORDINATION}/namespaces/kube-node-lease/leases/two",
            "can only access node lease with the same name as the requesting node",
        ),
        (
            f"PUT {COORDINATION}/namespaces/n/leases/one",
            'can only access leases in the "kube-node-lease" system namespace',
        ),
        (
            f"GET {COORDINATION}/namespaces/kube-node-lease/leases",
            "can only get, create, update, patch, or delete a node lease",
        ),
        (f"POST {STORAGE}/csinodes", True),
        (f"GET {STORAGE}/csinodes/one", True),
        (f"GET {STORAGE}/csinodes", "can only get, create, update, patch, or delete a CSINode"),
        (f"GET {STORAGE}/csinodes/one/status", "cannot authorize CSINode subresources"),
        (
            f"DELETE {STORAGE}/csinodes/two",
            "can only access CSINode with the same name as the requesting node",
        ),
        (f"POST {DRA}/resourceslices", True),
        (f"GET {DRA}/resourceslices/slice", True),
        (f"GET {DRA}/resourceslices/theirs", UNRELATED),
        (f"GET {DRA}/resourceslices?fieldSelector=nodeName=one", True),
        (
            f"DELETE {DRA}/resourceslices?fieldSelector=nodeName!=one",
            "can only list/watch/deletecollection resourceslices with nodeName field selector",
        ),
        (f"GET {DRA}/resourceslices/slice/status", "cannot authorize ResourceSlice subresources"),
        ("GET /api/v1/nodes/one", True),
        ("POST /api/v1/nodes", True),
        ("PATCH /api/v1/nodes/two", True),
        ("PATCH /api/v1/nodes/one/status", True),
        ("GET /api/v1/nodes/one/status", ""),
        ("GET /api/v1/nodes/one/proxy", ""),
        ("DELETE /api/v1/nodes/one", ""),
        ("GET /api/v1/nodes?fieldSelector=metadata.name=one", True),
        ("GET /api/v1/nodes/two", "node 'one' cannot read 'two', only its own Node object"),
        ("GET /api/v1/nodes", "node 'one' cannot read all nodes, only its own Node object"),
        (f"GET {N}/pods/p", True),
        (f"GET {N}/pods/mirror", True),
        (f"GET {N}/pods/other", UNRELATED),
        ("GET /api/v1/pods?fieldSelector=spec.nodeName=one", True),
        (
            "GET /api/v1/pods?fieldSelector=spec.nodeName=two",
            "can only list/watch pods with spec.nodeName field selector",
        ),
        (f"GET {N}/pods?fieldSelector=metadata.name=p", True),
        (f"GET {N}/pods?fieldSelector=metadata.name=other", UNRELATED),
        (f"POST {N}/pods", True),
        (f"DELETE {N}/pods/other", True),
        (f"PUT {N}/pods/other", ""),
        (f"PUT {N}/pods/other/status", True),
        (f"POST {N}/pods/other/eviction", True),
        (f"POST {N}/pods/other/exec", ""),
        ("GET /api/v1/services", True),
        ("POST /apis/authorization.k8s.io/v1/subjectaccessreviews", True),
        ("POST /api/v1/services", ""),
        ("GET /healthz", ""),
    ],
)
def test_what_a_node_may(request_line: str, answer: str | bool) -> None:
    method, target = request_line.split()
    path, _, query = target.partition("?")
    expected = ALLOWED if answer is True else Verdict(False, str(answer))
    assert NODES.decide(ONE, selected(parse(method, path), parse_query(query))) == expected


def test_who_is_no_node() -> None:
    info = parse("GET", f"{N}/secrets/pull")
    assert NODES.decide(User("system:node:one"), info) == NO_OPINION
    assert NODES.decide(User("jane", groups=("system:nodes",)), info) == NO_OPINION
    unknown = User("system:node:", groups=("system:nodes",))
    assert NODES.decide(unknown, info) == Verdict(False, 'unknown node for user "system:node:"')
    assert NODES.rules(User("jane"), "n") == Rules()
    assert NODES.rules(ONE, "n") == Rules(error="node authorizer does not support user rule resolution")


REFERENCES = [{"imagePullSecrets": [{"name": "a"}]}, {"serviceAccountName": "a"}, {"imagePullSecrets": [{"name": "b"}]}]
PODS = st.builds(
    lambda name, node, spec: ("pods", pod(name, node, **spec, volumes=[CLAIMED])),
    st.sampled_from("pq"),
    st.sampled_from(["", "one", "two"]),
    st.sampled_from(REFERENCES),
)
CLAIMED = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
VOLUMES = st.builds(
    lambda name, claim, secret: ("persistentvolumes", volume(name, claim, rbd={"secretRef": {"name": secret}})),
    st.sampled_from("vw"),
    st.sampled_from("cd"),
    st.sampled_from("ae"),
)
ATTACHMENTS = st.builds(
    lambda node: ("volumeattachments.storage.k8s.io", {"metadata": {"name": "t"}, "spec": {"nodeName": node}}),
    st.sampled_from(["one", "two"]),
)
ASKED = (
    *(("secrets", "n", name) for name in "abe"),
    *(("pods", "n", name) for name in "pq"),
    *(("persistentvolumes", "", name) for name in "vw"),
    ("serviceaccounts", "n", "a"),
    ("persistentvolumeclaims", "n", "c"),
    ("volumeattachments.storage.k8s.io", "", "t"),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.one_of(PODS, VOLUMES, ATTACHMENTS), st.booleans()), max_size=10))
def test_what_is_kept_is_what_would_be_made_anew(changes: list[tuple[tuple[str, Object], bool]]) -> None:
    kept, objects = NodeGraph(), {}
    for (resource, obj), gone in changes:
        put(kept, resource, obj, gone=gone)
        objects.pop((resource, obj["metadata"]["name"]), None)
        if not gone:
            objects[resource, obj["metadata"]["name"]] = obj
        anew = NodeGraph()
        for (kind, _), present in objects.items():
            put(anew, kind, present)
        for node in ("one", "two"):
            assert [kept.reaches(node, ref) for ref in ASKED] == [anew.reaches(node, ref) for ref in ASKED]
    for resource in ("pods", "persistentvolumes", "volumeattachments.storage.k8s.io"):
        kept.forget(resource)
    assert not any(kept.reaches(node, ref) for node in ("one", "two") for ref in ASKED)
