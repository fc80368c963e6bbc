"""Plugins that are made of a configuration: event rates, node selectors, tolerations."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from apilayer.admission.plugin import CREATE, UPDATE, ConfigurationError
from apilayer.admission.plugins.event_rate_limit import EventRateLimit
from apilayer.admission.plugins.pod_node_selector import PodNodeSelector
from apilayer.admission.plugins.pod_toleration_restriction import ALLOWED, GIVEN, PodTolerationRestriction
from apilayer.pipeline.authentication import User
from tests.apilayer.admitting import ALICE, Cluster, Outcome, review, setup

Object = dict[str, Any]

# ---------------------------------------------------------------------- EventRateLimit


def limited(*limits: Object) -> Object:
    return {
        "apiVersion": "eventratelimit.admission.k8s.io/v1alpha1",
        "kind": "Configuration",
        "limits": list(limits),
    }


class Events:
    """Events to a plugin whose clock stands still."""

    def __init__(self, *limits: Object) -> None:
        self.now = 0.0
        self._plugin = EventRateLimit(setup(Cluster(), limited(*limits)), lambda: self.now)

    def send(self, namespace: str = "ns", user: User = ALICE, name: str = "x") -> Outcome:
        event = {"metadata": {"name": "e"}, "source": {"component": "c"}, "involvedObject": {"name": name}}
        return review(self._plugin, CREATE, "events", event, namespace=namespace, user=user)

    def taken(self, count: int, **what: Any) -> int:
        return sum(self.send(**what).error is None for _ in range(count))


def test_a_burst_and_then_a_rate() -> None:
    events = Events({"type": "Server", "qps": 2, "burst": 3})
    assert events.taken(5) == 3
    events.now = 1.0
    assert events.taken(5, namespace="other") == 2
    events.now = 100.0
    assert events.taken(5) == 3


def test_what_a_refused_event_is_told() -> None:
    events = Events({"type": "Namespace", "qps": 1, "burst": 1})
    events.send()
    error = events.send().error
    assert error is not None
    assert error.status == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "Too many requests: limit reached on type Namespace for key ns",
        "reason": "TooManyRequests",
        "code": 429,
    }
    assert error.headers == ()


@pytest.mark.parametrize(
    ("kind", "other", "apart"),
    [
        ("Namespace", {"namespace": "other"}, True),
        ("Namespace", {"user": User("bob")}, False),
        ("User", {"user": User("bob")}, True),
        ("User", {"namespace": "other"}, False),
        ("SourceAndObject", {"name": "y"}, True),
        ("SourceAndObject", {"user": User("bob")}, False),
        ("Server", {"namespace": "other", "user": User("bob"), "name": "y"}, False),
    ],
)
def test_what_is_counted_apart(kind: str, other: Object, apart: bool) -> None:
    events = Events({"type": kind, "qps": 1, "burst": 1})
    assert events.taken(2) == 1
    assert events.taken(2, **other) == int(apart)


def test_the_longest_unused_is_forgotten() -> None:
    events = Events({"type": "Namespace", "qps": 1, "burst": 1, "cacheSize": 2})
    assert [events.taken(1, namespace=name) for name in ("a", "b", "a", "c", "a", "b")] == [1, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        (None, "limits: must not be empty"),
        ({"kind": "Other"}, "not a Configuration"),
        (limited(), "limits: must not be empty"),
        (limited({"type": "X"}), r"limits\[0\].type: must be one of Namespace, Server, SourceAndObject, User"),
        (limited({"type": "User", "qps": 0, "burst": 1}), r"limits\[0\].qps: must be positive"),
        (limited({"type": "User", "qps": 1, "burst": "1"}), r"limits\[0\].burst: must be positive"),
        (limited({"type": "User", "qps": 1, "burst": 1, "cacheSize": -1}), r"limits\[0\].cacheSize: must be"),
    ],
)
def test_limits_that_are_none(configuration: Object | None, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        EventRateLimit(setup(Cluster(), configuration))


# ---------------------------------------------------------------------- PodNodeSelector

SELECTED = (
    Cluster()
    .namespace("free")
    .namespace("ns", annotations={"scheduler.alpha.kubernetes.io/node-selector": "disk=ssd, zone=a"})
    .namespace("bad", annotations={"scheduler.alpha.kubernetes.io/node-selector": "disk"})
    .namespace("listed")
)
SELECTORS = {"podNodeSelectorPluginConfig": {"clusterDefaultNodeSelector": "pool=usual", "listed": "pool=usual,a=b"}}


@pytest.mark.parametrize(
    ("namespace", "given", "expected"),
    [
        ("ns", None, {"disk": "ssd", "zone": "a"}),
        ("ns", {"x": "y"}, {"disk": "ssd", "zone": "a", "x": "y"}),
        ("ns", {"disk": "hdd"}, "pod node label selector conflicts with its namespace node label selector"),
        ("free", None, {"pool": "usual"}),
        ("listed", {"a": "b"}, {"pool": "usual", "a": "b"}),
        ("listed", {"c": "d"}, "pod node label selector labels conflict with its namespace whitelist"),
        ("bad", None, "invalid selector: disk"),
        ("none", None, 'namespaces "none" not found'),
    ],
)
def test_nodes_of_a_namespace(namespace: str, given: Object | None, expected: Object | str) -> None:
    pod: Object = {"metadata": {"name": "p"}, "spec": {} if given is None else {"nodeSelector": given}}
    plugin = PodNodeSelector(setup(SELECTED, SELECTORS))
    outcome = review(plugin, CREATE, "pods", pod, namespace=namespace)
    if isinstance(expected, str):
        assert outcome.refusal.removeprefix('pods "p" is forbidden: ') == expected
    else:
        assert outcome.error is None
        assert outcome.obj["spec"]["nodeSelector"] == expected


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"podNodeSelectorPluginConfig": []}, ""),
        ({"podNodeSelectorPluginConfig": [1]}, "must be an object"),
        ({"podNodeSelectorPluginConfig": {"ns": "a"}}, "podNodeSelectorPluginConfig.ns: invalid selector: a"),
    ],
)
def test_selectors_that_are_none(configuration: Object, message: str) -> None:
    if not message:
        PodNodeSelector(setup(Cluster(), configuration))
        return
    with pytest.raises(ConfigurationError, match=message):
        PodNodeSelector(setup(Cluster(), configuration))


# ---------------------------------------------------------------------- PodTolerationRestriction

A, B = {"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}
PRESSURE = {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}


def tolerating(annotations: Object, *tolerations: Object, requests: Object | None = None) -> Outcome:
    named = {key: orjson.dumps(value).decode() for key, value in annotations.items()}
    cluster = Cluster().namespace("ns", annotations=named)
    configuration = {
        "apiVersion": "podtolerationrestriction.admission.k8s.io/v1alpha1",
        "kind": "Configuration",
        "default": [B],
    }
    containers = [{"name": "c", "resources": {"requests": requests or {}}}]
    pod = {"metadata": {"name": "p"}, "spec": {"containers": containers, "tolerations": list(tolerations)}}
    return review(PodTolerationRestriction(setup(cluster, configuration)), CREATE, "pods", pod)


@pytest.mark.parametrize(
    ("annotations", "given", "expected"),
    [
        ({}, [], [B]),
        ({GIVEN: [A]}, [], [A]),
        ({GIVEN: [A]}, [B], [B, A]),
        ({GIVEN: []}, [], []),
        ({GIVEN: [A]}, [{"key": "a", "operator": "Equal", "value": "x"}], [A]),
    ],
)
def test_tolerations_that_a_namespace_gives(annotations: Object, given: list[Object], expected: list[Object]) -> None:
    assert tolerating(annotations, *given).obj["spec"]["tolerations"] == expected


def test_pods_with_requests_bear_memory_pressure() -> None:
    assert tolerating({}, requests={"cpu": "1"}).obj["spec"]["tolerations"] == [B, PRESSURE]


def test_tolerations_that_a_namespace_allows() -> None:
    refusal = (
        "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist"
    )
    assert tolerating({GIVEN: [], ALLOWED: [A]}, A).error is None
    outcome = tolerating({GIVEN: [], ALLOWED: [A]}, B)
    assert (outcome.error is not None, outcome.refusal) == (True, refusal)


def test_an_annotation_that_lists_nothing() -> None:
    assert "must be a list of tolerations" in tolerating({GIVEN: {}}).refusal


@pytest.mark.parametrize(
    ("configuration", "message"),
    [({"kind": "x"}, "not a Configuration"), ({"default": [1]}, "default: must be a list")],
)
def test_tolerations_that_are_none(configuration: Object, message: str) -> None:
    whole = {"apiVersion": "podtolerationrestriction.admission.k8s.io/v1alpha1", "kind": "Configuration"}
    with pytest.raises(ConfigurationError, match=message):
        PodTolerationRestriction(setup(Cluster(), {**whole, **configuration}))


def test_updates_are_checked_and_not_given_more() -> None:
    cluster = Cluster().namespace("ns", annotations={ALLOWED: orjson.dumps([A]).decode(), GIVEN: "[]"})
    plugin = PodTolerationRestriction(setup(cluster))
    old = {"metadata": {"name": "p"}, "spec": {"tolerations": [A]}}
    assert review(plugin, UPDATE, "pods", old, old).obj == old
    new = {**old, "spec": {"tolerations": [A, B]}}
    assert review(plugin, UPDATE, "pods", new, old).error is not None
