"""Alarms: raised at the quota, kept by everybody, cleared by themselves; corrupt clusters stand still."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from kvraft.client import open_client
from kvraft.embed import open_member
from kvraft.errors import Corrupt, InvalidArgument, NoSpace
from kvraft.server.alarms import next_action
from kvraft.types import AlarmAction, AlarmMember, AlarmType, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest
from tests.kvraft.members import PATIENCE_SECONDS, open_members, until

if TYPE_CHECKING:
    from pathlib import Path

    from kvraft.client import Client

ALL = (b"\0", b"\0")
QUOTA = 500_000


@pytest.mark.parametrize(
    ("used", "raised", "action"),
    [
        (999, False, None),
        (1000, False, AlarmAction.ACTIVATE),
        (1000, True, None),
        (901, True, None),
        (900, True, AlarmAction.DEACTIVATE),
    ],
)
def test_what_space_calls_for(used: int, raised: bool, action: AlarmAction | None) -> None:
    assert next_action(used, 1000, raised=raised) is action


async def fill_up(client: Client) -> None:
    for _ in range(1000):
        await client.put(b"k", b"v" * 20_000)


async def test_nospace_is_raised_at_the_quota_and_goes_by_itself(tmp_path: Path) -> None:
    async with (
        open_members(tmp_path, calm=True, quota_backend_bytes=QUOTA) as members,
        open_client(members.urls, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        with pytest.raises(NoSpace, match="etcdserver: mvcc: database space exceeded"):
            await fill_up(client)
        leader = members.running[await members.leader()]  # it has refused; the others may be a little below
        alarm = AlarmMember(leader.member_id, AlarmType.NOSPACE)
        await until(lambda: all(alarm in m.machine.alarms.active() for m in members.running.values()))
        raised = await client.alarms()
        assert {alarm.alarm for alarm in raised} == {AlarmType.NOSPACE}
        assert alarm in raised
        for url in members.urls:
            status = await client.status(url)
            assert f"memberID:{leader.member_id} alarm:NOSPACE " in status.errors
            assert status.quota_bytes == QUOTA
        nested = TxnRequest((), (TxnRequest((), (), (PutRequest(b"x", b""),)),))
        with pytest.raises(NoSpace):
            await client.txn((), (nested,))
        # what frees space, and what reads, goes on
        assert (await client.range(b"k")).count == 1
        await client.txn((), (RangeRequest(b"k"), DeleteRangeRequest(b"x")))
        await client.compact(await client.revision(), physical=True)
        await until(lambda: not any(m.machine.alarms.active() for m in members.running.values()))
        await client.put(b"k", b"small")
        assert await client.alarms() == []


async def test_an_alarm_is_the_same_for_everybody_and_outlives_a_restart(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members, open_client(members.urls) as client:
        await client.put(b"a", b"1")
        member_id = members.running["m1"].member_id
        assert await client.raise_alarm(member_id, AlarmType.CORRUPT) == [AlarmMember(member_id, AlarmType.CORRUPT)]
        for write in (client.put(b"a", b"2"), client.delete_range(b"a"), client.compact(2)):
            with pytest.raises(Corrupt, match="etcdserver: corrupt cluster"):
                await write
        assert (await client.range(b"a")).kvs[0].value == b"1"
        await members.applied_everywhere()
        follower = next(
            name for name, member in members.running.items() if member.driver.raft.leader != member.member_id
        )
        await members.crash(follower)
        members.start(follower)
        with pytest.raises(Corrupt):
            await client.put(b"a", b"2")
        await members.applied_everywhere()
        for member in members.running.values():
            assert member.machine.alarms.active() == [AlarmMember(member_id, AlarmType.CORRUPT)]
            assert member.machine.revision == 2
        assert await client.disarm(member_id + 1) == []
        assert len(await client.disarm()) == 1
        await client.put(b"a", b"2")


async def test_a_snapshot_carries_the_alarms(tmp_path: Path) -> None:
    settings = {"snapshot_count": 10, "snapshot_catchup_entries": 5, "election_ms": 3000}
    async with (
        open_members(tmp_path, calm=True, **settings) as members,
        open_client(members.urls, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        leader = await members.leader()
        behind = next(name for name in members.running if name != leader)
        await members.crash(behind)
        await client.raise_alarm(7, AlarmType.CORRUPT)
        before = members.running[leader].machine.revision
        while any(member.driver.raft.compacted_index <= 20 for member in members.running.values()):
            with contextlib.suppress(Corrupt):  # entries all the same
                await client.put(b"a", b"")
        members.start(behind)
        await members.applied_everywhere()
        machine = members.running[behind].machine
        assert machine.alarms.active() == [AlarmMember(7, AlarmType.CORRUPT)]
        assert machine.revision == before
        await client.disarm()
        await members.applied_everywhere()
        await client.put(b"a", b"")
        assert (await client.range(b"a")).count == 1


async def test_unknown_alarms_are_refused(tmp_path: Path) -> None:
    async with open_member(tmp_path / "data") as member, open_client(member.client_urls) as client:
        with pytest.raises(InvalidArgument, match="alarm 9 is unknown"):
            await client.raise_alarm(1, 9)
        assert await client.raise_alarm(1, AlarmType.NONE) == []
