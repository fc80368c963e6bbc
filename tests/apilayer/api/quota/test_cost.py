"""What objects cost, which scopes they are in, and what has to be said of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from apilayer.api.quota import evaluator_of
from apilayer.api.quota.amounts import texts
from apilayer.api.quota.evaluators import ConstraintError
from apilayer.api.quota.scopes import Requirement, claim_fits, pod_fits

Object = dict[str, Any]
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def container(name: str = "c", requests: Object | None = None, limits: Object | None = None, **more: Any) -> Object:
    resources = {key: value for key, value in (("requests", requests), ("limits", limits)) if value}
    return {"name": name, "resources": resources, **more}


def pod(*containers: Object, init: tuple[Object, ...] = (), status: Object | None = None, **spec: Any) -> Object:
    spec = {"containers": list(containers), **spec}
    if init:
        spec["initContainers"] = list(init)
    return {"metadata": {"name": "p"}, "spec": spec, "status": status or {}}


def cost(resource: str, obj: Object) -> dict[str, str]:
    evaluator = evaluator_of(resource)
    assert evaluator is not None
    return texts(evaluator.usage(obj, NOW))


def cpu(requests: str) -> dict[str, str]:
    return {"count/pods": "1", "pods": "1", "cpu": requests, "requests.cpu": requests}


SIDECAR = {"restartPolicy": "Always"}
RESIZED = {
    "containerStatuses": [
        {"name": "c", "resources": {"requests": {"cpu": "2"}}, "allocatedResources": {"cpu": "3"}},
    ]
}
INFEASIBLE = {**RESIZED, "conditions": [{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}]}


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (pod(container()), {"count/pods": "1", "pods": "1"}),
        (pod(container(requests={"cpu": "500m"}), container("d", {"cpu": "1"})), cpu("1500m")),
        # Sidecars run beside what starts after them; other initial containers run alone.
        (pod(container(requests={"cpu": "1"}), init=(container("i", {"cpu": "3"}),)), cpu("3")),
        (pod(container(requests={"cpu": "1"}), init=(container("i", {"cpu": "3"}, **SIDECAR),)), cpu("4")),
        (
            pod(
                container(requests={"cpu": "1"}),
                init=(container("s", {"cpu": "1"}, **SIDECAR), container("i", {"cpu": "4"})),
            ),
            cpu("5"),
        ),
        (pod(container(requests={"cpu": "1"}), overhead={"cpu": "1"}), cpu("2")),
        (pod(container(requests={"cpu": "1"}), resources={"requests": {"cpu": "7"}}), cpu("7")),
        (pod(container(requests={"cpu": "1"}), status=RESIZED), cpu("3")),
        (pod(container(requests={"cpu": "9"}), status=RESIZED), cpu("9")),
        (pod(container(requests={"cpu": "9"}), status=INFEASIBLE), cpu("3")),
        (
            pod(container(limits={"memory": "1Gi"}), overhead={"memory": "1Gi"}),
            {
                "count/pods": "1",
                "pods": "1",
                "limits.memory": "2Gi",
                "memory": "1Gi",
                "requests.memory": "1Gi",
            },
        ),
        (
            pod(container(requests={"hugepages-2Mi": "4Mi", "example.com/gpu": "2"})),
            {
                "count/pods": "1",
                "pods": "1",
                "hugepages-2Mi": "4Mi",
                "requests.hugepages-2Mi": "4Mi",
                "requests.example.com/gpu": "2",
            },
        ),
        (pod(container(requests={"cpu": "1"}), status={"phase": "Succeeded"}), {"count/pods": "1"}),
        (
            {
                "metadata": {"deletionTimestamp": "2026-01-01T11:59:00Z", "deletionGracePeriodSeconds": 30},
                "spec": {"containers": [container(requests={"cpu": "1"})]},
            },
            {"count/pods": "1"},
        ),
        (
            {
                "metadata": {"deletionTimestamp": "2026-01-01T11:59:00Z", "deletionGracePeriodSeconds": 61},
                "spec": {"containers": [container(requests={"cpu": "1"})]},
            },
            cpu("1"),
        ),
    ],
)
def test_the_cost_of_a_pod(obj: Object, expected: dict[str, str]) -> None:
    assert cost("pods", obj) == expected


def service(kind: str, **spec: Any) -> Object:
    return {"spec": {"type": kind, "ports": [{"port": 1, "nodePort": 30000}, {"port": 2}], **spec}}


@pytest.mark.parametrize(
    ("obj", "node_ports", "balancers"),
    [
        ({"spec": {}}, "0", "0"),
        (service("ClusterIP"), "0", "0"),
        (service("NodePort"), "2", "0"),
        (service("LoadBalancer"), "2", "1"),
        (service("LoadBalancer", allocateLoadBalancerNodePorts=False), "1", "1"),
    ],
)
def test_the_cost_of_a_service(obj: Object, node_ports: str, balancers: str) -> None:
    assert cost("services", obj) == {
        "count/services": "1",
        "services": "1",
        "services.nodeports": node_ports,
        "services.loadbalancers": balancers,
    }


def test_the_cost_of_a_claim() -> None:
    claim: Object = {"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}}}
    claim["status"] = {"allocatedResources": {"storage": "3Gi"}}
    assert cost("persistentvolumeclaims", claim) == {
        "count/persistentvolumeclaims": "1",
        "persistentvolumeclaims": "1",
        "requests.storage": "3Gi",
        "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
        "gold.storageclass.storage.k8s.io/requests.storage": "3Gi",
    }


def test_the_cost_of_a_resource_claim() -> None:
    """The largest of alternatives counts for each class; everything is as much as a claim can hold."""
    requests: list[Object] = [
        {"name": "a", "exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 2}},
        {"name": "b", "exactly": {"deviceClassName": "nic", "allocationMode": "All"}},
        {
            "name": "c",
            "firstAvailable": [
                {"name": "x", "deviceClassName": "gpu", "count": 1},
                {"name": "y", "deviceClassName": "gpu", "count": 4},
            ],
        },
    ]
    assert cost("resourceclaims.resource.k8s.io", {"spec": {"devices": {"requests": requests}}}) == {
        "count/resourceclaims.resource.k8s.io": "1",
        "gpu.deviceclass.resource.k8s.io/devices": "6",
        "nic.deviceclass.resource.k8s.io/devices": "32",
    }


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("secrets", {"secrets": "1", "count/secrets": "1"}),
        ("deployments.apps", {"count/deployments.apps": "1"}),
    ],
)
def test_other_objects_are_counted(resource: str, expected: dict[str, str]) -> None:
    assert cost(resource, {}) == expected


def test_events_are_not_counted() -> None:
    assert evaluator_of("events") is None


@pytest.mark.parametrize(
    ("resource", "operation", "subresource", "handled"),
    [
        ("pods", "CREATE", "", True),
        ("pods", "UPDATE", "", False),
        ("pods", "UPDATE", "resize", True),
        ("pods", "CREATE", "binding", False),
        ("services", "UPDATE", "", True),
        ("services", "UPDATE", "status", False),
        ("secrets", "UPDATE", "", False),
    ],
)
def test_which_requests_matter(resource: str, operation: str, subresource: str, handled: bool) -> None:
    evaluator = evaluator_of(resource)
    assert evaluator is not None
    assert evaluator.handles(operation, subresource) is handled


@pytest.mark.parametrize(
    ("resource", "names", "matching"),
    [
        (
            "pods",
            ["pods", "limits.cpu", "hugepages-2Mi", "requests.example.com/gpu", "requests.storage", "count/secrets"],
            {"pods", "limits.cpu", "hugepages-2Mi", "requests.example.com/gpu"},
        ),
        ("persistentvolumeclaims", ["g.storageclass.storage.k8s.io/requests.storage", "pods"], None),
        ("deployments.apps", ["count/deployments.apps", "deployments.apps"], {"count/deployments.apps"}),
    ],
)
def test_what_a_resource_counts_under(resource: str, names: list[str], matching: set[str] | None) -> None:
    evaluator = evaluator_of(resource)
    assert evaluator is not None
    assert evaluator.matching(names) == (matching if matching is not None else {names[0]})


def test_containers_must_say_what_is_limited() -> None:
    evaluator = evaluator_of("pods")
    assert evaluator is not None
    names = ["requests.cpu", "limits.memory", "pods", "hugepages-2Mi"]
    silent = pod(container("b", {"cpu": "1"}), container("a"), init=(container("i"),))
    with pytest.raises(ConstraintError, match=r"^must specify limits.memory for: a,b,i; requests.cpu for: a,i$"):
        evaluator.require(names, silent)
    evaluator.require(names, pod(container("a"), resources={"limits": {"memory": "1"}}))
    evaluator.require(["pods"], silent)


CROSS: Object = {
    "podAntiAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": {"namespaces": ["other"]}}]
    }
}


@pytest.mark.parametrize(
    ("requirement", "obj", "fits"),
    [
        (Requirement("Terminating"), pod(activeDeadlineSeconds=0), True),
        (Requirement("Terminating"), pod(), False),
        (Requirement("NotTerminating"), pod(), True),
        (Requirement("BestEffort"), pod(container()), True),
        (Requirement("BestEffort"), pod(container(requests={"cpu": "1"})), False),
        (Requirement("NotBestEffort"), pod(container(requests={"cpu": "1"})), True),
        (Requirement("PriorityClass"), pod(priorityClassName="high"), True),
        (Requirement("PriorityClass"), pod(), False),
        (Requirement("PriorityClass", "DoesNotExist"), pod(), True),
        (Requirement("PriorityClass", "In", ("high",)), pod(priorityClassName="high"), True),
        (Requirement("PriorityClass", "In", ("high",)), pod(), False),
        (Requirement("PriorityClass", "NotIn", ("high",)), pod(priorityClassName="high"), False),
        (Requirement("PriorityClass", "NotIn", ("high",)), pod(), True),
        (Requirement("CrossNamespacePodAffinity"), pod(affinity=CROSS), True),
        (Requirement("CrossNamespacePodAffinity"), pod(affinity={"podAffinity": {}}), False),
        (Requirement("VolumeAttributesClass"), pod(), False),
    ],
)
def test_scopes_of_pods(requirement: Requirement, obj: Object, fits: bool) -> None:
    assert pod_fits(requirement, obj) is fits


def test_scopes_of_claims() -> None:
    moving = {
        "spec": {"volumeAttributesClassName": "new"},
        "status": {"currentVolumeAttributesClassName": "old"},
    }
    for name in ("new", "old"):
        assert claim_fits(Requirement("VolumeAttributesClass", "In", (name,)), moving)
    assert not claim_fits(Requirement("VolumeAttributesClass", "In", ("third",)), moving)
    assert not claim_fits(Requirement("BestEffort"), moving)
