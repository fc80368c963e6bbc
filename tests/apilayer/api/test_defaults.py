"""Defaults of each kind, from the least that a user may write."""

from typing import Any

import pytest

from apilayer.api.decode import decode_document
from apilayer.api.defaults import apply_defaults, drop_disabled
from apilayer.api.defaults.tables import pull_policy
from apilayer.api.resources import find


def defaulted(body: dict[str, Any], plural: str, group: str = "") -> dict[str, Any]:
    row = find(group, "v1", plural)
    assert row is not None
    obj = decode_document(body, row).object
    apply_defaults(row, obj)
    again = decode_document(obj, row).object
    apply_defaults(row, again)
    assert again == obj  # applying defaults twice changes nothing
    return obj


def pod_spec(**spec: Any) -> dict[str, Any]:
    spec.setdefault("containers", [{"name": "c", "image": "i"}])
    result: dict[str, Any] = defaulted({"spec": spec}, "pods")["spec"]
    return result


CONTAINER = {
    "name": "c",
    "image": "i",
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "imagePullPolicy": "Always",
}


def test_pod() -> None:
    assert pod_spec() == {
        "containers": [CONTAINER],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "enableServiceLinks": True,
    }
    assert pod_spec(terminationGracePeriodSeconds=0)["terminationGracePeriodSeconds"] == 0
    assert pod_spec(terminationGracePeriodSeconds=-3)["terminationGracePeriodSeconds"] == 1
    assert pod_spec(enableServiceLinks=False)["enableServiceLinks"] is False


def test_deployment() -> None:
    spec = {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}},
    }
    found = defaulted({"spec": spec}, "deployments", "apps")["spec"]
    assert found["replicas"] == 1
    assert found["revisionHistoryLimit"] == 10
    assert found["progressDeadlineSeconds"] == 600
    assert found["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    template = found["template"]["spec"]
    assert template["containers"] == [CONTAINER]
    assert template["restartPolicy"] == "Always"
    assert "enableServiceLinks" not in template


def test_deployment_keeps_what_is_given() -> None:
    spec = {"replicas": 0, "strategy": {"type": "Recreate"}, "revisionHistoryLimit": 0}
    found = defaulted({"spec": spec}, "deployments", "apps")["spec"]
    assert (found["replicas"], found["revisionHistoryLimit"]) == (0, 0)
    assert found["strategy"] == {"type": "Recreate"}
    part = defaulted({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0}}}}, "deployments", "apps")
    assert part["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": "25%"}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("busybox", "Always"),
        ("busybox:latest", "Always"),
        ("busybox:1.2", "IfNotPresent"),
        ("reg.example.com:5000/a/b", "Always"),
        ("reg.example.com:5000/a/b:v1", "IfNotPresent"),
        ("a@sha256:" + "a" * 64, "IfNotPresent"),
        ("a:latest@sha256:" + "a" * 64, "Always"),
        ("", "IfNotPresent"),
        (" Bad", "IfNotPresent"),
    ],
)
def test_pull_policy(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


def test_ports_probes_and_hooks() -> None:
    container = {
        "name": "c",
        "ports": [{"containerPort": 80}],
        "livenessProbe": {"httpGet": {"port": 80}},
        "readinessProbe": {"grpc": {"port": 9}, "periodSeconds": 3},
        "lifecycle": {"preStop": {"httpGet": {"port": 1, "scheme": "HTTPS"}}},
    }
    found = pod_spec(containers=[container], hostNetwork=True)["containers"][0]
    assert found["ports"] == [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]
    counts = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
    assert found["livenessProbe"] == {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, **counts}
    assert found["readinessProbe"] == {"grpc": {"port": 9, "service": ""}, **counts, "periodSeconds": 3}
    assert found["lifecycle"]["preStop"]["httpGet"] == {"port": 1, "scheme": "HTTPS", "path": "/"}


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        ({}, {"emptyDir": {}}),
        ({"secret": {"secretName": "s"}}, {"secret": {"secretName": "s", "defaultMode": 420}}),
        ({"configMap": {"name": "s", "defaultMode": 0}}, {"configMap": {"name": "s", "defaultMode": 0}}),
        ({"hostPath": {"path": "/"}}, {"hostPath": {"path": "/", "type": ""}}),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            {
                "projected": {
                    "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}],
                    "defaultMode": 420,
                }
            },
        ),
        ({"image": {"reference": "a:1"}}, {"image": {"reference": "a:1", "pullPolicy": "IfNotPresent"}}),
        (
            {"ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
            {
                "ephemeral": {
                    "volumeClaimTemplate": {"metadata": {}, "spec": {"resources": {}, "volumeMode": "Filesystem"}}
                }
            },
        ),
    ],
)
def test_volumes(volume: dict[str, Any], expected: dict[str, Any]) -> None:
    assert pod_spec(volumes=[{"name": "v", **volume}])["volumes"] == [{"name": "v", **expected}]


