"""Members that compare what they hold: equal hashes on real members, and what happens when one is not equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from kvraft.client import open_client
from kvraft.errors import Compacted, Corrupt, FutureRevision
from kvraft.server import corruption, hashes
from kvraft.server.corruption import UNKNOWN_MEMBER, differing, stands_alone
from kvraft.storage.state import StateEnvironment
from kvraft.types import AlarmMember, AlarmType, HashKVResponse
from tests.kvraft.members import PATIENCE_SECONDS, open_members, until

if TYPE_CHECKING:
    from pathlib import Path

    from kvraft.client import Client
    from tests.kvraft.members import Members


def found(value: int, compacted: int = -1) -> HashKVResponse:
    return HashKVResponse(9, value, compacted, 9)


@pytest.mark.parametrize(
    ("given", "members", "wrong"),
    [
        ({}, 3, []),
        ({1: found(7)}, 3, []),
        ({1: found(7), 2: found(7), 3: found(7)}, 3, []),
        ({1: found(7), 2: found(8), 3: found(7)}, 3, [2]),
        ({1: found(8), 2: found(7), 3: found(7)}, 3, [1]),
        ({1: found(7), 2: found(8)}, 3, [UNKNOWN_MEMBER]),
        ({1: found(7), 2: found(8), 3: found(9)}, 3, [UNKNOWN_MEMBER]),
        ({1: found(7), 2: found(8, 5), 3: found(7)}, 3, []),
        ({1: found(7, 5), 2: found(7, 5), 3: found(8)}, 3, []),
        ({1: found(1), 2: found(2), 3: found(1), 4: found(1), 5: found(3)}, 5, [2, 5]),
        ({1: found(1), 2: found(2), 3: found(1)}, 5, [UNKNOWN_MEMBER]),
    ],
)
def test_who_is_wrong(given: dict[int, HashKVResponse], members: int, wrong: list[int]) -> None:
    assert differing(given, members) == wrong


@pytest.mark.parametrize(
    ("others", "alone"),
    [
        ({}, False),
        ({2: found(7)}, False),
        ({2: found(8)}, True),
        ({2: found(8), 3: found(7)}, False),
        ({2: found(8), 3: found(9)}, True),
        ({2: found(8, 5)}, False),
    ],
)
def test_who_stands_alone(others: dict[int, HashKVResponse], alone: bool) -> None:
    assert stands_alone({1: found(7), **others}, 1) is alone


async def fill(client: Client) -> None:
    for number in range(60):
        await client.put(b"k%d" % (number % 13), b"%d" % number)
    await client.delete_range(b"k1", b"k2")


async def test_hashes_are_equal_on_all_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the same revision and compaction, whichever of it each has removed, after a restart and a snapshot."""
    monkeypatch.setattr(hashes, "PIECE", 7)
    settings = {"snapshot_count": 20, "snapshot_catchup_entries": 5}
    async with open_members(tmp_path, **settings) as members, open_client(members.urls) as client:
        leader = await members.leader()
        follower = next(name for name in members.running if name != leader)
        await members.crash(follower)
        await fill(client)
        members.start(follower)
        slow = members.running[follower].machine
        slow.compact_step = lambda limit: False  # type: ignore[method-assign]
        for compacted in (0, 20, 62):
            if compacted:
                await client.compact(compacted, physical=True)
            await members.applied_everywhere()
            for revision in (62, 0):
                answers = [await client.hash_kv(url, revision) for url in members.urls]
                assert len({answer.hash for answer in answers}) == 1
                assert {answer.compact_revision for answer in answers} == {compacted or -1}
                assert {answer.hash_revision for answer in answers} == {62}
        assert len({(await client.hash_kv(url)).hash for url in members.urls}) == 1
        assert (await client.hash(members.urls[0])).hash == (await client.hash(members.urls[0])).hash
        with pytest.raises(FutureRevision):
            await client.hash_kv(members.urls[0], 63)
        with pytest.raises(Compacted):
            await client.hash_kv(members.urls[0], 61)


async def test_who_waits_for_a_hash_does_not_wait_for_those_that_nobody_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashes, "PIECE", 7)
    monkeypatch.setattr(hashes, "REST_SHARE", 1e9)  # for ever, after the first piece
    async with open_members(tmp_path, 1) as members, open_client(members.urls) as client:
        await fill(client)
        found = members.running["m1"].service.maintenance.hashes
        async with trio.open_nursery() as nursery:
            nursery.start_soon(found.kv, 0)
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(PATIENCE_SECONDS):
                assert (await client.hash_kv(members.urls[0])).hash_revision == 62
                assert (await client.hash(members.urls[0])).hash
            nursery.cancel_scope.cancel()


def damage(members: Members, name: str) -> None:
    """Change a value on a stopped member's disk."""
    environment = StateEnvironment.open(members.directory / name / "member" / "state")
    rev = environment.tables.rev
    rev.last()
    key, raw = rev.prev() and rev.item()
    rev.put(key, raw.replace(b"k", b"K", 1))
    environment.commit()
    environment.close()


async def test_a_damaged_member_is_found_while_the_cluster_runs(tmp_path: Path) -> None:
    async with open_members(tmp_path, corrupt_check_seconds=0.05) as members, open_client(members.urls) as client:
        await fill(client)
        await members.applied_everywhere()
        leader = await members.leader()
        assert await members.running[leader].corruption.check() == []
        follower = next(name for name in members.running if name != leader)
        rev = members.running[follower].machine._environment.tables.rev
        rev.first()
        key, raw = rev.item()
        rev.put(key, raw.replace(b"k", b"K", 1))
        members.running[follower].machine.uncommitted += 1
        wrong = AlarmMember(members.running[follower].member_id, AlarmType.CORRUPT)
        members.running[follower].service.maintenance.hashes._last = None
        await client.put(b"another revision", b"")
        await until(lambda: all(m.machine.alarms.active() == [wrong] for m in members.running.values()))
        with pytest.raises(Corrupt):
            await client.put(b"k", b"")


async def test_a_member_with_damaged_data_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corruption, "START_SECONDS", 30.0)
    async with open_members(tmp_path) as members, open_client(members.urls) as client:
        await fill(client)
        await members.applied_everywhere()
        leader = await members.leader()
        one, other = (name for name in members.running if name != leader)
        await members.stop(one)
        member = members.start(one)  # nothing is wrong with it
        await member.ready.wait()
        await members.stop(other)
        damage(members, other)
        with trio.CancelScope() as scope:
            member = members.build(other)
            with pytest.raises(Corrupt, match="this member holds other data than its peers"):
                await member.run()
        assert not scope.cancelled_caught
