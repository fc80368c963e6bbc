"""Plugins that fill in pods and nodes: priorities, tolerations, images, runtime classes, topology."""

from __future__ import annotations

from typing import Any

import pytest

from apilayer.admission.plugin import CONNECT, CREATE, DELETE, UPDATE, Operation
from apilayer.admission.plugins.always import AlwaysAdmit, AlwaysDeny
from apilayer.admission.plugins.always_pull_images import AlwaysPullImages
from apilayer.admission.plugins.default_toleration_seconds import DefaultTolerationSeconds
from apilayer.admission.plugins.extended_resource_toleration import ExtendedResourceToleration
from apilayer.admission.plugins.pod_topology_labels import PodTopologyLabels
from apilayer.admission.plugins.priority import Priority
from apilayer.admission.plugins.runtime_class import RuntimeClass
from apilayer.admission.plugins.taint_nodes_by_condition import TaintNodesByCondition
from tests.apilayer.admitting import Cluster, Outcome, review, setup

Object = dict[str, Any]


def pod(**spec: Any) -> Object:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


# ---------------------------------------------------------------------- Priority


def priority_class(name: str, value: int, **more: Any) -> Object:
    return {"metadata": {"name": name}, "value": value, "preemptionPolicy": "PreemptLowerPriority", **more}


CLASSES = Cluster().put("priorityclasses.scheduling.k8s.io", priority_class("high", 1000, preemptionPolicy="Never"))
MARKED = (
    Cluster()
    .put("priorityclasses.scheduling.k8s.io", priority_class("usual", 20, globalDefault=True))
    .put("priorityclasses.scheduling.k8s.io", priority_class("lower", 10, globalDefault=True))
)
NOT_GIVEN = "must not be provided in pod spec; priority admission controller computed"


@pytest.mark.parametrize(
    ("cluster", "spec", "expected"),
    [
        (CLASSES, {}, (None, 0, "PreemptLowerPriority")),
        (CLASSES, {"priorityClassName": "high"}, ("high", 1000, "Never")),
        (CLASSES, {"priorityClassName": "high", "priority": 1000}, ("high", 1000, "Never")),
        (MARKED, {}, ("lower", 10, "PreemptLowerPriority")),
    ],
)
def test_priority_of_a_pod(cluster: Cluster, spec: Object, expected: tuple[str | None, int, str]) -> None:
    made = review(Priority(setup(cluster)), CREATE, "pods", pod(**spec)).obj["spec"]
    assert (made.get("priorityClassName"), made["priority"], made["preemptionPolicy"]) == expected


@pytest.mark.parametrize(
    ("spec", "refusal"),
    [
        ({"priorityClassName": "none"}, "no PriorityClass with name none was found"),
        ({"priority": 5}, f"the integer value of priority (5) {NOT_GIVEN} 0 from the given PriorityClass name"),
        (
            {"priorityClassName": "high", "preemptionPolicy": "PreemptLowerPriority"},
            f"the string value of PreemptionPolicy (PreemptLowerPriority) {NOT_GIVEN} Never "
            "from the given PriorityClass name",
        ),
    ],
)
def test_priority_is_that_of_the_class(spec: Object, refusal: str) -> None:
    outcome = review(Priority(setup(CLASSES)), CREATE, "pods", pod(**spec))
    assert outcome.refusal == f'pods "p" is forbidden: {refusal}'


def test_an_update_without_the_priority_keeps_it() -> None:
    old = pod(priority=7, preemptionPolicy="Never")
    assert review(Priority(setup(CLASSES)), UPDATE, "pods", pod(), old).obj == old


@pytest.mark.parametrize(
    ("operation", "name", "refused"), [(CREATE, "third", True), (UPDATE, "usual", True), (UPDATE, "lower", False)]
)
def test_one_default_class(operation: Operation, name: str, refused: bool) -> None:
    new = priority_class(name, 5, globalDefault=True)
    outcome = review(Priority(setup(MARKED)), operation, "priorityclasses.scheduling.k8s.io", new, new)
    text = "PriorityClass lower is already marked as default. Only one default can exist"
    assert outcome.refusal == (f'priorityclasses.scheduling.k8s.io "{name}" is forbidden: {text}' if refused else "")


# ---------------------------------------------------------------------- tolerations and taints


def _lasting(key: str, seconds: int = 300) -> Object:
    return {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}


NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ([], [_lasting(NOT_READY), _lasting(UNREACHABLE)]),
        ([_lasting(NOT_READY, 5)], [_lasting(UNREACHABLE)]),
        ([{"operator": "Exists"}], []),
        (
            [{"key": NOT_READY, "operator": "Exists", "effect": "NoSchedule"}],
            [_lasting(NOT_READY), _lasting(UNREACHABLE)],
        ),
        ([{"key": UNREACHABLE, "operator": "Exists"}], [_lasting(NOT_READY)]),
    ],
)
def test_pods_bear_with_a_node_for_a_while(given: list[Object], added: list[Object]) -> None:
    outcome = review(DefaultTolerationSeconds(setup(Cluster())), CREATE, "pods", pod(tolerations=given))
    assert outcome.obj["spec"]["tolerations"] == given + added


