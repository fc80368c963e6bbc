"""Authentication in /metrics, under kube-apiserver's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.server.reload_metrics import reload_families

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apilayer.pipeline.authentication_counts import AuthenticationCounts


def authentication_families(counts: AuthenticationCounts) -> Iterator[Any]:
    """Every metric family of authentication."""
    from prometheus_client import core

    attempts = core.CounterMetricFamily(
        "authentication_attempts", "Counter of authenticated attempts.", labels=("result",)
    )
    durations = core.HistogramMetricFamily(
        "authentication_duration_seconds",
        "Authentication duration in seconds broken out by result.",
        labels=("result",),
    )
    for result, histogram in counts.durations.items():
        buckets = histogram.cumulative()
        attempts.add_metric((result,), buckets[-1][1])
        durations.add_metric((result,), buckets, histogram.total)
    users = core.CounterMetricFamily(
        "authenticated_user_requests",
        "Counter of authenticated requests broken out by username.",
        labels=("username",),
    )
    for name, count in list(counts.users.items()):
        users.add_metric((name,), count)
    lifetimes = core.HistogramMetricFamily(
        "apiserver_client_certificate_expiration_seconds",
        "Distribution of the remaining lifetime on the certificate used to authenticate a request.",
    )
    lifetimes.add_metric((), counts.lifetimes.cumulative(), counts.lifetimes.total)
    yield from (attempts, durations, users, lifetimes)
    if counts.reloads is not None:
        yield from reload_families("authentication", counts.reloads)
