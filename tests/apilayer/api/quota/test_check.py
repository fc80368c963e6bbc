"""What a quota lets through, and what its status says while requests are on their way."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apilayer.api.quota import QuotaError, amounts, charged, concerns, cost_of, evaluator_of, observed, recounted

if TYPE_CHECKING:
    from apilayer.api.quota.evaluators import Evaluator

Object = dict[str, Any]
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def evaluator(resource: str) -> Evaluator:
    found = evaluator_of(resource)
    assert found is not None
    return found


def quota(hard: Object, used: Object | None = None, **spec: Any) -> Object:
    status = {"hard": hard, "used": used} if used is not None else {}
    return {"metadata": {"name": "q"}, "spec": {"hard": hard, **spec}, "status": status}


def pod(cpu: str, memory: str = "1Gi") -> Object:
    resources = {"requests": {"cpu": cpu, "memory": memory}}
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "resources": resources}]}}


def test_what_fits_is_added() -> None:
    held = quota({"requests.cpu": "2", "memory": "4Gi"}, {"requests.cpu": "500m", "memory": "0"})
    assert concerns(held, evaluator("pods"), pod("1"))
    cost = cost_of(evaluator("pods"), pod("1500m"), None, NOW)
    assert charged(held, cost)["status"]["used"] == {"memory": "1Gi", "requests.cpu": "2"}


def test_what_does_not_fit_is_refused() -> None:
    held = quota(
        {"requests.cpu": "2", "memory": "1Gi", "pods": "9"}, {"requests.cpu": "1", "memory": "1Gi", "pods": "1"}
    )
    cost = cost_of(evaluator("pods"), pod("1500m"), None, NOW)
    with pytest.raises(QuotaError) as caught:
        charged(held, cost)
    assert str(caught.value) == (
        "exceeded quota: q, requested: memory=1Gi,requests.cpu=1500m, used: memory=1Gi,requests.cpu=1, "
        "limited: memory=1Gi,requests.cpu=2"
    )


def test_a_quota_that_nobody_has_counted_yet_lets_nothing_through() -> None:
    unknown = quota({"secrets": "1"})
    assert not concerns(unknown, evaluator("secrets"), {})  # nobody has said what holds
    unknown["status"] = {"hard": {"secrets": "1", "count/secrets": "2"}, "used": {"secrets": "0"}}
    with pytest.raises(QuotaError, match=r"^status unknown for quota: q, resources: count/secrets,secrets$"):
        concerns(unknown, evaluator("secrets"), {})


def test_silent_containers_are_refused() -> None:
    held = quota({"requests.cpu": "2"}, {"requests.cpu": "0"})
    silent = {"spec": {"containers": [{"name": "c"}]}}
    with pytest.raises(QuotaError, match=r"^failed quota: q: must specify requests.cpu for: c$"):
        concerns(held, evaluator("pods"), silent)


def test_scopes_must_fit() -> None:
    held = quota({"pods": "1"}, {"pods": "0"}, scopes=["BestEffort"])
    assert not concerns(held, evaluator("pods"), pod("1"))
    assert concerns(held, evaluator("pods"), {"spec": {"containers": [{"name": "c"}]}})
    assert not concerns(quota({"secrets": "1"}, {"secrets": "0"}, scopes=["BestEffort"]), evaluator("secrets"), {})


def test_an_update_costs_the_difference() -> None:
    old = {"spec": {"type": "NodePort", "ports": [{"port": 1}]}}
    new = {"spec": {"type": "LoadBalancer", "ports": [{"port": 1}, {"port": 2}]}}
    grown = cost_of(evaluator("services"), new, old, NOW)
    assert {name: str(amount) for name, amount in grown.items()} == {
        "services.nodeports": "1",
        "services.loadbalancers": "1",
    }
    assert cost_of(evaluator("services"), old, new, NOW) == {}


def test_negative_amounts_are_refused() -> None:
    with pytest.raises(QuotaError, match=r"^quota usage is negative for resource\(s\): cpu,requests.cpu$"):
        cost_of(evaluator("pods"), pod("-1"), None, NOW)


def test_what_there_is_is_counted() -> None:
    held = quota(
        {"pods": "3", "memory": "4Gi", "count/secrets": "1", "unheard.of/thing": "1"}, scopes=["NotBestEffort"]
    )
    best_effort = {"spec": {"containers": [{"name": "c"}]}}
    counted = observed(
        held,
        [(evaluator("pods"), [pod("1"), pod("2"), best_effort]), (evaluator("secrets"), [{}, {}])],
        NOW,
    )
    new = recounted(held, counted)
    assert new is not None
    assert new["status"] == {
        "hard": {"count/secrets": "1", "memory": "4Gi", "pods": "3", "unheard.of/thing": "1"},
        "used": {"count/secrets": "0", "memory": "2Gi", "pods": "2"},
    }
    assert recounted(new, counted) is None


@pytest.mark.parametrize(
    ("used", "counted", "base", "expected"),
    [
        ("5", "7", None, "7"),
        ("5", "3", None, None),
        ("5", "3", "5", "3"),
        ("6", "3", "5", "4"),
        ("4", "3", "5", "3"),
        ("5", "7", "5", "7"),
        ("5", "5", "5", None),
        ("6", "6", "5", None),
    ],
)
def test_less_is_said_only_of_what_has_settled(used: str, counted: str, base: str | None, expected: str | None) -> None:
    new = recounted(
        quota({"pods": "9"}, {"pods": used}),
        amounts({"pods": counted}),
        None if base is None else amounts({"pods": base}),
    )
    assert (None if new is None else new["status"]["used"]["pods"]) == expected


HARD = 2
STEPS = ("create", "store", "fail", "delete", "look", "settle", "count", "write")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(STEPS), min_size=20, max_size=60))
def test_never_more_than_the_quota_whatever_is_counted_meanwhile(steps: list[str]) -> None:
    """Requests are charged, then stored or not; counting sees what is stored. `settle` ends what is on its way."""
    held = quota({"pods": str(HARD)}, {"pods": "0"})
    one = amounts({"pods": "1"})
    on_the_way = stored = 0
    base = settled = counted = None
    for step in steps:
        if step == "create":
            try:
                held = charged(held, one)
                on_the_way += 1
            except QuotaError:
                pass
        elif step in ("store", "fail") and on_the_way:
            on_the_way -= 1
            stored += step == "store"
        elif step == "delete" and stored:
            stored -= 1
        elif step == "look":
            base, settled = amounts(held["status"]["used"]), None
        elif step == "settle":
            stored, on_the_way, settled = stored + on_the_way, 0, base
        elif step == "count":
            counted = amounts({"pods": str(stored)}), settled
        elif step == "write" and counted is not None:
            held = recounted(held, *counted) or held
            base = settled = counted = None
        assert stored + on_the_way <= HARD
