"""What strategies of single kinds do to objects that are written."""

from __future__ import annotations

from typing import Any

import pytest

from apilayer.api.resources import find
from apilayer.registry.kinds import strategy_for


def created(plural: str, body: dict[str, Any], group: str = "") -> dict[str, Any]:
    resource = find(group, "v1", plural)
    assert resource is not None
    obj = {"metadata": {"name": "a", "uid": "u"}, **body}
    strategy = strategy_for(resource)
    strategy.prepare_create(obj)
    strategy.settle(obj)
    return obj


def test_a_job_finds_its_pods_by_labels_that_the_user_may_have_set() -> None:
    job = created("jobs", {"spec": {"template": {"metadata": {"labels": {"job-name": "mine"}}}}}, "batch")
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert (labels["job-name"], labels["batch.kubernetes.io/job-name"]) == ("mine", "a")
    assert job["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}
    assert job["metadata"]["labels"] == labels
    managed = created("jobs", {"spec": {"manualSelector": True, "template": {}}}, "batch")
    assert managed["spec"] == {"manualSelector": True, "template": {}}


@pytest.mark.parametrize(
    ("plural", "group", "kept"),
    [
        ("configmaps", "", set()),
        ("nodes", "", set()),
        ("pods", "", {"ownerReferences"}),
        ("deployments", "apps", {"labels"}),
        ("volumeattachments", "storage.k8s.io", {"labels", "annotations", "finalizers", "ownerReferences"}),
        ("flowschemas", "flowcontrol.apiserver.k8s.io", {"labels", "annotations", "finalizers", "ownerReferences"}),
    ],
)
def test_a_write_of_the_status_keeps_some_metadata(plural: str, group: str, kept: set[str]) -> None:
    resource = find(group, "v1", plural)
    assert resource is not None
    fields = ("labels", "annotations", "finalizers", "ownerReferences")
    before = {"metadata": {"name": "a", **dict.fromkeys(fields, "old")}, "spec": {"a": 1}, "status": {}}
    after = {"metadata": {"name": "a", **dict.fromkeys(fields, "new")}, "spec": {"a": 2}, "status": {"b": 1}}
    strategy_for(resource).prepare(after, before, "status")
    assert {field for field in fields if after["metadata"][field] == "old"} == kept
    assert after["spec"] == {"a": 1}
    assert after["status"] == {"b": 1}


def test_a_volume_says_since_when_it_is_in_its_phase() -> None:
    volume = created("persistentvolumes", {"spec": {}})
    assert volume["status"]["phase"] == "Pending"
    assert volume["status"]["lastPhaseTransitionTime"].endswith("Z")
    resource = find("", "v1", "persistentvolumes")
    assert resource is not None
    before = {**volume, "status": {"phase": "Pending", "lastPhaseTransitionTime": "2024-01-01T00:00:00Z"}}
    same = {**before, "status": {**before["status"], "message": "m"}}
    strategy_for(resource).prepare_status_update(same, before)
    assert same["status"]["lastPhaseTransitionTime"] == "2024-01-01T00:00:00Z"
    bound = {**before, "status": {**before["status"], "phase": "Bound"}}
    strategy_for(resource).prepare_status_update(bound, before)
    assert bound["status"]["lastPhaseTransitionTime"] > "2024-01-01T00:00:00Z"


def test_both_fields_for_the_source_of_a_claim_say_the_same() -> None:
    claim = {"kind": "PersistentVolumeClaim", "name": "b"}
    for given in ("dataSource", "dataSourceRef"):
        spec = created("persistentvolumeclaims", {"spec": {given: claim}})["spec"]
        assert spec["dataSource"] == spec["dataSourceRef"] == claim
    unknown = {"kind": "Odd", "name": "b"}
    assert created("persistentvolumeclaims", {"spec": {"dataSource": unknown}})["spec"] == {}
    assert created("persistentvolumeclaims", {"spec": {"dataSourceRef": unknown}})["spec"] == {"dataSourceRef": unknown}


def test_label_keys_join_the_selectors_beside_them() -> None:
    term = {"topologyKey": "z", "labelSelector": {}, "matchLabelKeys": ["a", "none"], "mismatchLabelKeys": ["b"]}
    terms = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    spread = {"labelSelector": {"matchExpressions": [{"key": "c", "operator": "Exists"}]}, "matchLabelKeys": ["a"]}
    alone = {"matchLabelKeys": ["a"]}
    spec = {"affinity": {"podAffinity": terms}, "topologySpreadConstraints": [spread, alone]}
    pod = created("pods", {"metadata": {"name": "a", "labels": {"a": "1", "b": "2"}}, "spec": spec})
    joined = pod["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]
    is_one = {"key": "a", "operator": "In", "values": ["1"]}
    assert joined["labelSelector"]["matchExpressions"] == [is_one, {"key": "b", "operator": "NotIn", "values": ["2"]}]
    constraints = pod["spec"]["topologySpreadConstraints"]
    assert constraints[0]["labelSelector"]["matchExpressions"] == [{"key": "c", "operator": "Exists"}, is_one]
    assert constraints[1] == {"matchLabelKeys": ["a"]}


def test_the_class_of_a_pod_is_kept_where_its_node_says_nothing_of_it() -> None:
    resource = find("", "v1", "pods")
    assert resource is not None
    old = {"metadata": {"name": "a"}, "spec": {}, "status": {"qosClass": "BestEffort"}}
    for given, kept in (({}, "BestEffort"), ({"qosClass": "Guaranteed"}, "Guaranteed")):
        new: dict[str, Any] = {"metadata": {"name": "a"}, "spec": {}, "status": dict(given)}
        strategy_for(resource).prepare_status_update(new, old)
        assert new["status"]["qosClass"] == kept
