"""Metrics of authorization, under kube-apiserver's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.pipeline.authorization import InTurn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apilayer.pipeline.authorization import Authorizer


def authorization_families(authorizer: Authorizer) -> Iterator[Any]:
    """Who decided how often, and how often others were asked; nothing where nobody decides in turn."""
    if not isinstance(authorizer, InTurn):
        return
    from prometheus_client import core

    decisions = core.CounterMetricFamily(
        "apiserver_authorization_decisions_total",
        "Total number of terminal decisions made by an authorizer split by authorizer type, name, and decision.",
        labels=("type", "name", "decision"),
    )
    asked = core.CounterMetricFamily(
        "apiserver_authorization_webhook_evaluations_total",
        "Round-trips to authorization webhooks.",
        labels=("name", "result"),
    )
    for step in authorizer.steps:
        for decision, count in (("allowed", step.allowed), ("denied", step.denied)):
            if count:
                decisions.add_metric((step.mode, step.name, decision), count)
        for result, count in getattr(step.authorizer, "evaluations", {}).items():
            asked.add_metric((step.name, result), count)
    yield decisions
    yield asked
