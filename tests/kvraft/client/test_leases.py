"""Leases through the client: kept alive, lost, and outliving their leader."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from kvraft.client import open_client
from kvraft.client.lease import KeptLease
from kvraft.embed import open_member
from kvraft.errors import KvraftError, LeaseExists, LeaseNotFound, LeaseTtlTooLarge, OutcomeUnknown
from kvraft.types import EventKind, LeaseKeepAliveResponse
from tests.kvraft.members import open_members

if TYPE_CHECKING:
    from pathlib import Path

    from kvraft.client import Client, WatchStream

FAST = {"heartbeat_ms": 50, "election_ms": 500}
"""The smallest TTL is a second then."""


async def until_deleted(stream: WatchStream, key: bytes) -> None:
    with trio.fail_after(30):
        async for batch in stream:
            if any(event.kind == EventKind.DELETE and event.kv.key == key for event in batch.events):
                return


async def test_every_operation(tmp_path: Path) -> None:
    async with open_member(tmp_path) as member, open_client(member.client_urls) as client:
        granted = await client.lease_grant(1)
        assert granted.ttl == 2, "one and a half election timeouts of a second"
        assert granted.lease_id > 0
        assert (await client.lease_grant(100, 7)).lease_id == 7
        with pytest.raises(LeaseExists, match="etcdserver: lease already exists"):
            await client.lease_grant(100, 7)
        with pytest.raises(LeaseTtlTooLarge, match="etcdserver: too large lease TTL"):
            await client.lease_grant(9_000_000_001)
        await client.put(b"b", b"", lease=7)
        await client.put(b"a", b"", lease=7)
        found = await client.lease_time_to_live(7, keys=True)
        assert (found.ttl in (99, 100), found.granted_ttl, found.keys) == (True, 100, [b"a", b"b"])
        assert (await client.lease_time_to_live(7)).keys == []
        assert sorted(await client.leases()) == sorted([7, granted.lease_id])
        assert (await client.lease_keep_alive_once(7)).ttl == 100
        revision = await client.revision()
        assert (await client.lease_revoke(7)).revision == revision + 1
        assert (await client.range(b"\0", b"\0")).kvs == []
        assert (await client.lease_time_to_live(7)).ttl == -1
        for operation in (client.lease_revoke, client.lease_keep_alive_once):
            with pytest.raises(LeaseNotFound, match="etcdserver: requested lease not found"):
                await operation(7)
        with pytest.raises(LeaseNotFound):
            await client.put(b"a", b"", lease=7)


async def test_a_lease_ends_and_its_keys_go(tmp_path: Path) -> None:
    async with open_member(tmp_path, **FAST) as member, open_client(member.client_urls) as client:
        lease_id = (await client.lease_grant(1)).lease_id
        await client.put(b"a", b"", lease=lease_id)
        begun = trio.current_time()
        async with client.watch(b"a") as stream:
            await until_deleted(stream, b"a")
        assert trio.current_time() - begun >= 0.9
        assert await client.leases() == []


async def test_kept_alive_it_outlives_its_ttl_and_ends_with_the_block(tmp_path: Path) -> None:
    async with open_member(tmp_path, **FAST) as member, open_client(member.client_urls) as client:
        async with client.lease(1) as lease, client.watch(b"a") as stream:
            await client.put(b"a", b"", lease=lease.lease_id)
            with pytest.raises(trio.TooSlowError), trio.fail_after(2.5):
                await until_deleted(stream, b"a")
            assert not lease.lost.is_set()
        assert (await client.range(b"a")).kvs == []


async def test_a_lease_that_is_lost_cancels_the_block_and_says_so(tmp_path: Path) -> None:
    async with open_member(tmp_path, **FAST) as member, open_client(member.client_urls) as client:

        async def lose() -> None:
            async with client.lease(1) as lease:
                await client.lease_revoke(lease.lease_id)
                await trio.sleep_forever()

        with pytest.raises(LeaseNotFound), trio.fail_after(30):
            await lose()
        async with client.lease(1, cancel_on_loss=False) as lease:
            await client.lease_revoke(lease.lease_id)
            with trio.fail_after(30):
                await lease.lost.wait()
        with pytest.raises(LeaseNotFound):
            async with client.keep_alive(12345):
                pytest.fail("there is no such lease")


class Silent:
    """A client whose member answers one renewal and then no more."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.start_soon = nursery.start_soon
        self.renewals = 0

    async def lease_keep_alive_once(self, lease_id: int) -> LeaseKeepAliveResponse:
        await trio.lowlevel.checkpoint()
        self.renewals += 1
        if self.renewals > 1:
            raise OutcomeUnknown
        return LeaseKeepAliveResponse(1, lease_id, 9)


async def test_without_answers_a_lease_counts_as_lost_when_its_ttl_has_passed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        silent = Silent(nursery)
        begun = trio.current_time()
        with pytest.raises(LeaseNotFound):
            async with KeptLease.open(silent, 7, cancel_on_loss=True):  # type: ignore[arg-type]
                await trio.sleep_forever()
        assert trio.current_time() - begun == pytest.approx(9)
        assert 5 <= silent.renewals <= 20


async def _renewed(client: Client, lease_id: int, times: int) -> int:
    """Renew so many times, whatever happens to leaders; the last TTL that was answered."""
    ttl = 0
    for _ in range(times):
        try:
            ttl = (await client.lease_keep_alive_once(lease_id)).ttl
        except LeaseNotFound:
            raise
        except KvraftError as error:
            assert isinstance(error, OutcomeUnknown) or error.definite
    return ttl


@pytest.mark.slow
async def test_leases_outlive_their_leader_and_end_when_they_should(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members, open_client(members.urls) as client:
        short, kept, long = [(await client.lease_grant(ttl)).lease_id for ttl in (3, 3, 60)]
        for name, lease_id in ((b"short", short), (b"kept", kept), (b"long", long)):
            await client.put(name, b"", lease=lease_id)
        begun = trio.current_time()
        async with client.watch(b"short") as stream, client.keep_alive(kept):
            for _ in range(2):
                leader = await members.leader()
                await members.crash(leader)
                assert await _renewed(client, long, 3) in (0, 60)
                members.start(leader)
                await members.applied_everywhere()
            await until_deleted(stream, b"short")
            assert trio.current_time() - begun >= 2.9
            found = await client.range(b"\0", b"\0", keys_only=True)
            assert [kv.key for kv in found.kvs] == [b"kept", b"long"]
            assert 50 <= (await client.lease_time_to_live(long)).ttl <= 60
        async with client.watch(b"kept") as stream:
            if (await client.range(b"kept")).kvs:
                await until_deleted(stream, b"kept")
        await members.applied_everywhere()
        for url in members.urls:
            async with open_client([url]) as one:
                found = await one.range(b"\0", b"\0", keys_only=True, serializable=True)
                assert [kv.key for kv in found.kvs] == [b"long"]
