"""What etcd's dashboards ask for beside the basics: each number follows what really happens, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kvraft.channel import Closed
from kvraft.client import open_client
from kvraft.embed import open_member
from kvraft.errors import KvraftError, LearnerNotReady, LeaseNotFound
from kvraft.server.etcd import services
from kvraft.server.observe.counters import Transfers
from kvraft.server.observe.metrics import exposition
from kvraft.server.pending_reads import PendingReads
from kvraft.types import AlarmType
from tests.kvraft.members import open_members, until
from tests.kvraft.server.etcd.stubs import Stubs, in_thread, refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from prometheus_client.samples import Sample

    from kvraft.client import Client
    from kvraft.server.member import Member

PUT = {"grpc_type": "unary", "grpc_service": "etcdserverpb.KV", "grpc_method": "Put"}
WATCH = {"grpc_type": "bidi_stream", "grpc_service": "etcdserverpb.Watch", "grpc_method": "Watch"}


def scrape(member: Member) -> list[Sample]:
    """Every sample there is."""
    families = text_string_to_metric_families(exposition(member).decode())
    return [sample for family in families for sample in family.samples]


def count(source: Member | list[Sample], name: str, **labels: str) -> float:
    """The sample of that name and those labels, others summed up; 0 when there is none."""
    samples = source if isinstance(source, list) else scrape(source)
    return sum(sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items())


@pytest.fixture
async def member(tmp_path: Path) -> AsyncIterator[Member]:
    async with open_member(tmp_path / "data", metrics="extensive", warning_unary_seconds=0.0) as member:
        yield member


@pytest.fixture
async def client(member: Member) -> AsyncIterator[Client]:
    async with open_client(member.client_urls) as client:
        yield client


async def test_maintenance(member: Member, client: Client) -> None:
    (url,) = member.client_urls
    for number in range(5):
        await client.put(b"k", b"%d" % number)
    await client.compact(5, physical=True)
    await until(lambda: count(member, "etcd_debugging_mvcc_db_compaction_last") > 0)
    await client.defragment(url)
    await client.hash(url)
    for _ in range(2):
        await client.hash_kv(url)  # the second time it is remembered
    async with client.snapshot(url) as pieces:
        async for _ in pieces:
            assert count(member, "etcd_mvcc_db_open_read_transactions") == 1
    await client.raise_alarm(0x77, AlarmType.NOSPACE)  # this member would clear its own
    now = scrape(member)
    assert count(now, "etcd_debugging_mvcc_db_compaction_keys_total") == 3
    assert count(now, "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_count") == 1
    assert count(now, "etcd_disk_backend_defrag_duration_seconds_count") == 1
    assert count(now, "etcd_mvcc_hash_duration_seconds_count") == 1
    assert count(now, "etcd_mvcc_hash_rev_duration_seconds_count") == 1
    assert count(now, "etcd_disk_backend_snapshot_duration_seconds_count") == 1
    assert count(now, "etcd_mvcc_db_open_read_transactions") == 0
    assert count(now, "etcd_server_apply_duration_seconds_count", version="v3", op="Batch", success="true") > 6
    identity = {"server_id": "77", "alarm_type": "NOSPACE"}
    assert count(now, "etcd_debugging_server_alarms", **identity) == 1
    await client.disarm()
    assert count(member, "etcd_debugging_server_alarms") == 0
    before = count(member, "kvraft_native_requests_total")
    await client.range(b"k")
    assert count(member, "kvraft_native_requests_total") == before + 1


async def test_leases(member: Member, client: Client) -> None:
    kept, short = (await client.lease_grant(100)).lease_id, (await client.lease_grant(2)).lease_id
    await client.lease_keep_alive_once(kept)
    with pytest.raises(LeaseNotFound):
        await client.lease_keep_alive_once(12345)
    now = scrape(member)
    assert count(now, "etcd_debugging_lease_granted_total") == 2
    assert count(now, "etcd_debugging_lease_ttl_total_bucket", le="2") == 1
    assert count(now, "etcd_debugging_lease_ttl_total_sum") == 102
    assert count(now, "etcd_debugging_lease_renewed_total") == 1
    timer = member.service.leases.lessor._timers[short]
    timer.expiry = 0.0  # its time is over
    member.service.leases.lessor._place(short, timer)
    await until(lambda: count(member, "etcd_debugging_server_lease_expired_total") == 1)
    await client.lease_revoke(kept)
    assert count(member, "etcd_debugging_lease_revoked_total") == 2
    assert count(member, "etcd_debugging_server_lease_expired_total") == 1


async def test_calls(member: Member, caplog: pytest.LogCaptureFixture) -> None:
    (url,) = member.client_urls

    def converse(stubs: Stubs) -> None:
        stubs.call("etcdserverpb.KV/Put", key=b"k", metadata=[("client-api-version", "3.5")])
        stubs.call("etcdserverpb.KV/Put", key=b"k")
        with refused("INVALID_ARGUMENT", "etcdserver: key is not provided"):
            stubs.call("etcdserverpb.KV/Put")
        watch = stubs.open("etcdserverpb.Watch/Watch")
        watch.ask(create_request={"key": b"k"})
        watch.ask(create_request={"key": b"k"})
        stubs.call("etcdserverpb.KV/Put", key=b"k")
        for _ in range(2):
            watch.receive()
        assert count(member, "etcd_debugging_mvcc_watch_stream_total") == 1
        watch.cancel()

    await in_thread(url, converse)
    await until(lambda: count(member, "etcd_debugging_mvcc_watch_stream_total") == 0)
    now = scrape(member)
    assert count(now, "grpc_server_started_total", **PUT) == 4
    assert count(now, "grpc_server_handled_total", **PUT, grpc_code="OK") == 3
    assert count(now, "grpc_server_handled_total", **PUT, grpc_code="InvalidArgument") == 1
    assert count(now, "grpc_server_msg_received_total", **PUT) == 4
    assert count(now, "grpc_server_msg_sent_total", **PUT) == 3
    assert count(now, "grpc_server_handling_seconds_count", **PUT) == 4
    assert count(now, "grpc_server_msg_received_total", **WATCH) == 2
    assert count(now, "grpc_server_msg_sent_total", **WATCH) == 4
    assert count(now, "grpc_server_handled_total", **WATCH, grpc_code="Canceled") == 1
    assert count(now, "etcd_server_client_requests_total", type="unary", client_api_version="3.5") == 1
    assert count(now, "etcd_server_client_requests_total", type="unary", client_api_version="unknown") == 3
    assert count(now, "etcd_server_client_requests_total", type="stream") == 1
    (slow, *_) = [record for record in caplog.records if record.getMessage() == "request stats"]
    assert slow.fields["response type"] == "/etcdserverpb.KV/Put"  # type: ignore[attr-defined]


ETCDS_DASHBOARD_AND_ALERTS = """
etcd_server_has_leader grpc_server_started_total grpc_server_handled_total grpc_server_handling_seconds_bucket
etcd_mvcc_db_total_size_in_bytes etcd_disk_wal_fsync_duration_seconds_bucket
etcd_disk_backend_commit_duration_seconds_bucket process_resident_memory_bytes
etcd_network_client_grpc_received_bytes_total etcd_network_client_grpc_sent_bytes_total
etcd_server_leader_changes_seen_total etcd_server_proposals_failed_total etcd_server_proposals_pending
etcd_server_proposals_committed_total etcd_server_proposals_applied_total etcd_server_quota_backend_bytes
etcd_mvcc_db_total_size_in_use_in_bytes etcd_debugging_mvcc_db_total_size_in_bytes etcd_server_slow_apply_total
etcd_server_slow_read_indexes_total etcd_server_heartbeat_send_failures_total etcd_debugging_mvcc_keys_total
etcd_debugging_mvcc_watcher_total etcd_debugging_mvcc_slow_watcher_total etcd_debugging_mvcc_watch_stream_total
"""
"""What the mixin of etcd and other well-known dashboards ask of a lone member."""


async def test_dashboards_for_etcd_find_what_they_ask_for(member: Member) -> None:
    await in_thread(member.client_urls[0], lambda stubs: stubs.call("KV/Put", key=b"k"))
    assert set(ETCDS_DASHBOARD_AND_ALERTS.split()) <= {sample.name for sample in scrape(member)}


async def test_versions_of_clients_are_bounded_and_text(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "MAX_VERSIONS", 2)
    (url,) = member.client_urls

    def converse(stubs: Stubs) -> None:
        for version in ("1", "2", "3", "4", "1"):
            stubs.call("etcdserverpb.KV/Put", key=b"k", metadata=[("client-api-version", version)])

    await in_thread(url, converse)
    now = scrape(member)
    for version, requests in (("1", 2), ("2", 1), ("other", 2)):
        assert count(now, "etcd_server_client_requests_total", client_api_version=version) == requests


async def test_a_learner_and_its_snapshot(tmp_path: Path) -> None:
    async with open_members(tmp_path, 1) as members, open_client(members.urls) as client:
        await client.put(b"a", b"b")
        leader = members.running["m1"]
        learner = (await client.member_add([members.new("m2")], learner=True)).member.member_id
        with pytest.raises(LearnerNotReady):
            await client.member_promote(learner)
        await members.join("m2")
        other, name = members.running["m2"], f"{learner:x}"
        await until(lambda: len(leader.peers.connected()) == 1)
        await until(lambda: count(leader, "etcd_network_snapshot_send_success", To=name) == 1)
        await members.applied_everywhere()
        assert count(leader, "etcd_network_snapshot_send_total_duration_seconds_count", To=name) == 1
        assert count(leader, "etcd_network_snapshot_send_inflights_total") == 0
        assert count(leader, "etcd_disk_backend_snapshot_duration_seconds_count") == 1
        assert count(other, "etcd_network_snapshot_receive_success", From=f"{leader.member_id:x}") == 1
        await client.member_promote(learner)
        assert count(leader, "etcd_server_learner_promote_successes") == 1
        assert count(leader, "etcd_server_learner_promote_failures", Reason=LearnerNotReady.text) == 1
        assert count(leader, "etcd_network_disconnected_peers_total", Remote=name) == 0
        (channel,) = leader.peers.links[learner].accepted
        channel.close()  # as when the way breaks: one side cannot receive, the other has lost its peer
        await until(lambda: count(leader, "etcd_network_peer_received_failures_total", From=name) == 1)
        await until(lambda: count(other, "etcd_network_disconnected_peers_total") == 1)


def test_reads_whose_time_is_over_are_slow_and_refused_ones_are_not() -> None:
    reads, answers = PendingReads(), []
    for waits in (False, True):
        reads.add(answers.append, waits=waits)
    refused_attempt, patient = reads.begin()
    reads.settle([], [refused_attempt], 0)
    assert (reads.slow, reads.failed) == (0, 1)
    reads.fail(patient, KvraftError())
    reads.fail(patient, KvraftError())  # it has been answered
    assert (reads.slow, reads.failed, len(answers)) == (1, 2, 2)


def test_a_transfer_ends_well_or_not() -> None:
    transfers = Transfers()
    with transfers.one():
        assert transfers.under_way == 1
    with pytest.raises(Closed), transfers.one():
        raise Closed
    assert (transfers.successes, transfers.failures, transfers.under_way, transfers.seconds.total) == (1, 1, 0, 1)
