"""Metrics of authorization, under kube-apiserver's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.pipeline.authorization import InTurn
from apilayer.server.reload_metrics import reload_families

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from apilayer.pipeline.authorization import Authorizer
    from apilayer.pipeline.metrics import Histogram


def authorization_families(authorizer: Authorizer, durations: Mapping[str, Histogram]) -> Iterator[Any]:
    """What came of requests; and, where several decide in turn, who did how often and how often others were asked."""
    from prometheus_client import core

    attempts = core.CounterMetricFamily(
        "authorization_attempts_total",
        "Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', 'no-opinion' or"
        " 'error'.",
        labels=("result",),
    )
    seconds = core.HistogramMetricFamily(
        "authorization_duration_seconds", "Authorization duration in seconds broken out by result.", labels=("result",)
    )
    for outcome, histogram in list(durations.items()):
        buckets = histogram.cumulative()
        attempts.add_metric((outcome,), buckets[-1][1])
        seconds.add_metric((outcome,), buckets, histogram.total)
    yield from (attempts, seconds)
    if isinstance(authorizer, InTurn):
        yield from _of_steps(authorizer)
        if authorizer.reloads is not None:
            yield from reload_families("authorization", authorizer.reloads)


def _of_steps(authorizer: InTurn) -> Iterator[Any]:
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
