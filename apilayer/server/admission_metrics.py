"""Admission in /metrics, under kube-apiserver's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apilayer.admission.chain import Chain


def admission_families(chain: Chain) -> Iterator[Any]:
    """Every metric family of admission. Writes that concern no plugin are not counted."""
    from prometheus_client import core

    steps = core.HistogramMetricFamily(
        "apiserver_admission_step_admission_duration_seconds",
        "Admission sub-step latency histogram in seconds, broken out for each operation and API resource and step type"
        " (validate or admit).",
        labels=("type", "operation", "rejected"),
    )
    for (step, operation, refused), histogram in chain.durations.items():
        steps.add_metric((step, operation, str(refused).lower()), histogram.cumulative(), histogram.total)
    yield steps
