"""ServiceAccount: which account a pod gets, and what it may mount."""

from __future__ import annotations

from typing import Any

import pytest

from apilayer.admission.plugin import CREATE, UPDATE, NotYet
from apilayer.admission.plugins.service_account import MOUNT_PATH, ServiceAccount
from tests.apilayer.admitting import Cluster, Outcome, review, setup

ENFORCED = {"kubernetes.io/enforce-mountable-secrets": "true"}
CLUSTER = (
    Cluster()
    .put("serviceaccounts", {"metadata": {"name": "default"}}, "ns")
    .put("serviceaccounts", {"metadata": {"name": "quiet"}, "automountServiceAccountToken": False}, "ns")
    .put("serviceaccounts", {"metadata": {"name": "puller"}, "imagePullSecrets": [{"name": "pull"}]}, "ns")
    .put(
        "serviceaccounts",
        {
            "metadata": {"name": "strict", "annotations": ENFORCED},
            "secrets": [{"name": "mine"}],
            "imagePullSecrets": [{"name": "pull"}],
        },
        "ns",
    )
)
PLUGIN = ServiceAccount(setup(CLUSTER))


def create(spec: dict[str, Any], **metadata: Any) -> Outcome:
    whole = {"containers": [{"name": "c", "image": "i"}], **spec}
    return review(PLUGIN, CREATE, "pods", {"metadata": {"name": "p", **metadata}, "spec": whole})


def test_a_pod_runs_as_the_default_account_with_its_token() -> None:
    spec = create({"initContainers": [{"name": "i", "image": "i"}]}).obj["spec"]
    assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("default", "default")
    (volume,) = spec["volumes"]
    assert volume["name"].startswith("kube-api-access-")
    assert len(volume["name"]) == len("kube-api-access-") + 5
    projected = volume["projected"]
    assert projected["defaultMode"] == 420
    assert projected["sources"] == [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {
            "downwardAPI": {
                "items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]
            }
        },
    ]
    mount = {"name": volume["name"], "readOnly": True, "mountPath": MOUNT_PATH}
    assert spec["containers"][0]["volumeMounts"] == [mount]
    assert spec["initContainers"][0]["volumeMounts"] == [mount]


@pytest.mark.parametrize(
    ("spec", "mounted"),
    [
        ({"serviceAccountName": "quiet"}, False),
        ({"serviceAccountName": "quiet", "automountServiceAccountToken": True}, True),
        ({"automountServiceAccountToken": False}, False),
        ({"containers": [{"name": "c", "volumeMounts": [{"name": "x", "mountPath": MOUNT_PATH}]}]}, False),
    ],
)
def test_when_the_token_is_mounted(spec: dict[str, Any], mounted: bool) -> None:
    assert bool(create(spec).obj["spec"].get("volumes")) is mounted


def test_a_token_volume_that_is_there_is_used() -> None:
    volume = {"name": "kube-api-access-mine", "emptyDir": {}}
    spec = create({"volumes": [volume]}).obj["spec"]
    assert spec["volumes"] == [volume]
    assert spec["containers"][0]["volumeMounts"][0]["name"] == "kube-api-access-mine"


@pytest.mark.parametrize(("given", "used"), [({}, ["pull"]), ({"imagePullSecrets": [{"name": "own"}]}, ["own"])])
def test_pull_secrets_of_the_account(given: dict[str, Any], used: list[str]) -> None:
    spec = create({"serviceAccountName": "puller", **given}).obj["spec"]
    assert [item["name"] for item in spec["imagePullSecrets"]] == used


def test_an_account_that_is_not_there() -> None:
    outcome = create({"serviceAccountName": "nobody"})
    text = 'error looking up service account ns/nobody: serviceaccount "nobody" not found'
    assert outcome.refusal == f'pods "p" is forbidden: {text}'
    assert not isinstance(outcome.error, NotYet)


def test_a_default_account_that_is_not_there_may_be_on_its_way() -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": []}}
    assert isinstance(review(PLUGIN, CREATE, "pods", pod, namespace="new").error, NotYet)


def _variable(secret: str) -> list[dict[str, Any]]:
    return [{"name": "V", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}]


STRICT = "is not allowed because service account strict does not reference that"


@pytest.mark.parametrize(
    ("spec", "refusal"),
    [
        ({"volumes": [{"name": "v", "secret": {"secretName": "mine"}}]}, ""),
        (
            {"volumes": [{"name": "v", "secret": {"secretName": "other"}}]},
            f'volume with secret.secretName="other" {STRICT} secret',
        ),
        (
            {"containers": [{"name": "c", "env": _variable("other")}]},
            f'container c with envVar V referencing secret.secretName="other" {STRICT} secret',
        ),
        (
            {"initContainers": [{"name": "i", "env": _variable("other")}]},
            f'init container i with envVar V referencing secret.secretName="other" {STRICT} secret',
        ),
        ({"containers": [{"name": "c", "env": _variable("mine")}]}, ""),
        ({"imagePullSecrets": [{"name": "other"}]}, f'imagePullSecrets[0].name="other" {STRICT} imagePullSecret'),
    ],
)
def test_secrets_of_an_account_that_limits_them(spec: dict[str, Any], refusal: str) -> None:
    outcome = create({"serviceAccountName": "strict", **spec})
    assert outcome.refusal == (f'pods "p" is forbidden: {refusal}' if refusal else "")


def test_containers_for_debugging_are_limited_too() -> None:
    old = {"metadata": {"name": "p"}, "spec": {"serviceAccountName": "strict"}}
    new = {**old, "spec": {**old["spec"], "ephemeralContainers": [{"name": "e", "env": _variable("other")}]}}
    outcome = review(PLUGIN, UPDATE, "pods", new, old, subresource="ephemeralcontainers")
    assert outcome.refusal.startswith('pods "p" is forbidden: ephemeral container e with envVar V')


MIRROR = {"kubernetes.io/config.mirror": "x"}


@pytest.mark.parametrize(
    ("spec", "refusal"),
    [
        ({}, ""),
        ({"serviceAccountName": "default"}, "a mirror pod may not reference service accounts"),
        ({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}, "a mirror pod may not reference secrets"),
        (
            {"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]},
            "a mirror pod may not use ServiceAccountToken volume projections",
        ),
    ],
)
def test_mirror_pods_are_left_alone_and_know_no_secrets(spec: dict[str, Any], refusal: str) -> None:
    outcome = create(spec, annotations=MIRROR)
    assert outcome.refusal == (f'pods "p" is forbidden: {refusal}' if refusal else "")
    assert "serviceAccount" not in outcome.obj["spec"]
