"""``/metrics``: a member's numbers as Prometheus reads them, under etcd's names where they mean the same.

Existing dashboards and alerts for etcd work on them. What has no counterpart in etcd is called ``kvraft_…``.
"""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    UnknownMetricFamily,
)

from kvraft.raft.messages import NO_NODE, Role
from kvraft.version import ETCD_VERSION, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvraft.server.member import Member
    from kvraft.server.observe.counters import Histogram

    Number = Callable[[Member], float]

CONTENT_TYPE = CONTENT_TYPE_LATEST

GAUGES: tuple[tuple[str, str, Number], ...] = (
    (
        "etcd_server_has_leader",
        "Whether or not a leader exists. 1 is existence, 0 is not.",
        lambda member: member.driver.raft.leader != NO_NODE,
    ),
    (
        "etcd_server_is_leader",
        "Whether or not this member is a leader. 1 if is, 0 otherwise.",
        lambda member: member.driver.raft.role is Role.LEADER,
    ),
    (
        "etcd_server_is_learner",
        "Whether or not this member is a learner. 1 if is, 0 otherwise.",
        lambda member: member.status().is_learner,
    ),
    (
        "etcd_server_proposals_committed_total",
        "The total number of consensus proposals committed.",
        lambda member: member.driver.raft.status().commit_index,
    ),
    (
        "etcd_server_proposals_applied_total",
        "The total number of consensus proposals applied.",
        lambda member: member.machine.applied_index,
    ),
    (
        "etcd_server_proposals_pending",
        "The current number of pending proposals to commit.",
        lambda member: member.driver.pending,
    ),
    (
        "etcd_server_quota_backend_bytes",
        "Current backend storage quota size in bytes.",
        lambda member: member.config.quota_backend_bytes,
    ),
    (
        "etcd_server_snapshot_apply_in_progress_total",
        "1 if the server is applying the incoming snapshot. 0 if none.",
        lambda member: member.peers.receiving_snapshot,
    ),
    (
        "etcd_mvcc_db_total_size_in_bytes",
        "Total size of the underlying database physically allocated in bytes.",
        lambda member: member.machine.db_size,
    ),
    (
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "Total size of the underlying database logically in use in bytes.",
        lambda member: member.machine.db_size_in_use,
    ),
    (
        "etcd_disk_defrag_inflight",
        "Whether or not defrag is active on the member. 1 means active, 0 means not.",
        lambda member: member.service.maintenance.defragmenter.under_way,
    ),
    (
        "etcd_debugging_mvcc_keys_total",
        "Total number of keys.",
        lambda member: member.machine.statistics()["keys"],
    ),
    (
        "etcd_debugging_mvcc_current_revision",
        "The current revision of store.",
        lambda member: member.machine.revision,
    ),
    (
        "etcd_debugging_mvcc_compact_revision",
        "The revision of the last compaction in store.",
        lambda member: member.machine.compacted_revision,
    ),
    (
        "etcd_debugging_mvcc_total_put_size_in_bytes",
        "The total size of put kv pairs seen by this member.",
        lambda member: member.machine.statistics()["put_bytes"],
    ),
    (
        "etcd_debugging_mvcc_watcher_total",
        "Total number of watchers.",
        lambda member: sum(member.machine.watch.statistics().values()),
    ),
    (
        "etcd_debugging_mvcc_slow_watcher_total",
        "Total number of unsynced slow watchers.",
        lambda member: sum(member.machine.watch.statistics()[state] for state in ("lagging", "blocked")),
    ),
    (
        "etcd_debugging_mvcc_pending_events_total",
        "Total number of pending events to be sent: revisions that slow watchers have yet to see.",
        lambda member: member.machine.watch.revisions_behind(),
    ),
    ("os_fd_used", "The number of used file descriptors.", lambda member: len(os.listdir("/proc/self/fd"))),
    (
        "os_fd_limit",
        "The file descriptor limit.",
        lambda member: resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    ),
    (
        "kvraft_client_connections",
        "Connections of clients that are open.",
        lambda member: member.counters.client_connections,
    ),
    (
        "kvraft_log_size_bytes",
        "Size of the log's file.",
        lambda member: member.log_store.size_bytes(),
    ),
    (
        "kvraft_log_pending_seconds",
        "For how long the oldest entry has been waiting to become durable.",
        lambda member: member.writer.oldest_pending_seconds(),
    ),
    ("kvraft_raft_term", "The current term.", lambda member: member.driver.raft.term),
)

