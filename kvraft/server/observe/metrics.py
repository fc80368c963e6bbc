"""``/metrics``: a member's numbers as Prometheus reads them, under etcd's names where they mean the same.

Existing dashboards and alerts for etcd work on them. What has no counterpart in etcd is called ``kvraft_…``.
"""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from kvraft.raft.messages import NO_NODE, Role
from kvraft.server.observe import labelled
from kvraft.server.observe.calls import calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvraft.server.member import Member
    from kvraft.server.observe.counters import Histogram

    Number = Callable[[Member], float]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""As etcd's: every scraper takes it, and no name here needs a later version."""

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
        "etcd_mvcc_db_open_read_transactions",
        "The number of currently open read transactions",
        lambda member: member.machine.readers,
    ),
    (
        "etcd_debugging_auth_revision",
        "The current revision of auth store.",
        lambda member: member.machine.auth.revision,
    ),
    (
        "etcd_debugging_mvcc_db_compaction_last",
        "The unix time of the last db compaction. Resets to 0 on start.",
        lambda member: member.counters.last_compaction,
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
        "process_virtual_memory_max_bytes",
        "Maximum amount of virtual memory available in bytes.",
        lambda member: resource.getrlimit(resource.RLIMIT_AS)[0] % (1 << 64),
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
        lambda member: member.driver.proposed.failed,
    ),
    (
        "etcd_server_read_indexes_failed_total",
        "The total number of failed read indexes seen.",
        lambda member: member.driver.reads.failed,
    ),
    (
        "etcd_server_slow_read_indexes_total",
        "The total number of pending read indexes not in sync with leader's or timed out read index requests.",
        lambda member: member.driver.reads.slow,
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
        "etcd_debugging_mvcc_db_compaction_keys_total",
        "Total number of db keys compacted.",
        lambda member: member.machine.statistics()["compacted"],
    ),
    (
        "etcd_debugging_lease_granted_total",
        "The total number of granted leases.",
        lambda member: member.service.leases.counts.ttl_seconds.total,
    ),
    (
        "etcd_debugging_lease_revoked_total",
        "The total number of revoked leases.",
        lambda member: member.service.leases.counts.revocations,
    ),
    (
        "etcd_debugging_lease_renewed_total",
        "The number of renewed leases seen by the leader.",
        lambda member: member.service.leases.renewals,
    ),
    (
        "etcd_debugging_server_lease_expired_total",
        "The total number of expired leases.",
        lambda member: member.service.leases.lessor.expired,
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
        "kvraft_native_requests_total",
        "Requests of clients over the native protocol.",
        lambda member: member.counters.native_requests,
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
    (
        "etcd_disk_backend_snapshot_duration_seconds",
        "The latency distribution of backend snapshots.",
        lambda member: member.counters.snapshot_seconds,
    ),
    (
        "etcd_disk_backend_defrag_duration_seconds",
        "The latency distribution of backend defragmentation.",
        lambda member: member.counters.defragment_seconds,
    ),
    (
        "etcd_mvcc_hash_duration_seconds",
        "The latency distribution of storage hash operation.",
        lambda member: member.counters.hash_seconds,
    ),
    (
        "etcd_mvcc_hash_rev_duration_seconds",
        "The latency distribution of storage hash by revision operation.",
        lambda member: member.counters.hash_kv_seconds,
    ),
    (
        "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
        "Bucketed histogram of db compaction total duration.",
        lambda member: member.counters.compaction_milliseconds,
    ),
    (
        "etcd_debugging_lease_ttl_total",
        "Bucketed histogram of lease TTLs.",
        lambda member: member.service.leases.counts.ttl_seconds,
    ),
)


OLDER = {
    "etcd_mvcc_db_total_size_in_bytes": "etcd_debugging_mvcc_db_total_size_in_bytes",
    "etcd_mvcc_put_total": "etcd_debugging_mvcc_put_total",
    "etcd_mvcc_delete_total": "etcd_debugging_mvcc_delete_total",
    "etcd_mvcc_range_total": "etcd_debugging_mvcc_range_total",
    "etcd_mvcc_txn_total": "etcd_debugging_mvcc_txn_total",
}
"""Names that etcd gave up, and older dashboards still ask for."""


class _Collector:
    def __init__(self, member: Member) -> None:
        self._member = member

    def collect(self) -> Iterator[Metric]:
        member = self._member
        for kind, rows in ((GaugeMetricFamily, GAUGES), (CounterMetricFamily, COUNTERS)):
            for name, text, number in rows:
                value = float(number(member))
                yield kind(name, text, value=value)
                if name in OLDER:
                    yield kind(OLDER[name], text, value=value)
        for name, text, histogram in HISTOGRAMS:
            found = histogram(member)
            yield HistogramMetricFamily(name, text, buckets=found.buckets(), sum_value=found.sum)
        yield _applies(member)
        yield from labelled.identity(member)
        yield from labelled.health(member)
        yield from labelled.alarms(member)
        yield from labelled.learners(member)
        yield from labelled.peers(member)
        yield from labelled.snapshots(member)
        yield from calls(member)


def _applies(member: Member) -> Metric:
    found = member.counters.apply_seconds
    family = HistogramMetricFamily(
        "etcd_server_apply_duration_seconds",
        "The latency distributions of v2 apply called by backend.",
        labels=["version", "op", "success"],
    )
    family.add_metric(["v3", "Batch", "true"], buckets=found.buckets(), sum_value=found.sum)
    return family


def exposition(member: Member) -> bytes:
    """The text of all of them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(member))
    ProcessCollector(registry=registry)
    return generate_latest(registry)
