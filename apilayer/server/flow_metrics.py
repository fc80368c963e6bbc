"""Priority and fairness in /metrics, under kube-apiserver's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apilayer.pipeline.fairness.control import Fairness
    from apilayer.pipeline.metrics import Histogram

_BOTH = ("priority_level", "flow_schema")
_PREFIX = "apiserver_flowcontrol_"


def families(fairness: Fairness) -> Iterator[Any]:
    """Every metric family."""
    yield from _of_flows(fairness)
    yield from _histograms(fairness)
    yield from _of_levels(fairness)


def _of_flows(fairness: Fairness) -> Iterator[Any]:
    from prometheus_client import core

    rejected = core.CounterMetricFamily(
        f"{_PREFIX}rejected_requests_total",
        "Number of requests rejected by API Priority and Fairness subsystem",
        labels=(*_BOTH, "reason"),
    )
    dispatched = core.CounterMetricFamily(
        f"{_PREFIX}dispatched_requests_total",
        "Number of requests executed by API Priority and Fairness subsystem",
        labels=_BOTH,
    )
    waiting = core.GaugeMetricFamily(
        f"{_PREFIX}current_inqueue_requests",
        "Number of requests currently pending in queues of the API Priority and Fairness subsystem",
        labels=_BOTH,
    )
    executing = core.GaugeMetricFamily(
        f"{_PREFIX}current_executing_requests",
        "Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and"
        " Fairness subsystem",
        labels=_BOTH,
    )
    seats = core.GaugeMetricFamily(
        f"{_PREFIX}current_executing_seats",
        "Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage"
        " otherwise) requests in the API Priority and Fairness subsystem",
        labels=_BOTH,
    )
    for labels, counts in list(fairness.counts.items()):
        for reason, count in counts.rejected.items():
            rejected.add_metric((*labels, reason), count)
        dispatched.add_metric(labels, counts.dispatched)
        waiting.add_metric(labels, counts.waiting)
        executing.add_metric(labels, counts.executing)
        seats.add_metric(labels, counts.seats)
    yield from (rejected, dispatched, waiting, executing, seats)


def _histograms(fairness: Fairness) -> Iterator[Any]:
    from prometheus_client import core

    waited = core.HistogramMetricFamily(
        f"{_PREFIX}request_wait_duration_seconds",
        "Length of time a request spent waiting in its queue",
        labels=(*_BOTH, "execute"),
    )
    ran = core.HistogramMetricFamily(
        f"{_PREFIX}request_execution_seconds",
        "Duration of initial stage (for a WATCH) or any (for a non-WATCH) stage of request execution in the API"
        " Priority and Fairness subsystem",
        labels=(*_BOTH, "type"),
    )
    widths = core.HistogramMetricFamily(
        f"{_PREFIX}work_estimated_seats",
        "Number of estimated seats (maximum of initial and final seats) associated with requests in API Priority and"
        " Fairness",
        labels=_BOTH,
    )
    for labels, counts in list(fairness.counts.items()):
        for execute, histogram, further in zip(("false", "true"), counts.waited, (0, counts.at_once), strict=True):
            waited.add_metric((*labels, execute), _raised(histogram, further), histogram.total)
        for kind, histogram in zip(("regular", "watch"), counts.ran, strict=True):
            ran.add_metric((*labels, kind), histogram.cumulative(), histogram.total)
        widths.add_metric(labels, _raised(counts.widths, counts.of_one_seat), counts.widths.total + counts.of_one_seat)
    yield from (waited, ran, widths)


def _raised(histogram: Histogram, count: int) -> list[tuple[str, float]]:
    """With so many more in the first bucket."""
    return [(bound, value + count) for bound, value in histogram.cumulative()]


def _of_levels(fairness: Fairness) -> Iterator[Any]:
    from prometheus_client import core

    gauges = {
        name: core.GaugeMetricFamily(f"{_PREFIX}{name}", text, labels=("priority_level",))
        for name, text in (
            ("nominal_limit_seats", "Nominal number of execution seats configured for each priority level"),
            (
                "lower_limit_seats",
                "Configured lower bound on number of execution seats available to each priority level",
            ),
            (
                "upper_limit_seats",
                "Configured upper bound on number of execution seats available to each priority level",
            ),
            ("current_limit_seats", "current derived number of execution seats available to each priority level"),
            ("demand_seats_high_watermark", "High watermark, over last adjustment period, of demand_seats"),
            ("demand_seats_smoothed", "Smoothed seat demands"),
            ("current_r", "R(time of last change)"),
        )
    }
    for name, state in list(fairness.levels.items()):
        queues, limits = state.queues, state.limits
        current = queues.limit if queues.limit is not None else max(limits.least, queues.demand.high)
        values = (
            *(limits.nominal, limits.least, limits.most, current),
            *(queues.demand.high, queues.demand.smoothed, queues.r),
        )
        for gauge, value in zip(gauges.values(), values, strict=True):
            gauge.add_metric((name,), value)
    yield from gauges.values()
