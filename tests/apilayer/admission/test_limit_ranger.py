"""LimitRanger: defaults, bounds and ratios."""

from __future__ import annotations

from typing import Any

import pytest

from apilayer.admission.limits import pod_total
from apilayer.admission.plugin import CREATE, UPDATE
from apilayer.admission.plugins.limit_ranger import LimitRanger
from tests.apilayer.admitting import Cluster, Outcome, review, setup

Object = dict[str, Any]


def create(limits: list[Object], *containers: Object, **spec: Any) -> Outcome:
    cluster = Cluster().put("limitranges", {"metadata": {"name": "l"}, "spec": {"limits": limits}}, "ns")
    named = [{"name": f"c{index}", **container} for index, container in enumerate(containers)]
    pod = {"metadata": {"name": "p"}, "spec": {"containers": named, **spec}}
    return review(LimitRanger(setup(cluster)), CREATE, "pods", pod)


def resources(requests: dict[str, str] | None = None, limits: dict[str, str] | None = None) -> Object:
    return {"resources": {"requests": requests or {}, "limits": limits or {}}}


DEFAULTS = {"type": "Container", "default": {"cpu": "500m", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"}}


def test_containers_get_what_they_leave_out() -> None:
    made = create([DEFAULTS], {}, resources({"cpu": "1"}, {"cpu": "2"}), initContainers=[{"name": "i"}]).obj
    first, second = made["spec"]["containers"]
    assert first["resources"] == {"requests": {"cpu": "100m"}, "limits": {"cpu": "500m", "memory": "1Gi"}}
    assert second["resources"] == {"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "1Gi"}}
    assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu request for container c0; cpu, memory limit for container c0; "
        "memory limit for container c1; cpu request for init container i; cpu, memory limit for init container i"
    )


def test_without_ranges_a_pod_stays_as_it_is() -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}}
    assert review(LimitRanger(setup(Cluster())), CREATE, "pods", pod).obj == pod


@pytest.mark.parametrize(
    ("limit", "container", "refusal"),
    [
        ({"max": {"cpu": "1"}}, resources({"cpu": "1"}, {"cpu": "1"}), ""),
        (
            {"max": {"cpu": "1"}},
            resources({}, {"cpu": "2"}),
            "maximum cpu usage per Container is 1, but limit is 2",
        ),
        (
            {"max": {"memory": "1Gi"}},
            resources({"memory": "2Gi"}),
            "maximum memory usage per Container is 1Gi.  No limit is specified",
        ),
        (
            {"min": {"cpu": "50m"}},
            resources({"cpu": "10m"}),
            "minimum cpu usage per Container is 50m, but request is 10m",
        ),
        ({"min": {"cpu": "50m"}}, resources(), "minimum cpu usage per Container is 50m.  No request is specified"),
        (
            {"min": {"cpu": "50m"}, "max": {"memory": "1Gi"}},
            resources(),
            "[minimum cpu usage per Container is 50m.  No request is specified, "
            "maximum memory usage per Container is 1Gi.  No limit is specified]",
        ),
        ({"maxLimitRequestRatio": {"cpu": "2"}}, resources({"cpu": "1"}, {"cpu": "2"}), ""),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            resources({"cpu": "1"}, {"cpu": "3"}),
            "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000",
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            resources({}, {"cpu": "3"}),
            "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            resources({"cpu": "3"}),
            "cpu max limit to request ratio per Container is 2, but no limit is specified or limit is 0",
        ),
    ],
)
def test_bounds_of_containers(limit: Object, container: Object, refusal: str) -> None:
    outcome = create([{"type": "Container", **limit}], container)
    assert outcome.refusal == (f'pods "p" is forbidden: {refusal}' if refusal else "")


def test_bounds_of_the_whole_pod() -> None:
    half = resources({"cpu": "500m"}, {"cpu": "600m"})
    outcome = create([{"type": "Pod", "max": {"cpu": "1"}}], half, half)
    assert outcome.refusal.endswith("maximum cpu usage per Pod is 1, but limit is 1200m")


@pytest.mark.parametrize(
    ("spec", "total"),
    [
        ({"containers": [{"resources": {"requests": {"cpu": "1"}}}, {"resources": {"requests": {"cpu": "2"}}}]}, "3"),
        ({"initContainers": [{"resources": {"requests": {"cpu": "5"}}}], "containers": []}, "5"),
        (
            {
                "initContainers": [
                    {"restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}},
                    {"resources": {"requests": {"cpu": "4"}}},
                ],
                "containers": [{"resources": {"requests": {"cpu": "2"}}}],
            },
            "5",
        ),
        ({"resources": {"requests": {"cpu": "7"}}, "containers": [{"resources": {"requests": {"cpu": "1"}}}]}, "7"),
    ],
)
def test_what_a_pod_needs(spec: Object, total: str) -> None:
    assert str(pod_total(spec, "requests")["cpu"]) == total


@pytest.mark.parametrize(
    ("size", "refusal"),
    [
        ("5Gi", ""),
        ("500Mi", "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 500Mi"),
        ("20Gi", "maximum storage usage per PersistentVolumeClaim is 10Gi, but request is 20Gi"),
    ],
)
def test_claims(size: str, refusal: str) -> None:
    item = {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "10Gi"}}
    cluster = Cluster().put("limitranges", {"metadata": {"name": "l"}, "spec": {"limits": [item]}}, "ns")
    claim = {"metadata": {"name": "p"}, "spec": {"resources": {"requests": {"storage": size}}}}
    for operation in (CREATE, UPDATE):
        outcome = review(LimitRanger(setup(cluster)), operation, "persistentvolumeclaims", claim, claim)
        assert outcome.refusal == (f'persistentvolumeclaims "p" is forbidden: {refusal}' if refusal else "")


def test_what_is_going_away_is_let_go() -> None:
    item = {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}}
    cluster = Cluster().put("limitranges", {"metadata": {"name": "l"}, "spec": {"limits": [item]}}, "ns")
    claim = {"metadata": {"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}}
    assert review(LimitRanger(setup(cluster)), UPDATE, "persistentvolumeclaims", claim, claim).error is None
