"""Upgrades: an older version leaves newer data alone, and members are restarted one by one without anybody noticing."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, TypeVar

import lmdb
import msgspec
import pytest
import trio

from kvraft.client import open_client
from kvraft.errors import KvraftError
from kvraft.server.member import Member
from kvraft.storage.errors import FormatTooNew
from kvraft.storage.files import FORMAT_KEY
from kvraft.storage.log import LogStore
from tests.kvraft.members import open_members, until
from tests.kvraft.processes import start_processes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.kvraft.processes import Processes

T = TypeVar("T")

LATER = 1000
LOG = "log/*.log"
ROUNDS = 2
PATIENCE_SECONDS = 20.0


def of_a_later_format(path: Path) -> None:
    """Make a file of ours look as if a version to come had written it."""
    if path.suffix == ".log":
        data = bytearray(path.read_bytes())
        data[12:16] = LATER.to_bytes(4, "little")
        path.write_bytes(data)
        return
    with lmdb.open(str(path), subdir=False, max_dbs=8) as environment:
        meta = environment.open_db(b"meta")
        with environment.begin(write=True) as txn:
            txn.put(FORMAT_KEY, msgspec.msgpack.encode(LATER), db=meta)


@pytest.mark.parametrize(("file", "known"), [("state/state.mdb", 2), (LOG, 2)])
async def test_an_older_version_refuses_newer_data_and_changes_nothing(tmp_path: Path, file: str, known: int) -> None:
    async with open_members(tmp_path, 1) as members:
        config = members.running["m1"].config
        async with open_client(members.urls) as client:
            await client.put(b"k", b"v")
    directory = tmp_path / "m1" / "member"
    (path,) = directory.glob(file)
    of_a_later_format(path)
    files = [*directory.glob("state/state.mdb"), *directory.glob(LOG)]
    before = [each.read_bytes() for each in files]
    with pytest.raises(FormatTooNew) as caught:
        Member(config)
    assert str(path) in str(caught.value)
    assert f"format {LATER} was written by a later version; this one reads up to {known}" in str(caught.value)
    assert [each.read_bytes() for each in files] == before


def as_the_first_version_wrote_it(directory: Path) -> None:
    """Turn a member's log back into the one LMDB file that it was before today's files."""
    with contextlib.closing(LogStore.open(directory)) as store:
        first, last = store.compacted_index + 1, store.last_index
        entries = store.entries(first, last + 1, 1 << 30) if last >= first else []
        meta = (store.hard_state, store.compacted_index, store.compacted_term, store.cluster_id, store.member_id)
    for path in directory.glob("*.log"):
        path.unlink()
    encode = msgspec.msgpack.encode
    with lmdb.open(str(directory / "log.mdb"), subdir=False, max_dbs=2) as environment:
        tables = environment.open_db(b"entries"), environment.open_db(b"meta")
        with environment.begin(write=True) as txn:
            for entry in entries:
                txn.put(entry.index.to_bytes(8), encode(entry), db=tables[0])
            txn.put(b"meta", encode(meta), db=tables[1])
            txn.put(FORMAT_KEY, encode(1), db=tables[1])


@pytest.mark.slow
async def test_members_are_upgraded_one_by_one(tmp_path: Path) -> None:
    """What an older version left is taken over where it is, while the other members serve."""
    async with open_members(tmp_path) as members, open_client(members.urls, timeout_seconds=60) as client:
        await members.published()
        written = 0
        for name in list(members.client_urls):
            for _ in range(20):
                await client.put(b"%d" % written, b"v")
                written += 1
            member_id = members.running[name].member_id
            await members.stop(name)
            log = tmp_path / name / "member" / "log"
            as_the_first_version_wrote_it(log)
            await client.put(b"meanwhile", name.encode())
            upgraded = members.start(name)
            assert upgraded.member_id == member_id
            assert not (log / "log.mdb").exists()
            await members.applied_everywhere()
        hashes = {(await client.hash_kv(url)).hash for url in members.urls}
        assert (len(hashes), (await client.range(b"\0", b"\0", count_only=True)).count) == (1, written + 1)


class Load:
    """Clients that repeat what is safe to repeat: reads, and puts whose value depends on nothing."""

    def __init__(self, urls: list[str]) -> None:
        self._urls = urls
        self.over = False
        self.acknowledged: dict[bytes, bytes] = {}
        self.longest_seconds = 0.0
        self.reads = 0

    async def write(self, place: int) -> None:
        """Puts, one after the other."""
        async with open_client(self._urls) as client:
            number = 0
            while not self.over:
                number += 1
                key, value = b"%d/%d" % (place, number), b"%d" % number
                await self._safely(lambda key=key, value=value: client.put(key, value))  # type: ignore[misc]
                self.acknowledged[key] = value

    async def read(self) -> None:
        """Linearizable reads of what has been acknowledged."""
        async with open_client(self._urls) as client:
            while not self.over:
                known = len(self.acknowledged)
                found = await self._safely(lambda: client.range(b"\0", b"\0", count_only=True))
                assert found.count >= known
                self.reads += 1

    async def _safely(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Until it is done. Raises ``trio.TooSlowError``: that is what a user would call a failure."""
        started = trio.current_time()
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                try:
                    answer = await operation()
                except KvraftError:
                    await trio.lowlevel.checkpoint()
                else:
                    self.longest_seconds = max(self.longest_seconds, trio.current_time() - started)
                    return answer


async def _restart(processes: Processes, name: str) -> None:
    """As an operator does: end it, start it, wait until it has caught up."""
    processes.signal(name, signal.SIGTERM)
    assert await trio.to_thread.run_sync(processes.running[name].wait, 20) == -signal.SIGTERM
    processes.start(name)
    url = processes.client_urls[name]
    async with open_client([url], timeout_seconds=PATIENCE_SECONDS) as client:
        await client.range(b"\0", b"\0", count_only=True)  # linearizable: it has all that others have acknowledged


@pytest.mark.slow
async def test_a_rolling_restart_fails_nobodys_operations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with start_processes(tmp_path) as processes:
        load = Load(processes.urls)
        async with open_client(processes.urls, timeout_seconds=60) as client:
            await client.put(b"0/0", b"0")  # from here on they are all up
        load.acknowledged[b"0/0"] = b"0"
        async with trio.open_nursery() as nursery:
            for place in range(4):
                nursery.start_soon(load.write, place)
            nursery.start_soon(load.read)
            for _ in range(ROUNDS):
                for name in processes.client_urls:
                    goal = len(load.acknowledged) + 50
                    await until(lambda goal=goal: len(load.acknowledged) >= goal)
                    await _restart(processes, name)
            load.over = True
        async with open_client(processes.urls) as client:
            found = {kv.key: kv.value for kv in (await client.range(b"\0", b"\0")).kvs}
        assert found == load.acknowledged
        with capsys.disabled():
            print(
                f"\n{ROUNDS} rolling restarts of three members: {len(load.acknowledged)} writes and {load.reads} "
                f"reads, none failed, the longest took {load.longest_seconds:.2f} s"
            )
