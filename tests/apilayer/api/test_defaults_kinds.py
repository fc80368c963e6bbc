"""What is filled in for kinds other than pods and deployments, from the least that a user may write."""

from typing import Any

import pytest

from apilayer.api.resources import find
from apilayer.api.validation import validate_update
from tests.apilayer.api.test_rules import ready

TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
JOB_TEMPLATE = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
CPU_80 = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
REQUEST = {"name": "r", "exactly": {"deviceClassName": "c"}}
HOOK = {"name": "a.b.c", "rules": [{}], "clientConfig": {"service": {"name": "s", "namespace": "n"}}}

# Kind, what the user wrote, and what is there afterwards at some paths.
FILLED: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("apps", "replicasets", {"spec": {}}, {"spec.replicas": 1}),
    (
        "apps",
        "statefulsets",
        {"spec": {}},
        {
            "spec.replicas": 1,
            "spec.podManagementPolicy": "OrderedReady",
            "spec.updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "spec.persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "spec.revisionHistoryLimit": 10,
        },
    ),
    (
        "apps",
        "daemonsets",
        {"spec": {}},
        {
            "spec.updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
            "metadata.annotations": {"deprecated.daemonset.template.generation": "0"},
        },
    ),
    (
        "apps",
        "daemonsets",
        {"spec": {"updateStrategy": {"type": "OnDelete"}}},
        {"spec.updateStrategy.rollingUpdate": None},
    ),
    (
        "",
        "replicationcontrollers",
        {"spec": {"template": TEMPLATE}},
        {"spec.replicas": 1, "spec.selector": {"a": "b"}, "metadata.labels": {"a": "b"}},
    ),
    (
        "batch",
        "jobs",
        {"spec": {"template": JOB_TEMPLATE}},
        {
            "spec.completions": 1,
            "spec.parallelism": 1,
            "spec.backoffLimit": 6,
            "spec.completionMode": "NonIndexed",
            "spec.suspend": False,
            "spec.manualSelector": False,
            "spec.podReplacementPolicy": "TerminatingOrFailed",
        },
    ),
    (
        "batch",
        "jobs",
        {"spec": {"parallelism": 2, "backoffLimitPerIndex": 1, "podFailurePolicy": {"rules": []}}},
        {"spec.completions": None, "spec.backoffLimit": 2**31 - 1, "spec.podReplacementPolicy": "Failed"},
    ),
    (
        "batch",
        "cronjobs",
        {"spec": {}},
        {
            "spec.concurrencyPolicy": "Allow",
            "spec.suspend": False,
            "spec.successfulJobsHistoryLimit": 3,
            "spec.failedJobsHistoryLimit": 1,
        },
    ),
    ("autoscaling", "horizontalpodautoscalers", {"spec": {}}, {"spec.minReplicas": 1, "spec.metrics": [CPU_80]}),
    (
        "autoscaling",
        "horizontalpodautoscalers",
        {"spec": {"behavior": {"scaleUp": {"selectPolicy": "Disabled"}}}},
        {
            "spec.behavior.scaleUp.selectPolicy": "Disabled",
            "spec.behavior.scaleUp.stabilizationWindowSeconds": 0,
            "spec.behavior.scaleDown": {
                "selectPolicy": "Max",
                "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
            },
        },
    ),
    (
        "",
        "services",
        {"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP", "ports": [{"port": 80}]}},
        {
            "spec.ports": [{"protocol": "TCP", "port": 80, "targetPort": 80}],
            "spec.sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
            "spec.externalTrafficPolicy": "Cluster",
            "spec.internalTrafficPolicy": "Cluster",
            "spec.allocateLoadBalancerNodePorts": True,
        },
    ),
    (
        "",
        "services",
        {"spec": {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}}},
        {"spec.type": "ClusterIP", "spec.sessionAffinity": "None", "spec.sessionAffinityConfig": None},
    ),
    ("networking.k8s.io", "networkpolicies", {"spec": {}}, {"spec.policyTypes": ["Ingress"]}),
    ("networking.k8s.io", "networkpolicies", {"spec": {"egress": [{}]}}, {"spec.policyTypes": ["Ingress", "Egress"]}),
    (
        "networking.k8s.io",
        "ingressclasses",
        {"spec": {"parameters": {"kind": "A"}}},
        {"spec.parameters.scope": "Cluster"},
    ),
    (
        "",
        "persistentvolumes",
        {"spec": {}},
        {"spec.persistentVolumeReclaimPolicy": "Retain", "spec.volumeMode": "Filesystem", "status.phase": "Pending"},
    ),
    ("storage.k8s.io", "storageclasses", {}, {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"}),
    (
        "storage.k8s.io",
        "csidrivers",
        {"spec": {"attachRequired": False}},
        {
            "spec.attachRequired": False,
            "spec.podInfoOnMount": False,
            "spec.fsGroupPolicy": "ReadWriteOnceWithFSType",
            "spec.volumeLifecycleModes": ["Persistent"],
        },
    ),
    (
        "",
        "nodes",
        {"spec": {"podCIDR": "10.1.0.0/24"}, "status": {"capacity": {"cpu": "8"}}},
        {"spec.podCIDRs": ["10.1.0.0/24"], "status.allocatable": {"cpu": "8"}},
    ),
    (
        "",
        "limitranges",
        {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Gi"}}]}},
        {
            "spec.limits": [
                {
                    "type": "Container",
                    "max": {"cpu": "2"},
                    "min": {"memory": "1Gi"},
                    "default": {"cpu": "2"},
                    "defaultRequest": {"memory": "1Gi", "cpu": "2"},
                }
            ]
        },
    ),
    (
        "rbac.authorization.k8s.io",
        "rolebindings",
        {"subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}]},
        {
            "roleRef.apiGroup": "rbac.authorization.k8s.io",
            "subjects": [
                {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "u"},
                {"kind": "ServiceAccount", "name": "s"},
            ],
        },
    ),
    ("scheduling.k8s.io", "priorityclasses", {}, {"preemptionPolicy": "PreemptLowerPriority"}),
    ("flowcontrol.apiserver.k8s.io", "flowschemas", {"spec": {}}, {"spec.matchingPrecedence": 1000}),
    (
        "flowcontrol.apiserver.k8s.io",
        "prioritylevelconfigurations",
        {"spec": {"limited": {"limitResponse": {"queuing": {}}}}},
        {
            "spec.limited.nominalConcurrencyShares": 30,
            "spec.limited.lendablePercent": 0,
            "spec.limited.limitResponse.queuing": {"queues": 64, "handSize": 8, "queueLengthLimit": 50},
        },
    ),
    (
        "resource.k8s.io",
        "resourceclaims",
        {"spec": {"devices": {"requests": [REQUEST]}}},
        {
            "spec.devices.requests": [
                {"name": "r", "exactly": {"deviceClassName": "c", "allocationMode": "ExactCount", "count": 1}}
            ]
        },
    ),
]


def at(obj: dict[str, Any], path: str) -> Any:
    value: Any = obj
    for key in path.split("."):
        value = (value or {}).get(key)
    return value


@pytest.mark.parametrize(("group", "plural", "body", "wanted"), FILLED)
def test_what_is_filled_in(group: str, plural: str, body: dict[str, Any], wanted: dict[str, Any]) -> None:
    resource = find(group, "v2" if group == "autoscaling" else "v1", plural)
    assert resource is not None
    obj = ready(resource, body)
    assert {path: at(obj, path) for path in wanted} == wanted
    again = ready(resource, obj)
    assert again == obj  # what is there already is left alone


def test_webhooks() -> None:
    resource = find("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations")
    assert resource is not None
    (hook,) = ready(resource, {"webhooks": [HOOK]})["webhooks"]
    assert hook["rules"] == [{"scope": "*"}]
    assert hook["clientConfig"]["service"]["port"] == 443
    assert (hook["failurePolicy"], hook["matchPolicy"], hook["timeoutSeconds"]) == ("Fail", "Equivalent", 10)
    assert (hook["namespaceSelector"], hook["objectSelector"], hook["reinvocationPolicy"]) == ({}, {}, "Never")


def test_a_claim_says_what_of_it_changed() -> None:
    resource = find("", "v1", "persistentvolumeclaims")
    assert resource is not None
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    old = ready(resource, {"spec": spec})
    new = ready(resource, {"spec": {**spec, "resources": {"requests": {"storage": "2Gi"}}}})
    (error,) = validate_update(resource, new, old)
    assert error.path == "spec"
    assert error.message == (
        "Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for"
        ' bound claims\n@@ -6,7 +6,7 @@\n  "Resources": {\n   "Limits": null,\n   "Requests": {\n'
        '-   "storage": "1Gi"\n+   "storage": "2Gi"\n   }\n  },\n  "VolumeName": "",\n'
    )
    bound = {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}
    assert validate_update(resource, {**new, **bound}, {**old, **bound}) == []
    (error,) = validate_update(resource, {**old, **bound}, {**new, **bound})
    assert str(error) == ("spec.resources.requests.storage: Forbidden: field can not be less than status.capacity")
