"""What DELETE decides."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from apilayer.api.resources import find
from apilayer.api.status import StatusError
from apilayer.registry.deletion import Decision, decide
from apilayer.registry.kinds import strategy_for
from apilayer.registry.options import DeleteOptions

if TYPE_CHECKING:
    from apilayer.registry.strategy import Strategy

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
NOW_TEXT = "2026-01-01T12:00:00Z"


def strategy(plural: str) -> Strategy:
    resource = find("", "v1", plural)
    assert resource is not None
    return strategy_for(resource)


def run(plural: str, obj: dict[str, Any], **options: Any) -> Decision:
    return decide(strategy(plural), copy.deepcopy(obj), DeleteOptions(**options), NOW)


def configmap(**metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "c", "uid": "u", "resourceVersion": "7", **metadata}}


def pod(phase: str = "Running", node: str = "n1", **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "uid": "u", "generation": 1, **metadata},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 30},
        "status": {"phase": phase},
    }


def test_plain_objects_go_at_once() -> None:
    assert run("configmaps", configmap()) == Decision(None, remove=True)
    assert run("configmaps", configmap(), propagation_policy="Background") == Decision(None, remove=True)
    assert run("configmaps", configmap(), orphan_dependents=False) == Decision(None, remove=True)


@pytest.mark.parametrize(
    ("options", "finalizer"),
    [
        ({"propagation_policy": "Foreground"}, "foregroundDeletion"),
        ({"propagation_policy": "Orphan"}, "orphan"),
        ({"orphan_dependents": True}, "orphan"),
    ],
)
def test_policies_set_finalizers(options: dict[str, Any], finalizer: str) -> None:
    decision = run("configmaps", configmap(), **options)
    assert not decision.remove
    assert decision.update is not None
    assert decision.update["metadata"]["finalizers"] == [finalizer]
    assert decision.update["metadata"]["deletionTimestamp"] == NOW_TEXT
    assert decision.update["metadata"]["deletionGracePeriodSeconds"] == 0


def test_background_lets_go_of_earlier_policies() -> None:
    obj = configmap(finalizers=["orphan"])
    assert run("configmaps", obj, propagation_policy="Background") == Decision(None, remove=True)
    held = run("configmaps", configmap(finalizers=["orphan", "a.b/c"]), propagation_policy="Background")
    assert held.update is not None
    assert held.update["metadata"]["finalizers"] == ["a.b/c"]


def test_events_own_nothing() -> None:
    assert run("events", configmap(), propagation_policy="Foreground") == Decision(None, remove=True)
    assert run("events", configmap(finalizers=["orphan"])) == Decision(None, remove=True)


@pytest.mark.parametrize("name", ["system-node-critical", "system-cluster-critical", "mine"])
def test_the_priorities_of_the_system_stay(name: str) -> None:
    resource = find("scheduling.k8s.io", "v1", "priorityclasses")
    assert resource is not None
    if name == "mine":
        strategy_for(resource).check_delete(name)
        return
    with pytest.raises(StatusError, match="this is a system priority class and cannot be deleted") as caught:
        strategy_for(resource).check_delete(name)
    assert caught.value.code == 403


def test_finalizers_hold_an_object() -> None:
    decision = run("configmaps", configmap(finalizers=["a.b/c"]))
    assert decision.update is not None
    assert not decision.remove
    again = run("configmaps", decision.update)
    assert again == Decision(decision.update, remove=False)


def test_pods_get_their_grace_period() -> None:
    decision = run("pods", pod())
    assert decision.update is not None
    assert not decision.remove
    metadata = decision.update["metadata"]
    assert metadata["deletionTimestamp"] == "2026-01-01T12:00:30Z"
    assert (metadata["deletionGracePeriodSeconds"], metadata["generation"]) == (30, 2)


@pytest.mark.parametrize("obj", [pod(node=""), pod(phase="Succeeded"), pod(phase="Failed")])
def test_pods_that_nobody_runs_go_at_once(obj: dict[str, Any]) -> None:
    decision = run("pods", obj)
    assert decision.remove
    assert decision.update is not None
    assert decision.update["metadata"]["deletionGracePeriodSeconds"] == 0


def test_a_grace_period_can_only_be_shortened() -> None:
    ending = run("pods", pod()).update
    assert ending is not None
    assert run("pods", ending) == Decision(None, remove=False)
    assert run("pods", ending, grace_period_seconds=60) == Decision(None, remove=False)
    shorter = run("pods", ending, grace_period_seconds=3).update
    assert shorter is not None
    assert shorter["metadata"]["deletionTimestamp"] == "2026-01-01T12:00:03Z"
    assert shorter["metadata"]["generation"] == 2
    assert run("pods", ending, grace_period_seconds=0).remove


def test_a_deletion_that_broke_off_after_its_mark_is_completed() -> None:
    ended = pod(deletionTimestamp=NOW_TEXT, deletionGracePeriodSeconds=0)
    assert run("pods", ended) == Decision(None, remove=True)


def test_the_order_of_finalizers_is_no_change() -> None:
    held = configmap(finalizers=["orphan", "a.b/c"], deletionTimestamp=NOW_TEXT, deletionGracePeriodSeconds=0)
    decision = run("configmaps", held)
    assert not decision.remove
    assert decision.update == held


def test_a_pod_with_finalizers_is_held_after_its_grace_period() -> None:
    decision = run("pods", pod(finalizers=["a.b/c"]), grace_period_seconds=0)
    assert decision.update is not None
    assert not decision.remove


@pytest.mark.parametrize(
    ("options", "part"),
    [({"uid": "x"}, "the UID in the precondition (x)"), ({"resource_version": "1"}, "(1) does not match")],
)
def test_preconditions(options: dict[str, Any], part: str) -> None:
    with pytest.raises(StatusError) as caught:
        run("configmaps", configmap(), **options)
    assert caught.value.code == 409
    assert str(caught.value).startswith('Operation cannot be fulfilled on ConfigMap "c": ')
    assert part in str(caught.value)
    assert run("configmaps", configmap(), uid="u", resource_version="7").remove
