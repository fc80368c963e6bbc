"""Real processes under load, killed and stopped at random moments: nothing acknowledged is lost, all stay equal."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

import pytest
import trio

from kvraft.client import Patience, open_client
from tests.kvraft.load import EVERYTHING, Load
from tests.kvraft.members import PATIENCE_SECONDS, until
from tests.kvraft.processes import start_processes

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


async def test_kill_9_at_random_moments_under_load(tmp_path: Path) -> None:
    rng = random.Random(20)
    with start_processes(tmp_path) as processes:
        async with open_client(processes.urls, timeout_seconds=20) as client, trio.open_nursery() as nursery:
            await client.put(b"first", b"v")
            load = Load(client)
            load.acknowledged[b"first"] = (await client.range(b"first")).kvs[0].mod_revision
            for place in range(16):
                nursery.start_soon(load.write, place)
            for round_number in range(6):
                await load.reach(200)
                await trio.sleep(rng.random() * 0.2)
                name = (
                    await processes.leader(client) if round_number % 2 == 0 else rng.choice(sorted(processes.running))
                )
                processes.kill(name)
                await load.reach(100)
                processes.start(name)
            await load.reach(200)
            for name in list(processes.running):  # and all at once
                processes.kill(name)
            for name in processes.client_urls:
                processes.start(name)
            await load.reach(200)
            load.stop = True
        async with open_client(processes.urls) as client:
            load._client = client
            await load.check(processes)


async def test_a_leader_that_is_stopped_and_goes_on_later(tmp_path: Path) -> None:
    """SIGSTOP closes no connection: the client must notice by itself, and the watch must move on."""
    patience = Patience(3.0, silence_seconds=1.0, answer_seconds=2.0)
    with start_processes(tmp_path) as processes:
        async with (
            open_client(processes.urls, timeout_seconds=PATIENCE_SECONDS, patience=patience) as client,
            trio.open_nursery() as nursery,
        ):
            await client.put(b"first", b"v")
            load = Load(client)
            load.acknowledged[b"first"] = (await client.range(b"first")).kvs[0].mod_revision
            seen: list[int] = []
            watched = trio.CancelScope()

            async def watch() -> None:
                with watched:
                    async with client.watch(*EVERYTHING, start_revision=1) as stream:
                        async for batch in stream:
                            seen.extend(event.kv.mod_revision for event in batch.events)

            nursery.start_soon(watch)
            async with trio.open_nursery() as writers:
                for place in range(8):
                    writers.start_soon(load.write, place)
                await load.reach(100)
                leader = await processes.leader(client)
                processes.signal(leader, signal.SIGSTOP)
                before = len(seen)
                await load.reach(300)
                await until(lambda: len(seen) > before + 200)
                processes.signal(leader, signal.SIGCONT)
                await load.reach(100)
                load.stop = True
            last = await client.revision()
            await until(lambda: bool(seen) and seen[-1] >= last)
            watched.cancel()
        assert seen == sorted(set(seen))
        assert set(load.acknowledged.values()) <= set(seen)
        async with open_client(processes.urls, timeout_seconds=PATIENCE_SECONDS) as client:
            load._client = client
            await load.check(processes)


async def test_leases_outlive_a_leader_that_is_killed_and_end_when_they_should(tmp_path: Path) -> None:
    with start_processes(tmp_path) as processes:
        async with open_client(processes.urls) as client:
            await processes.leader(client)
            short, long = [(await client.lease_grant(ttl)).lease_id for ttl in (3, 600)]
            begun = trio.current_time()
            for number in range(5):
                await client.put(b"short/%d" % number, b"", lease=short)
                await client.put(b"long/%d" % number, b"", lease=long)
            async with client.watch(b"short/", b"short0") as stream:
                leader = await processes.leader(client)
                processes.kill(leader)
                with trio.fail_after(60):
                    batch = await anext(stream)
                    while not batch.events:
                        batch = await anext(stream)
                assert trio.current_time() - begun >= 3
                assert [event.kv.key for event in batch.events] == [b"short/%d" % number for number in range(5)]
                assert {(event.kind, event.kv.mod_revision) for event in batch.events} == {(1, batch.revision)}
            processes.start(leader)
            assert await client.leases() == [long]
            assert (await client.range(b"\0", b"\0", count_only=True)).count == 5
            assert (await client.lease_revoke(long)).revision == batch.revision + 1
            assert (await client.range(b"\0", b"\0", count_only=True)).count == 0
