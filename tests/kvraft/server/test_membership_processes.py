"""Real processes whose cluster grows, shrinks and loses its leader under load: nothing acknowledged is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import trio

from kvraft.client import open_client
from kvraft.errors import KvraftError
from tests.kvraft.load import Load
from tests.kvraft.processes import start_processes

if TYPE_CHECKING:
    from pathlib import Path

    from kvraft.client import Client
    from kvraft.types import MemberInfo
    from tests.kvraft.processes import Processes

pytestmark = pytest.mark.slow


async def members(client: Client) -> dict[str, MemberInfo]:
    return {member.name: member for member in (await client.member_list()).members}


async def patiently(ask: object, *arguments: object, **options: object) -> None:
    """A change is refused while a member is not connected yet, or the leader has only just changed."""
    with trio.fail_after(60):
        while True:
            try:
                await ask(*arguments, **options)  # type: ignore[operator]
            except KvraftError as error:
                assert error.definite, error
                await trio.sleep(0.1)
            else:
                return


async def add(processes: Processes, client: Client, name: str, *, learner: bool = False) -> None:
    """Add a member, start it, and wait until it has told its name."""
    await patiently(client.member_add, [processes.new(name)], learner=learner)
    processes.start(name, "--initial-cluster-state", "existing")
    with trio.fail_after(60):
        while name not in await members(client):  # noqa: ASYNC110 (another process)
            await trio.sleep(0.1)


async def under_load(processes: Processes, client: Client, load: Load, nursery: trio.Nursery) -> None:
    await client.put(b"first", b"v")
    load.acknowledged[b"first"] = (await client.range(b"first")).kvs[0].mod_revision
    for place in range(4):
        nursery.start_soon(load.write, place)
    await load.reach(50)


async def test_a_cluster_grows_from_one_to_five_and_shrinks_to_three_under_load(tmp_path: Path) -> None:
    with start_processes(tmp_path, 1) as processes:
        async with open_client(processes.urls, timeout_seconds=20) as client, trio.open_nursery() as nursery:
            load = Load(client)
            await under_load(processes, client, load, nursery)
            for name in ("m2", "m3", "m4", "m5"):
                await add(processes, client, name)
                await load.reach(30)
            assert len(await members(client)) == 5
            for name in ("m5", "m4"):
                await patiently(client.member_remove, (await members(client))[name].member_id)
                assert await processes.ended(name) == 0
                processes.forget(name)
                await load.reach(30)
            load.stop = True
        async with open_client(processes.urls) as client:
            load._client = client
            assert sorted(await members(client)) == ["m1", "m2", "m3"]
            await load.check(processes)


async def test_the_leader_is_removed_under_load_and_told_so_when_it_comes_back(tmp_path: Path) -> None:
    with start_processes(tmp_path) as processes:
        async with open_client(processes.urls, timeout_seconds=20) as client, trio.open_nursery() as nursery:
            load = Load(client)
            await under_load(processes, client, load, nursery)
            leader = await processes.leader(client)
            await patiently(client.member_remove, (await members(client))[leader].member_id)
            assert await processes.ended(leader) == 0
            await load.reach(50)
            processes.start(leader)
            assert await processes.ended(leader) == 0
            lines = [json.loads(line) for line in processes.log(leader).read_text().splitlines()]
            said = [line for line in lines if line["msg"].startswith("the member has been permanently removed")]
            assert len(said) == 2
            processes.forget(leader)
            load.stop = True
        async with open_client(processes.urls) as client:
            load._client = client
            await load.check(processes)


async def test_a_dead_member_is_replaced_by_a_learner_that_is_promoted_while_writes_go_on(tmp_path: Path) -> None:
    """The log is compacted every 500 entries: the new member gets a snapshot, and what follows it."""
    with start_processes(tmp_path) as processes:
        async with open_client(processes.urls, timeout_seconds=20) as client, trio.open_nursery() as nursery:
            load = Load(client)
            await under_load(processes, client, load, nursery)
            await load.reach(700)
            known = await members(client)
            leader = await processes.leader(client)
            dead = next(name for name in sorted(processes.running) if name != leader)
            processes.kill(dead)
            await patiently(client.member_remove, known[dead].member_id)
            processes.forget(dead)
            await add(processes, client, "m4", learner=True)
            await patiently(client.member_promote, (await members(client))["m4"].member_id)
            await load.reach(50)
            assert "a snapshot" in processes.log(leader).read_text()
            assert not any(member.is_learner for member in (await members(client)).values())
            load.stop = True
        async with open_client(processes.urls) as client:
            load._client = client
            await load.check(processes)


async def test_who_joins_without_having_been_added_says_why_it_cannot(tmp_path: Path) -> None:
    with start_processes(tmp_path, 1) as processes:
        async with open_client(processes.urls) as client:
            await client.put(b"a", b"b")
            processes.new("m2")
            processes.start("m2", "--initial-cluster-state", "existing")
            assert await processes.ended("m2") == 1
            assert "member count is unequal" in processes.log("m2").read_text()
            assert not (tmp_path / "m2").exists()


async def test_the_last_survivor_goes_on_alone(tmp_path: Path) -> None:
    with start_processes(tmp_path) as processes:
        async with open_client(processes.urls, timeout_seconds=20) as client:
            for number in range(50):
                await client.put(b"%d" % number, b"v")
            survivor = await processes.leader(client)
        for name in list(processes.running):
            processes.kill(name)
        processes.start(survivor, "--force-new-cluster")
        async with open_client([processes.client_urls[survivor]], timeout_seconds=20) as client:
            assert (await client.range(b"\0", b"\0", count_only=True)).count == 50
            assert list(await members(client)) == [survivor]
