"""/metrics: what the server has counted, under kube-apiserver's names. Made when somebody asks, not before.

The library is imported on the first request: it costs more than the rest of the server's start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api.resources import RESOURCES
from apilayer.pipeline.fairness.control import Fairness
from apilayer.pipeline.metrics import bound_text
from apilayer.server.admission_metrics import admission_families
from apilayer.server.audit_metrics import audit_families
from apilayer.server.authentication_metrics import authentication_families
from apilayer.server.authorization_metrics import authorization_families
from apilayer.server.flow_metrics import families
from apilayer.server.request_metrics import request_families
from apilayer.server.sealing_metrics import sealing_families
from apilayer.server.version import VERSION
from apilayer.server.watch_metrics import watch_families
from apilayer.storage.measured import STORE_BUCKETS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apilayer.audit.counts import AuditCounts
    from apilayer.pipeline.authentication_counts import AuthenticationCounts
    from apilayer.pipeline.authorization import Authorizer
    from apilayer.pipeline.flow_control import FlowControl
    from apilayer.pipeline.metrics import RequestMetrics
    from apilayer.registry.registry import Registry
    from apilayer.storage.measured import MeasuredStore

_INFINITY = "+Inf"


class Metrics:
    """Everything there is to read; `text` is the body of /metrics."""

    def __init__(
        self,
        requests: RequestMetrics,
        flow_control: FlowControl,
        registry: Registry,
        store: MeasuredStore | None,
        audit: AuditCounts | None = None,
        authorizer: Authorizer | None = None,
        authentication: AuthenticationCounts | None = None,
    ) -> None:
        self.requests = requests
        self.flow_control = flow_control
        self._registry = registry
        self._store = store
        self._audit = audit
        self._authorizer = authorizer
        self._authentication = authentication
        self._collector: Any = None

    def prepare(self) -> None:
        """Imports the library, which takes a while the first time: to be called off the loop."""
        import prometheus_client as prometheus

        if self._collector is None:
            collector = prometheus.CollectorRegistry()
            prometheus.ProcessCollector(registry=collector)
            collector.register(self)
            self._collector = collector

    def text(self) -> tuple[bytes, bytes]:
        """The body in Prometheus' text format, and its Content-Type; on the loop, whose objects are read."""
        import prometheus_client as prometheus

        return prometheus.generate_latest(self._collector), prometheus.CONTENT_TYPE_LATEST.encode()

    def describe(self) -> list[Any]:
        """Nothing in advance: the library would collect once to find out."""
        return []

    def collect(self) -> Iterator[Any]:
        """Every metric family, as the library asks for them."""
        yield from request_families(self.requests, self.flow_control.running)
        yield from watch_families(self.requests, self._registry)
        yield from self._of_storage()
        yield from admission_families(self._registry.admission)
        if isinstance(self.flow_control, Fairness):
            yield from families(self.flow_control)
        if self._audit is not None:
            yield from audit_families(self._audit)
        if self._authentication is not None:
            yield from authentication_families(self._authentication)
        if self._authorizer is not None:
            yield from authorization_families(self._authorizer, self.requests.authorizations)
        yield self._build()

    def _of_storage(self) -> Iterator[Any]:
        from prometheus_client import core

        objects = core.GaugeMetricFamily(
            "apiserver_storage_objects",
            "Number of stored objects at the time of last check split by kind.",
            labels=("resource",),
        )
        newer = core.GaugeMetricFamily(
            "apiserver_resource_objects",
            "Number of stored objects at the time of last check split by kind.",
            labels=("group", "resource"),
        )
        for api in self._registry.all:
            row = api.resource
            count = len(self._registry.cache.of(row))
            objects.add_metric((row.group_resource,), count)
            newer.add_metric((row.group, row.plural), count)
        yield objects
        yield newer
        if self._store is None:
            return
        durations = core.HistogramMetricFamily(
            "etcd_request_duration_seconds",
            "Etcd request latency in seconds for each operation and object type.",
            labels=("operation", "group", "resource"),
        )
        total = core.CounterMetricFamily(
            "etcd_requests_total",
            "Etcd request counts for each operation and object type.",
            labels=("operation", "group", "resource"),
        )
        for (operation, prefix), timing in list(self._store.timings.items()):
            group, resource = _resource_at(prefix)
            durations.add_metric((operation, group, resource), _cumulative(timing), timing[1])
            total.add_metric((operation, group, resource), timing[0])
        yield durations
        yield total
        errors = core.CounterMetricFamily(
            "etcd_request_errors_total",
            "Etcd failed request counts for each operation and object type.",
            labels=("operation", "group", "resource"),
        )
        for (operation, prefix), count in self._store.errors.items():
            errors.add_metric((operation, *_resource_at(prefix)), count)
        yield errors
        if self._store.sealing is not None:
            yield from sealing_families(self._store.sealing)

    @staticmethod
    def _build() -> Any:
        from prometheus_client import core

        names = ("major", "minor", "gitVersion", "platform")
        build = core.GaugeMetricFamily(
            "kubernetes_build_info",
            "A metric with a constant '1' value labeled by major, minor, git version and platform.",
            labels=("major", "minor", "git_version", "platform"),
        )
        build.add_metric([VERSION[name] for name in names], 1)
        return build


def _cumulative(timing: list[float]) -> list[tuple[str, float]]:
    found, seen = [], 0.0
    for bound, count in zip(STORE_BUCKETS, timing[2:], strict=True):
        seen += count
        found.append((bound_text(bound), seen))
    return [*found, (_INFINITY, timing[0])]


_BY_PREFIX = {row.key_prefix: row for row in RESOURCES if row.stored_as is None and not row.virtual}


def _resource_at(prefix: bytes) -> tuple[str, str]:
    """Group and resource of a key prefix, both "" when it is that of none."""
    text = prefix.decode(errors="replace")
    row = _BY_PREFIX.get(text)
    return (row.group, row.plural) if row is not None else ("", text.removeprefix("/registry").strip("/"))
