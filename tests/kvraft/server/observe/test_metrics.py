"""``/metrics``: etcd's names, and numbers that follow what happens."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from kvraft.client import open_client
from kvraft.logs import Throttle
from kvraft.server.observe.counters import Counters, Histogram
from kvraft.server.observe.metrics import exposition
from kvraft.server.observe.timed import SyncWatch, TimedMachine
from tests.kvraft.members import open_members
from tests.ports import free_ports

if TYPE_CHECKING:
    from pathlib import Path

    from kvraft.server.member import Member


def _numbers(member: Member) -> dict[str, float]:
    """Samples by name, those with labels summed up."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(exposition(member).decode()):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0) + sample.value
    return found


async def test_numbers_follow_what_happens(tmp_path: Path) -> None:
    async with open_members(tmp_path, 3) as members, open_client(members.urls) as client:
        leader = await members.leader()
        member = members.running[leader]
        await members.applied_everywhere()
        before = _numbers(member)
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(client.put, b"%d" % number, b"value")
        await client.delete_range(b"0")
        await client.txn([], [])
        await client.range(b"1")
        async with client.watch(b"\0", b"\0", start_revision=1) as stream:
            await anext(aiter(stream))
            await members.applied_everywhere()
            member.machine.commit()
            after = _numbers(member)
        grown = {name: after[name] - before.get(name, 0) for name in after}
        assert after["etcd_server_has_leader"] == after["etcd_server_is_leader"] == 1
        assert (grown["etcd_mvcc_put_total"], grown["etcd_mvcc_delete_total"], grown["etcd_mvcc_txn_total"]) == (
            10,
            1,
            1,
        )
        assert grown["etcd_debugging_mvcc_total_put_size_in_bytes"] == 10 * 6
        assert after["etcd_debugging_mvcc_keys_total"] == 9
        assert after["etcd_debugging_mvcc_current_revision"] == 12
        assert after["etcd_server_proposals_committed_total"] == after["etcd_server_proposals_applied_total"]
        assert grown["etcd_server_proposals_applied_total"] >= 3, "one for all puts, perhaps, and two"
        assert grown["etcd_disk_wal_fsync_duration_seconds_count"] > 0
        assert after["etcd_network_peer_sent_bytes_total"] > 0 < after["etcd_network_peer_received_bytes_total"]
        assert after["etcd_network_active_peers"] == after["etcd_network_known_peers"] == 2
        assert grown["etcd_network_client_grpc_received_bytes_total"] > 0
        assert after["etcd_server_leader_changes_seen_total"] >= 1
        assert after["etcd_server_quota_backend_bytes"] == 2 << 30
        assert after["process_open_fds"] > 0 < after["os_fd_used"]
        others = [other for name, other in members.running.items() if name != leader]
        assert {_numbers(other)["etcd_server_is_leader"] for other in others} == {0}
        member.sampler.measure_round_trips()
        trips = _numbers(member)
        assert trips["etcd_network_peer_round_trip_time_seconds_count"] >= 2
        assert 0 < trips["etcd_network_peer_round_trip_time_seconds_sum"] < 10


NOT_HERE = (
    "go_",
    "promhttp_",
    "etcd_grpc_proxy_",
    "etcd_debugging_store_",
    "etcd_debugging_snap_",
    "etcd_snap_",
    "etcd_debugging_disk_",
)
"""Of etcd's parts that have no counterpart: Go's runtime, the proxy, the v2 store, files of snapshots, bbolt."""


MISSING = {
    "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
    "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds",
    "etcd_disk_wal_write_bytes_total",
    "etcd_server_go_version",
}
"""Of the others; the table of differences says why."""


@pytest.mark.slow
async def test_a_name_that_etcd_has_means_the_same_and_is_of_the_same_type(tmp_path: Path) -> None:
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed")
    client_port, peer_port = free_ports(2)
    url, peer_url = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
    command = [
        *("etcd", "--data-dir", str(tmp_path / "etcd"), "--listen-client-urls", url, "--advertise-client-urls", url),
        *("--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url),
        *("--initial-cluster", f"default={peer_url}"),
    ]
    text = await trio.to_thread.run_sync(_run_and_scrape, command, f"{url}/metrics")
    theirs = {
        family.name: (family.type, family.documentation)
        for family in text_string_to_metric_families(text)
        if not family.name.startswith(NOT_HERE)
    }
    async with open_members(tmp_path, 1) as members:
        (member,) = members.running.values()
        assert member.etcd.methods  # as once a client has spoken gRPC
        ours = {family.name: family for family in text_string_to_metric_families(exposition(member).decode())}
    common = theirs.keys() & ours.keys()
    assert len(common) > 70, sorted(common)
    assert theirs.keys() - ours.keys() == MISSING
    different = {
        name: (theirs[name][0], ours[name].type)
        for name in common
        if theirs[name][0] != ours[name].type and ours[name].type != "unknown"
    }
    assert not different
    assert all(name.startswith(("etcd_", "kvraft_", "process_", "os_", "grpc_server_")) for name in ours)


def _run_and_scrape(program: list[str], url: str) -> str:
    command = ["curl", "-sf", "--retry", "100", "--retry-connrefused", "--retry-delay", "0", "--max-time", "30", url]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout
        finally:
            process.terminate()


def test_a_histogram_counts_what_is_at_or_below_its_bounds() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.5):
        histogram.observe(value)
    assert histogram.buckets() == [("1.0", 2), ("2.0", 3), ("+Inf", 4)]
    assert histogram.sum == 5.5


def test_a_throttle_lets_one_in_a_period_through_and_counts_the_others() -> None:
    now = [0.0]
    throttle = Throttle(1.0, lambda: now[0])
    assert [throttle.skipped_since_last() for _ in range(3)] == [0, None, None]
    now[0] = 1.0
    assert throttle.skipped_since_last() == 2


class _Slow:
    """A machine whose every apply takes as long as one wants."""

    def apply(self, entries: object) -> list[object]:
        return []

    def commit(self, *, whole: bool) -> None:
        pass


def test_what_is_slow_is_warned_of_at_a_bounded_rate(caplog: pytest.LogCaptureFixture) -> None:
    counters = Counters()
    machine = TimedMachine(_Slow(), counters, slow_apply_seconds=0.0)  # type: ignore[arg-type]
    syncs = SyncWatch(counters)
    for _ in range(100):
        machine.apply([])
        syncs.written(1.5)
        syncs.written(0.001)
    messages = [record.getMessage() for record in caplog.records]
    assert messages.count("apply request took too long") == messages.count("slow fdatasync") == 1
    assert (counters.slow_applies, counters.slow_syncs) == (100, 100)
    assert sum(counters.wal_fsync_seconds.counts) == 200
    sync = next(record for record in caplog.records if record.getMessage() == "slow fdatasync")
    assert sync.fields == {"took": "1.5s", "expected-duration": "1s", "skipped": 0}  # type: ignore[attr-defined]
