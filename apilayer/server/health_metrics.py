"""What came of health checks, as /metrics/slis has it: under kube-apiserver's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from apilayer.server.health import Result

_STATUSES = ("error", "success")


class HealthMetrics:
    """A collector of the metrics library."""

    def __init__(self, results: Mapping[tuple[str, str], Result]) -> None:
        self._results = results

    def text(self) -> tuple[bytes, bytes]:
        """The body in Prometheus' text format, and its Content-Type."""
        import prometheus_client as prometheus

        collector = prometheus.CollectorRegistry()
        collector.register(self)
        return prometheus.generate_latest(collector), prometheus.CONTENT_TYPE_LATEST.encode()

    def collect(self) -> Iterator[Any]:
        """Every metric family, as the library asks for them."""
        from prometheus_client import core

        last = core.GaugeMetricFamily(
            "kubernetes_healthcheck",
            "This metric records the result of a single healthcheck.",
            labels=("name", "type"),
        )
        total = core.CounterMetricFamily(
            "kubernetes_healthchecks_total",
            "This metric records the results of all healthcheck.",
            labels=("name", "type", "status"),
        )
        for (endpoint, name), result in sorted(self._results.items()):
            last.add_metric((name, endpoint), int(result.last))
            for status, count in zip(_STATUSES, result.counts, strict=True):
                if count:
                    total.add_metric((name, endpoint, status), count)
        yield from (last, total)
