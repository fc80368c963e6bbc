"""Requests in /metrics, under kube-apiserver's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api.resources import find
from apilayer.pipeline.metrics import REQUEST_BUCKETS, Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from apilayer.pipeline.metrics import Labels, RequestMetrics

_WITHOUT_DRY_RUN = ("verb", "group", "version", "resource", "subresource", "scope")
_LABELS = (*_WITHOUT_DRY_RUN, "dry_run", "component")
_SHORTER = (*_WITHOUT_DRY_RUN, "component")
_COMPONENT = "apiserver"
_TIMED_OUT = "504"
_LEAST_OF_LATENCIES = 0.05
"""Below it kube-apiserver's latencies without waiting have no buckets."""


def request_families(requests: RequestMetrics, running: Sequence[int]) -> Iterator[Any]:
    """Every metric family of requests; `running` are read-only and mutating ones that are handled now."""
    yield _total(requests)
    yield from _latencies(requests)
    yield from _ends(requests)
    yield from _present(requests, running)


def _total(requests: RequestMetrics) -> Any:
    from prometheus_client import core

    total = core.CounterMetricFamily(
        "apiserver_request_total",
        "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope,"
        " component, and HTTP response code.",
        labels=(*_LABELS, "code"),
    )
    for (labels, code), count in requests.requests.items():
        total.add_metric((*labels, _COMPONENT, str(code)), count)
    return total


def _latencies(requests: RequestMetrics) -> Iterator[Any]:
    from prometheus_client import core

    durations = core.HistogramMetricFamily(
        "apiserver_request_duration_seconds",
        "Response latency distribution in seconds for each verb, dry run value, group, version, resource,"
        " subresource, scope and component.",
        labels=_LABELS,
    )
    for labels, histogram in list(requests.durations.items()):
        durations.add_metric((*labels, _COMPONENT), histogram.cumulative(), histogram.total)
    yield durations
    without_waiting = core.HistogramMetricFamily(
        "apiserver_request_sli_duration_seconds",
        "Response latency distribution (not counting webhook duration and priority & fairness queue wait times) in"
        " seconds for each verb, group, version, resource, subresource, scope and component.",
        labels=_SHORTER,
    )
    for labels, histogram in _without_waiting(requests).items():
        buckets = [pair for pair in histogram.cumulative() if float(pair[0]) >= _LEAST_OF_LATENCIES]
        without_waiting.add_metric((*labels, _COMPONENT), buckets, histogram.total)
    yield without_waiting
    sizes = core.HistogramMetricFamily(
        "apiserver_response_sizes",
        "Response size distribution in bytes for each group, version, verb, resource, subresource, scope and"
        " component.",
        labels=_SHORTER,
    )
    for labels, histogram in list(requests.sizes.items()):
        sizes.add_metric((*labels, _COMPONENT), histogram.cumulative(), histogram.total)
    yield sizes


def _without_waiting(requests: RequestMetrics) -> dict[Labels, Histogram]:
    """As `RequestMetrics.durations`, without what was spent in queues; dry runs are not told apart."""
    found: dict[Labels, Histogram] = {}
    for histograms in (requests.durations, requests.queued):
        for labels, histogram in list(histograms.items()):
            found.setdefault(labels[:-1], Histogram(REQUEST_BUCKETS)).add(histogram)
    return found


def _ends(requests: RequestMetrics) -> Iterator[Any]:
    from prometheus_client import core

    terminated = core.CounterMetricFamily(
        "apiserver_request_terminations_total",
        "Number of requests which apiserver terminated in self-defense.",
        labels=(*_SHORTER, "code"),
    )
    for labels, count in _summed(requests.terminated.items()).items():
        terminated.add_metric((*labels, _COMPONENT, _TIMED_OUT), count)
    yield terminated
    aborted = core.CounterMetricFamily(
        "apiserver_request_aborts_total",
        "Number of requests which apiserver aborted possibly due to a timeout, for each group, version, verb,"
        " resource, subresource and scope",
        labels=_WITHOUT_DRY_RUN,
    )
    for labels, count in _summed(requests.aborted.items()).items():
        aborted.add_metric(labels, count)
    yield aborted
    handshakes = core.CounterMetricFamily(
        "apiserver_tls_handshake_errors_total", "Number of requests dropped with 'TLS handshake error from' error"
    )
    handshakes.add_metric((), requests.failed_handshakes)
    yield handshakes


def _summed(counts: Iterable[tuple[Labels, int]]) -> dict[Labels, int]:
    """Counts of dry runs and others together."""
    found: dict[Labels, int] = {}
    for labels, count in list(counts):
        found[labels[:-1]] = found.get(labels[:-1], 0) + count
    return found


def _present(requests: RequestMetrics, running: Sequence[int]) -> Iterator[Any]:
    from prometheus_client import core

    now = core.GaugeMetricFamily(
        "apiserver_current_inflight_requests",
        "Maximal number of currently used inflight request limit of this apiserver per request kind in last second.",
        labels=("request_kind",),
    )
    for kind, count in zip(("readOnly", "mutating"), running, strict=True):
        now.add_metric((kind,), count)
    yield now
    lasting = core.GaugeMetricFamily(
        "apiserver_longrunning_requests",
        "Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and"
        " component. Not all requests are tracked this way.",
        labels=_SHORTER,
    )
    for labels, count in _summed(requests.watching.items()).items():
        lasting.add_metric((*labels, _COMPONENT), count)
    yield lasting
    deprecated = core.GaugeMetricFamily(
        "apiserver_requested_deprecated_apis",
        "Gauge of deprecated APIs that have been requested, broken out by API group, version, resource, subresource,"
        " and removed_release.",
        labels=("group", "version", "resource", "subresource", "removed_release"),
    )
    for asked in sorted({labels[1:5] for labels, _ in requests.requests}):
        row = find(*asked[:3])
        if row is not None and row.deprecation:
            deprecated.add_metric((*asked, ""), 1)
    yield deprecated
