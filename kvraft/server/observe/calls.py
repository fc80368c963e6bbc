"""What clients ask over gRPC, or through the JSON gateway, which counts as a client of gRPC as etcd's does."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvraft.server.etcd.services import Method
    from kvraft.server.member import Member

UNARY = "unary"
LABELS = ["grpc_type", "grpc_service", "grpc_method"]
WATCH = "/etcdserverpb.Watch/Watch"
STREAMS = {WATCH: "watch", "/etcdserverpb.Lease/LeaseKeepAlive": "lease-keepalive"}
"""Those whose failures etcd counts, by what it calls them there."""


def calls(member: Member) -> Iterator[Metric]:
    """Of every method, once somebody has asked: before that there is none."""
    methods = member.etcd.methods if "etcd" in vars(member) else {}
    yield from _by_method(methods)
    if member.config.metrics == "extensive":
        yield _seconds(methods)
    yield from _by_version(methods)
    yield from _streams(methods)


def _by_method(methods: Mapping[str, Method]) -> Iterator[Metric]:
    started, received, sent = (
        CounterMetricFamily(f"grpc_server_{name}_total", f"Total number of {text} on the server.", labels=LABELS)
        for name, text in (
            ("started", "RPCs started"),
            ("msg_received", "RPC stream messages received"),
            ("msg_sent", "gRPC stream messages sent"),
        )
    )
    handled = CounterMetricFamily(
        "grpc_server_handled_total",
        "Total number of RPCs completed on the server, regardless of success or failure.",
        labels=[*LABELS, "grpc_code"],
    )
    for path, method in sorted(methods.items()):
        names = [method.kind, *path[1:].split("/")]
        started.add_metric(names, sum(method.started.values()))
        received.add_metric(names, method.received)
        sent.add_metric(names, method.succeeded if method.kind == UNARY else method.sent)
        for code, count in sorted({"OK": method.succeeded, **method.failed}.items()):
            handled.add_metric([*names, code], count)
    yield from (started, handled, received, sent)


def _seconds(methods: Mapping[str, Method]) -> Metric:
    family = HistogramMetricFamily(
        "grpc_server_handling_seconds",
        "Histogram of response latency (seconds) of gRPC that had been application-level handled by the server.",
        labels=LABELS,
    )
    for path, method in sorted(methods.items()):
        if method.seconds is not None:
            family.add_metric(
                [method.kind, *path[1:].split("/")], buckets=method.seconds.buckets(), sum_value=method.seconds.sum
            )
    return family


def _by_version(methods: Mapping[str, Method]) -> Iterator[Metric]:
    found: Counter[tuple[str, str]] = Counter()
    for method in methods.values():
        for version, count in method.started.items():
            if version is not None:  # etcd refuses it before it counts
                found[UNARY if method.kind == UNARY else "stream", version] += count
    requests = CounterMetricFamily(
        "etcd_server_client_requests_total",
        "The total number of client requests per client version.",
        labels=["type", "client_api_version"],
    )
    for labels, count in sorted(found.items()):
        requests.add_metric(labels, count)
    yield requests


def _streams(methods: Mapping[str, Method]) -> Iterator[Metric]:
    watch = methods.get(WATCH)
    open_streams = 0 if watch is None else sum(watch.started.values()) - watch.succeeded - watch.failed.total()
    yield GaugeMetricFamily(
        "etcd_debugging_mvcc_watch_stream_total", "Total number of watch streams.", value=open_streams
    )
    failures = CounterMetricFamily(
        "etcd_network_server_stream_failures_total",
        "The total number of stream failures from the local server.",
        labels=["Type", "API"],
    )
    for path, name in STREAMS.items():
        if path in methods:
            failures.add_metric(["receive", name], methods[path].misread)
    yield failures