COUNTERS: tuple[tuple[str, str, Number], ...] = (
    (
        "etcd_server_leader_changes_seen_total",
        "The number of leader changes seen.",
        lambda member: member.counters.leader_changes,
    ),
    (
        "etcd_server_proposals_failed_total",
        "The total number of failed proposals seen.",
        lambda member: member.driver.failed_proposals,
    ),
    (
        "etcd_server_read_indexes_failed_total",
        "The total number of failed read indexes seen.",
        lambda member: member.driver.reads.failed,
    ),
    (
        "etcd_server_slow_apply_total",
        "The total number of slow apply requests (likely overloaded from slow disk).",
        lambda member: member.counters.slow_applies,
    ),
    (
        "etcd_server_heartbeat_send_failures_total",
        "The total number of leader heartbeat send failures (likely overloaded from slow disk).",
        lambda member: member.counters.late_ticks,
    ),
    (
        "etcd_mvcc_put_total",
        "Total number of puts seen by this member.",
        lambda member: member.machine.statistics()["put"],
    ),
    (
        "etcd_mvcc_delete_total",
        "Total number of deletes seen by this member.",
        lambda member: member.machine.statistics()["delete"],
    ),
    (
        "etcd_mvcc_range_total",
        "Total number of ranges seen by this member.",
        lambda member: member.machine.statistics()["range"],
    ),
    (
        "etcd_mvcc_txn_total",
        "Total number of txns seen by this member.",
        lambda member: member.machine.statistics()["txn"],
    ),
    (
        "etcd_debugging_mvcc_events_total",
        "Total number of events sent by this member.",
        lambda member: member.machine.watch.events,
    ),
    (
        "etcd_network_client_grpc_received_bytes_total",
        "The total number of bytes received from clients.",
        lambda member: member.counters.client_received_bytes,
    ),
    (
        "etcd_network_client_grpc_sent_bytes_total",
        "The total number of bytes sent to clients.",
        lambda member: member.counters.client_sent_bytes,
    ),
    (
        "kvraft_disk_slow_syncs_total",
        "Synced writes of the log that took longer than a second.",
        lambda member: member.counters.slow_syncs,
    ),
    (
        "kvraft_client_connections_delayed_total",
        "How often new connections had to wait because there were as many as there may be.",
        lambda member: member.counters.client_waits,
    ),
)

HISTOGRAMS: tuple[tuple[str, str, Callable[[Member], Histogram]], ...] = (
    (
        "etcd_disk_wal_fsync_duration_seconds",
        "The latency distributions of fsync called by WAL.",
        lambda member: member.counters.wal_fsync_seconds,
    ),
    (
        "etcd_disk_backend_commit_duration_seconds",
        "The latency distributions of commit called by backend.",
        lambda member: member.counters.backend_commit_seconds,
    ),
)


class _Collector:
    def __init__(self, member: Member) -> None:
        self._member = member

    def collect(self) -> Iterator[Metric]:
        member = self._member
        for name, text, number in GAUGES:
            yield GaugeMetricFamily(name, text, value=float(number(member)))
        for name, text, number in COUNTERS:
            yield CounterMetricFamily(name, text, value=number(member))
        for name, text, histogram in HISTOGRAMS:
            found = histogram(member)
            yield HistogramMetricFamily(name, text, buckets=found.buckets(), sum_value=found.sum)
        yield from _identity(member)
        yield from _health(member)
        yield from _peers(member)
        yield from _grpc(member)


def _identity(member: Member) -> Iterator[Metric]:
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


def _health(member: Member) -> Iterator[Metric]:
    counters = member.counters
    # etcd's names of these two do not end as counters' do
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


def _peers(member: Member) -> Iterator[Metric]:
    sent = CounterMetricFamily(
        "etcd_network_peer_sent_bytes_total", "The total number of bytes sent to peers.", labels=["To"]
    )
    received = CounterMetricFamily(
        "etcd_network_peer_received_bytes_total", "The total number of bytes received from peers.", labels=["From"]
    )
    lost = CounterMetricFamily(
        "etcd_network_peer_sent_failures_total", "The total number of send failures from peers.", labels=["To"]
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
        active.add_metric([f"{member.member_id:x}", name], link.channel is not None)
        known.add_metric([f"{member.member_id:x}", name], 1)
    for peer_id, found in sorted(member.counters.peer_round_trip_seconds.items()):
        trips.add_metric([f"{peer_id:x}"], buckets=found.buckets(), sum_value=found.sum)
    yield from (sent, received, lost, active, known, trips)


def _grpc(member: Member) -> Iterator[Metric]:
    labels = ["grpc_type", "grpc_service", "grpc_method"]
    started = CounterMetricFamily(
        "grpc_server_started_total", "Total number of RPCs started on the server.", labels=labels
    )
    handled = CounterMetricFamily(
        "grpc_server_handled_total",
        "Total number of RPCs completed on the server, regardless of success or failure.",
        labels=[*labels, "grpc_code"],
    )
    methods = member.etcd.methods if "etcd" in vars(member) else {}  # it is only there once somebody has asked
    for path, method in sorted(methods.items()):
        names = [method.kind, *path[1:].split("/")]
        started.add_metric(names, method.started)
        for code, count in sorted({"OK": method.succeeded, **method.failed}.items()):
            handled.add_metric([*names, code], count)
    yield from (started, handled)


def exposition(member: Member) -> bytes:
    """The text of all of them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(member))
    ProcessCollector(registry=registry)
    return generate_latest(registry)