def test_amounts_of_resources() -> None:
    limits = {"cpu": "0.0001", "memory": "1Gi"}
    found = pod_spec(containers=[{"name": "c", "resources": {"limits": limits, "requests": {"cpu": "0"}}}])
    assert found["containers"][0]["resources"] == {
        "limits": {"cpu": "1m", "memory": "1Gi"},
        "requests": {"cpu": "0", "memory": "1Gi"},
    }
    whole = pod_spec(
        containers=[{"name": "c", "resources": {"requests": {"cpu": "200m"}}}],
        resources={"limits": {"cpu": "1", "memory": "1Gi"}},
    )
    assert whole["resources"]["requests"] == {"cpu": "200m", "memory": "1Gi"}


def test_names_of_the_service_account() -> None:
    assert pod_spec(serviceAccount="a")["serviceAccountName"] == "a"
    found = pod_spec(serviceAccount="a", serviceAccountName="b")
    assert (found["serviceAccount"], found["serviceAccountName"]) == ("b", "b")


def test_pod_addresses() -> None:
    status = defaulted({"spec": {}, "status": {"podIP": "1.2.3.4", "podIPs": [{"ip": "4.3.2.1"}]}}, "pods")["status"]
    assert status == {"podIP": "1.2.3.4", "podIPs": [{"ip": "1.2.3.4"}]}
    status = defaulted({"spec": {}, "status": {"podIPs": [{"ip": "1.2.3.4"}, {"ip": "::1"}]}}, "pods")["status"]
    assert status["podIP"] == "1.2.3.4"


def test_secret() -> None:
    secret = defaulted({"stringData": {"a": "b"}, "data": {"a": "eA==", "c": "eA=="}}, "secrets")
    assert secret["data"] == {"a": "Yg==", "c": "eA=="}
    assert secret["type"] == "Opaque"
    assert "stringData" not in secret


def test_namespace() -> None:
    space = defaulted({"metadata": {"name": "a", "labels": {"b": "c"}}}, "namespaces")
    assert space["metadata"]["labels"] == {"b": "c", "kubernetes.io/metadata.name": "a"}
    assert space["status"] == {"phase": "Active"}


def test_fields_of_features_that_are_off_are_dropped_apart_from_the_defaults() -> None:
    lease = defaulted(
        {"spec": {"strategy": "x", "preferredHolder": "y", "holderIdentity": "h"}}, "leases", "coordination.k8s.io"
    )
    assert lease["spec"] == {"strategy": "x", "preferredHolder": "y", "holderIdentity": "h"}, "so that it has a manager"
    row = find("coordination.k8s.io", "v1", "leases")
    assert row is not None
    drop_disabled(row, lease)
    assert lease["spec"] == {"holderIdentity": "h"}
    pods = find("", "v1", "pods")
    assert pods is not None
    hooks = ({"stopSignal": "SIGTERM"}, {"stopSignal": "SIGTERM", "preStop": {}})
    pod = {"spec": {"containers": [{"name": "c", "lifecycle": hook} for hook in hooks]}}
    drop_disabled(pods, pod)
    assert pod["spec"]["containers"] == [{"name": "c"}, {"name": "c", "lifecycle": {"preStop": {}}}]
