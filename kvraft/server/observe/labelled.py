"""Metrics of which there are several, told apart by labels: one for each peer, alarm, check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    UnknownMetricFamily,
)

from kvraft.types import AlarmType
from kvraft.version import ETCD_VERSION, VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvraft.server.member import Member

# etcd's names of some counters do not end as counters' do: they are of no type here


def identity(member: Member) -> Iterator[Metric]:
    """Who this is, and of which version."""
    for name, text, label, value in (
        (
            "etcd_server_version",
            "Which version is running. 1 for 'server_version' label with current version.",
            "server_version",
            ETCD_VERSION,
        ),
        (
            "etcd_server_id",
            "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
            "server_id",
            f"{member.member_id:x}",
        ),
        (
            "etcd_cluster_version",
            "Which version is running. 1 for 'cluster_version' label with current cluster version",
            "cluster_version",
            ETCD_VERSION.rpartition(".")[0],
        ),
        ("kvraft_version", "Which version of kvraft is running.", "version", VERSION),
    ):
        family = GaugeMetricFamily(name, text, labels=[label])
        family.add_metric([value], 1)
        yield family


def health(member: Member) -> Iterator[Metric]:
    """Checks that have been asked for."""
    counters = member.counters
    yield UnknownMetricFamily(
        "etcd_server_health_success", "The total number of successful health checks", counters.health_successes
    )
    yield UnknownMetricFamily(
        "etcd_server_health_failures", "The total number of failed health checks", counters.health_failures
    )
    total = CounterMetricFamily(
        "etcd_server_healthchecks_total",
        "The total number of each kind of healthcheck.",
        labels=["type", "name", "status"],
    )
    for labels, count in sorted(counters.health_checks.items()):
        total.add_metric(labels, count)
    yield total


def peers(member: Member) -> Iterator[Metric]:
    """The way to each other member, and back."""
    sent = CounterMetricFamily(
        "etcd_network_peer_sent_bytes_total", "The total number of bytes sent to peers.", labels=["To"]
    )
    received = CounterMetricFamily(
        "etcd_network_peer_received_bytes_total", "The total number of bytes received from peers.", labels=["From"]
    )
    lost = CounterMetricFamily(
        "etcd_network_peer_sent_failures_total", "The total number of send failures from peers.", labels=["To"]
    )
    unreceived = CounterMetricFamily(
        "etcd_network_peer_received_failures_total", "The total number of receive failures from peers.", labels=["From"]
    )
    gone = CounterMetricFamily(
        "etcd_network_disconnected_peers_total", "The total number of disconnected peers.", labels=["Local", "Remote"]
    )
    active = GaugeMetricFamily(
        "etcd_network_active_peers", "The current number of active peer connections.", labels=["Local", "Remote"]
    )
    known = GaugeMetricFamily(
        "etcd_network_known_peers", "The current number of known peers.", labels=["Local", "Remote"]
    )
    trips = HistogramMetricFamily(
        "etcd_network_peer_round_trip_time_seconds", "Round-Trip-Time histogram between peers", labels=["To"]
    )
    for peer_id, link in sorted(member.peers.links.items()):
        name = f"{peer_id:x}"
        sent.add_metric([name], link.sent_bytes)
        received.add_metric([name], link.received_bytes)
        lost.add_metric([name], link.lost_messages)
        unreceived.add_metric([name], link.receive_failures)
        both = [f"{member.member_id:x}", name]
        gone.add_metric(both, link.disconnections)
        active.add_metric(both, link.channel is not None)
        known.add_metric(both, 1)
    for peer_id, found in sorted(member.counters.peer_round_trip_seconds.items()):
        trips.add_metric([f"{peer_id:x}"], buckets=found.buckets(), sum_value=found.sum)
    yield from (sent, received, lost, unreceived, gone, active, known, trips)


def alarms(member: Member) -> Iterator[Metric]:
    """Those that are raised, on any member."""
    raised = GaugeMetricFamily(
        "etcd_debugging_server_alarms",
        "Alarms for every member in cluster. 1 for 'server_id' label with current ID. 2 for 'alarm_type' label with "
        "type of this alarm",
        labels=["server_id", "alarm_type"],
    )
    for alarm in member.machine.alarms.active():
        raised.add_metric([f"{alarm.member_id:x}", AlarmType(alarm.alarm).name], 1)
    yield raised


def learners(member: Member) -> Iterator[Metric]:
    """Their promotions while this member led."""
    yield UnknownMetricFamily(
        "etcd_server_learner_promote_successes",
        "The total number of successful learner promotions while this member is leader.",
        member.counters.learners_promoted,
    )
    failures = UnknownMetricFamily(
        "etcd_server_learner_promote_failures",
        "The total number of failed learner promotions (likely learner not ready) while this member is leader.",
        labels=["Reason"],
    )
    for reason, count in sorted(member.counters.learners_not_promoted.items()):
        failures.add_metric([reason], count)
    yield failures


def snapshots(member: Member) -> Iterator[Metric]:
    """Of the whole state, to other members and from them. A stream that broke and goes on counts as one sent."""
    for direction, label in (("send", "To"), ("receive", "From")):
        successes = UnknownMetricFamily(
            f"etcd_network_snapshot_{direction}_success",
            f"Total number of successful snapshot {direction}s",
            labels=[label],
        )
        failures = UnknownMetricFamily(
            f"etcd_network_snapshot_{direction}_failures",
            f"Total number of snapshot {direction} failures",
            labels=[label],
        )
        under_way = GaugeMetricFamily(
            f"etcd_network_snapshot_{direction}_inflights_total",
            f"Total number of inflight snapshot {direction}s",
            labels=[label],
        )
        seconds = HistogramMetricFamily(
            f"etcd_network_snapshot_{direction}_total_duration_seconds",
            f"Total latency distributions of v3 snapshot {direction}s",
            labels=[label],
        )
        for peer_id, link in sorted(member.peers.links.items()):
            name, transfers = [f"{peer_id:x}"], link.sending if direction == "send" else link.receiving
            successes.add_metric(name, transfers.successes)
            failures.add_metric(name, transfers.failures)
            under_way.add_metric(name, transfers.under_way)
            seconds.add_metric(name, buckets=transfers.seconds.buckets(), sum_value=transfers.seconds.sum)
        yield from (successes, failures, under_way, seconds)