@pytest.mark.parametrize(
    "taints", [[], [{"key": "a", "effect": "NoSchedule"}], [{"key": NOT_READY, "effect": "NoSchedule"}]]
)
def test_a_new_node_is_not_ready(taints: list[Object]) -> None:
    node = {"metadata": {"name": "n"}, "spec": {"taints": taints}}
    made = review(TaintNodesByCondition(setup(Cluster())), CREATE, "nodes", node).obj["spec"]["taints"]
    assert made == [item for item in taints if item["key"] == "a"] + [{"key": NOT_READY, "effect": "NoSchedule"}]


def test_devices_are_tolerated() -> None:
    requests = {"cpu": "1", "example.com/gpu": "1", "kubernetes.io/x": "1", "hugepages-2Mi": "1Mi"}
    given = pod(containers=[{"name": "c", "resources": {"requests": requests}}], tolerations=[{"key": "a"}])
    made = review(ExtendedResourceToleration(setup(Cluster())), CREATE, "pods", given).obj["spec"]["tolerations"]
    assert made == [{"key": "a"}, {"key": "example.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


# ---------------------------------------------------------------------- images


def test_images_are_pulled_each_time() -> None:
    volumes = [{"name": "v", "image": {"reference": "r", "pullPolicy": "Never"}}, {"name": "e", "emptyDir": {}}]
    given = pod(initContainers=[{"name": "i", "image": "j", "imagePullPolicy": "Never"}], volumes=volumes)
    made = review(AlwaysPullImages(setup(Cluster())), CREATE, "pods", given).obj["spec"]
    found = [item["imagePullPolicy"] for item in made["containers"] + made["initContainers"]]
    assert found == ["Always", "Always"]
    assert made["volumes"][0]["image"]["pullPolicy"] == "Always"


def test_a_change_without_new_images_keeps_its_policy() -> None:
    old = pod(containers=[{"name": "c", "image": "i", "imagePullPolicy": "Never"}])
    assert review(AlwaysPullImages(setup(Cluster())), UPDATE, "pods", old, old).obj == old


# ---------------------------------------------------------------------- RuntimeClass

SANDBOX = Cluster().put(
    "runtimeclasses.node.k8s.io",
    {
        "metadata": {"name": "sandbox"},
        "handler": "h",
        "overhead": {"podFixed": {"cpu": "100m"}},
        "scheduling": {"nodeSelector": {"kind": "sandbox"}, "tolerations": [{"key": "s", "operator": "Exists"}]},
    },
)


def sandboxed(**spec: Any) -> Outcome:
    return review(RuntimeClass(setup(SANDBOX)), CREATE, "pods", pod(**spec))


def test_the_runtime_class_becomes_part_of_the_pod() -> None:
    tolerations = [{"key": "s", "operator": "Equal", "value": "v"}, {"key": "t", "operator": "Exists"}]
    made = sandboxed(runtimeClassName="sandbox", nodeSelector={"a": "b"}, tolerations=tolerations).obj["spec"]
    assert made["overhead"] == {"cpu": "100m"}
    assert made["nodeSelector"] == {"a": "b", "kind": "sandbox"}
    assert made["tolerations"] == [{"key": "t", "operator": "Exists"}, {"key": "s", "operator": "Exists"}]


@pytest.mark.parametrize(
    ("spec", "refusal"),
    [
        ({}, ""),
        ({"runtimeClassName": "none"}, 'pod rejected: RuntimeClass "none" not found'),
        (
            {"runtimeClassName": "sandbox", "overhead": {"cpu": "1"}},
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            {"overhead": {"cpu": "1"}},
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
        (
            {"runtimeClassName": "sandbox", "nodeSelector": {"kind": "other"}},
            "conflict: runtimeClass.scheduling.nodeSelector[kind] = sandbox; pod.spec.nodeSelector[kind] = other",
        ),
    ],
)
def test_what_does_not_go_with_the_runtime_class(spec: Object, refusal: str) -> None:
    assert sandboxed(**spec).refusal == (f'pods "p" is forbidden: {refusal}' if refusal else "")


# ---------------------------------------------------------------------- the rest


@pytest.mark.parametrize(
    ("target", "labels"),
    [
        ({"kind": "Node", "name": "n"}, {"topology.kubernetes.io/zone": "z", "own": "x"}),
        ({"kind": "Node", "name": "m"}, {"own": "x"}),
        ({"kind": "Other", "name": "n"}, {"own": "x"}),
    ],
)
def test_a_binding_says_where_the_node_is(target: Object, labels: dict[str, str]) -> None:
    node_labels = {"topology.kubernetes.io/zone": "z", "other": "y"}
    cluster = Cluster().put("nodes", {"metadata": {"name": "n", "labels": node_labels}})
    binding = {"metadata": {"name": "p", "labels": {"own": "x"}}, "target": target}
    outcome = review(PodTopologyLabels(setup(cluster)), CREATE, "pods", binding, subresource="binding")
    assert outcome.obj["metadata"]["labels"] == labels


@pytest.mark.parametrize("operation", [CREATE, UPDATE, DELETE, CONNECT])
def test_yes_and_no(operation: Operation) -> None:
    assert review(AlwaysAdmit(setup(Cluster())), operation, "pods", pod(), pod()).error is None
    outcome = review(AlwaysDeny(setup(Cluster())), operation, "pods", pod(), pod())
    assert outcome.refusal == 'pods "p" is forbidden: admission control is denying all modifications'
