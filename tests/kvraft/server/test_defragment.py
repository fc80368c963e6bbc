"""Defragmentation of members that serve: nobody waits for it, nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from kvraft.client import open_client
from kvraft.embed import open_member
from kvraft.server import defragment
from kvraft.server.observe.metrics import exposition
from tests.kvraft.members import open_members, until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from kvraft.client import Client

ALL = (b"\0", b"\0")


async def fill_and_empty(client: Client) -> None:
    for number in range(150):
        await client.put(b"big%d" % number, b"x" * 20_000)
    await client.delete_range(b"big", b"bih")
    await client.put(b"kept", b"value")
    await client.compact(await client.revision(), physical=True)


async def test_every_member_while_it_is_written_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defragment, "PIECE_BYTES", 200)
    async with open_members(tmp_path) as members, open_client(members.urls) as client:
        await fill_and_empty(client)
        await members.applied_everywhere()
        for member in members.running.values():
            member.machine.commit()  # what it has applied counts with the next commit
        sizes = {name: member.machine.db_size for name, member in members.running.items()}
        written: list[int] = []
        watched: list[int] = []
        going_on = True

        async def write() -> None:
            while going_on:
                answer = await client.put(b"k%d" % (len(written) % 10), b"%d" % len(written))
                written.append(answer.revision)
                found = await client.range(b"kept")
                assert found.kvs[0].value == b"value"

        async def watch(task_status: trio.TaskStatus[None]) -> None:
            async with client.watch(b"k", b"l") as events:
                task_status.started()
                async for batch in events:
                    watched.extend(event.kv.mod_revision for event in batch.events)

        async with trio.open_nursery() as nursery:
            await nursery.start(watch)
            async with trio.open_nursery() as writers:
                writers.start_soon(write)
                for url in members.urls:
                    before = len(written)
                    await client.defragment(url)
                    assert len(written) > before, "writes went on"
                going_on = False
            await until(lambda: bool(written) and watched[-1:] == written[-1:])
            nursery.cancel_scope.cancel()
        assert watched == written
        await members.applied_everywhere()
        for name, member in members.running.items():
            assert member.machine.db_size < sizes[name] / 4
        assert len({(await client.hash_kv(url)).hash for url in members.urls}) == 1
        for name in list(members.running):
            await members.crash(name)
        for name in members.client_urls:
            members.start(name)
        async with open_client(members.urls) as again:
            found = await again.range(b"k", b"k~")
            assert max(kv.mod_revision for kv in found.kvs) == written[-1]
            assert found.revision == written[-1]


async def test_it_waits_for_those_who_read_the_state(tmp_path: Path) -> None:
    async with open_member(tmp_path / "data") as member, open_client(member.client_urls) as client:
        await fill_and_empty(client)
        before = member.machine.db_size
        view = member.machine.view()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.defragment, member.client_urls[0])
            await until(lambda: member.machine._defragmentation is not None and member.machine._defragmentation._copied)
            for number in range(20):
                await client.put(b"meanwhile", b"%d" % number)
            assert member.machine.db_size >= before
            assert not view.closed
            assert b"etcd_disk_defrag_inflight 1.0" in exposition(member)
            view.close()
        assert b"etcd_disk_defrag_inflight 0.0" in exposition(member)
        assert member.machine.db_size < before / 4
        assert (await client.range(b"meanwhile")).kvs[0].version == 20


async def test_physical_compaction_and_defragmentation_go_together(tmp_path: Path) -> None:
    async with open_member(tmp_path / "data") as member, open_client(member.client_urls) as client:
        for number in range(500):
            await client.put(b"k", b"%d" % number)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.defragment, member.client_urls[0])
            nursery.start_soon(client.defragment, member.client_urls[0])
            await client.compact(400, physical=True)
        await client.compact(500, physical=True)
        assert member.machine._environment.meta.compact_done == 500
        assert (await client.range(*ALL, revision=500)).kvs[0].version == 499
