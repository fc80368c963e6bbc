"""Specs that were found without fault are not judged again; that changes no answer."""

from __future__ import annotations

import copy
from typing import Any

from apilayer.api.validation import pod as rules

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


def test_only_so_many_are_remembered(monkeypatch: Any) -> None:
    monkeypatch.setattr(rules, "MAX_FAULTLESS", 3)
    monkeypatch.setattr(rules, "_FAULTLESS", {})
    for number in range(5):
        assert rules.pod_spec({**SPEC, "terminationGracePeriodSeconds": number}, "spec") == []
    assert len(rules._FAULTLESS) == 3


def test_a_number_that_no_json_holds_is_judged() -> None:
    rules.pod_spec({**SPEC, "terminationGracePeriodSeconds": 1 << 80}, "spec")
