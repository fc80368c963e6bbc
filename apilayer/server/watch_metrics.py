"""Watches and the watch cache in /metrics, under kube-apiserver's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apilayer.pipeline.metrics import RequestMetrics
    from apilayer.registry.registry import Registry

_KIND = ("group", "version", "kind")
_RESOURCE = ("group", "resource")
_SHOWN_DIGITS = 10**15
"""What a float holds exactly: kube-apiserver cuts resource versions to so many digits, too."""


def watch_families(requests: RequestMetrics, registry: Registry) -> Iterator[Any]:
    """Every metric family of watches and of the cache behind them."""
    yield from _of_watches(requests, registry)
    yield from _of_cache(registry)


def _of_watches(requests: RequestMetrics, registry: Registry) -> Iterator[Any]:
    from prometheus_client import core

    events = core.CounterMetricFamily(
        "apiserver_watch_events_total", "Number of events sent in watch clients", labels=_KIND
    )
    for labels, sent in list(requests.watch_events.items()):
        if sent.value:
            events.add_metric(labels, sent.value)
    yield events
    watchers = core.GaugeMetricFamily(
        "apiserver_registered_watchers", "Number of currently registered watchers for a given resources", labels=_KIND
    )
    for api in registry.all:
        row = api.resource
        count = sum(1 for _ in registry.cache.of(row).watchers())
        watchers.add_metric((row.group, row.version, row.kind), count)
    yield watchers
    listed = core.HistogramMetricFamily(
        "apiserver_watch_list_duration_seconds",
        "Response latency distribution in seconds for watch list requests broken by group, version, resource and"
        " scope.",
        labels=("group", "version", "resource", "scope"),
    )
    for place, histogram in list(requests.listed.items()):
        listed.add_metric(place, histogram.cumulative(), histogram.total)
    yield listed


def _of_cache(registry: Registry) -> Iterator[Any]:
    from prometheus_client import core

    received = core.CounterMetricFamily(
        "apiserver_watch_cache_events_received_total",
        "Counter of events received in watch cache broken by resource type.",
        labels=_RESOURCE,
    )
    loaded = core.CounterMetricFamily(
        "apiserver_watch_cache_initializations_total",
        "Counter of watch cache initializations broken by resource type.",
        labels=_RESOURCE,
    )
    version = core.GaugeMetricFamily(
        "apiserver_watch_cache_resource_version",
        "Current resource version of watch cache broken by resource type. This is truncated to the 15 least"
        " significant digits.",
        labels=_RESOURCE,
    )
    ended = core.CounterMetricFamily(
        "apiserver_terminated_watchers_total",
        "Counter of watchers closed due to unresponsiveness broken by resource type.",
        labels=_RESOURCE,
    )
    lists = core.CounterMetricFamily(
        "apiserver_cache_list_total",
        "Number of LIST requests served from watch cache",
        labels=(*_RESOURCE, "index"),
    )
    looked_at = core.CounterMetricFamily(
        "apiserver_cache_list_fetched_objects_total",
        "Number of objects read from watch cache in the course of serving a LIST request",
        labels=(*_RESOURCE, "index"),
    )
    returned = core.CounterMetricFamily(
        "apiserver_cache_list_returned_objects_total",
        "Number of objects returned for a LIST request from watch cache",
        labels=_RESOURCE,
    )
    for api in registry.all:
        of, cache, counts = (api.resource.group, api.resource.plural), registry.cache.of(api.resource), api.lists.counts
        received.add_metric(of, cache.received)
        loaded.add_metric(of, cache.loads)
        version.add_metric(of, registry.cache.revision % _SHOWN_DIGITS)
        ended.add_metric(of, cache.unresponsive)
        lists.add_metric((*of, ""), counts.lists)
        looked_at.add_metric((*of, ""), counts.looked_at)
        returned.add_metric(of, counts.returned)
    yield from (received, loaded, version, ended, lists, looked_at, returned)
