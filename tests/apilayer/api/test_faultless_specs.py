"""Specs that were found without fault are not judged again; that changes no answer."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from apilayer.api.validation import faultless
from apilayer.api.validation import pod as rules
from apilayer.api.validation.faultless import Faultless
from apilayer.api.validation.pod_warnings import pod_warnings

if TYPE_CHECKING:
    import pytest

SPEC: dict[str, Any] = {
    "restartPolicy": "Always",
    "dnsPolicy": "ClusterFirst",
    "terminationGracePeriodSeconds": 30,
    "containers": [
        {
            "name": "c",
            "image": "i",
            "imagePullPolicy": "Always",
            "terminationMessagePolicy": "File",
            "terminationMessagePath": "/dev/termination-log",
        }
    ],
}
CLAIM = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}


def test_what_is_wrong_is_told_each_time() -> None:
    assert rules.pod_spec(copy.deepcopy(SPEC), "spec", "a") == []
    wrong = {**SPEC, "restartPolicy": "Sometimes"}
    first = rules.pod_spec(wrong, "spec", "a")
    assert [error.path for error in first] == ["spec.restartPolicy"]
    assert rules.pod_spec(wrong, "spec", "a") == first
    assert rules.pod_spec({**SPEC, "containers": []}, "spec", "a") != []


def test_the_name_counts_where_it_is_part_of_another() -> None:
    spec = {**SPEC, "volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": CLAIM}}]}
    assert rules.pod_spec(spec, "spec", "short") == rules.pod_spec(spec, "spec", "short")
    assert rules.pod_spec(spec, "spec", "x" * 253) != rules.pod_spec(spec, "spec", "short")


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faultless, "MAX_FAULTLESS", 3)
    seen: Faultless[str] = Faultless()
    for number in range(5):
        assert seen.findings(number, list) == []
    assert len(seen) == 3


def _mounting(*names: str) -> dict[str, Any]:
    container = {**SPEC["containers"][0], "volumeMounts": [{"name": names[-1], "mountPath": "/a"}]}
    return {**SPEC, "containers": [container], "volumes": [{"name": name, "emptyDir": {}} for name in names]}


def test_the_name_of_a_token_volume_does_not_matter_as_long_as_it_is_one() -> None:
    seen: Faultless[str] = Faultless()
    for name in ("kube-api-access-bbbbb", "kube-api-access-ccccc"):
        assert seen.findings(_mounting(name), list) == []
    assert len(seen) == 1
    two = _mounting("kube-api-access-bbbbb", "kube-api-access-ccccc")
    assert seen.findings(two, lambda: ["two"]) == ["two"]
    for other in ("kube-api-access-", "kube-api-access-bbbbbb", "kube-api-access-aaaaa", "\0"):
        assert seen.findings(_mounting(other), lambda: ["other"]) == ["other"]
    elsewhere = _mounting("kube-api-access-bbbbb")
    elsewhere["containers"][0]["volumeMounts"][0]["name"] = "kube-api-access-ccccc"
    assert seen.findings(elsewhere, lambda: ["elsewhere"]) == ["elsewhere"]


def test_a_pod_whose_token_is_mounted_twice_is_wrong_though_one_that_mounts_it_once_was_seen() -> None:
    assert rules.pod_spec(_mounting("kube-api-access-bbbbb"), "spec") == []
    wrong = rules.pod_spec(_mounting("kube-api-access-ccccc", "kube-api-access-ccccc"), "spec")
    assert [error.path for error in wrong] == ["spec.volumes[1].name"]
    assert rules.pod_spec(_mounting("kube-api-access-"), "spec") != []


def test_a_pod_is_warned_of_each_time() -> None:
    pod = {"metadata": {}, "spec": {**SPEC, "nodeSelector": {"beta.kubernetes.io/os": "linux"}}}
    first = pod_warnings(pod)
    assert len(first) == 1
    assert pod_warnings(pod) == first
    annotated = {"metadata": {"annotations": {"scheduler.alpha.kubernetes.io/critical-pod": ""}}, "spec": SPEC}
    assert pod_warnings({"metadata": {}, "spec": SPEC}) == []
    assert len(pod_warnings(annotated)) == 1


def test_a_number_that_no_json_holds_is_judged() -> None:
    rules.pod_spec({**SPEC, "terminationGracePeriodSeconds": 1 << 80}, "spec")
