"""A snapshot's stream: held to a rate, resumed where it broke, dropped when nobody goes on with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from kvraft.channel import Channel
from kvraft.client import open_client
from kvraft.server import snapshots
from kvraft.server.snapshots import Pace
from kvraft.wire import peer as wire
from kvraft.wire.frames import frame
from tests.kvraft.members import open_members, until

if TYPE_CHECKING:
    from pathlib import Path

    from kvraft.client import Client

CHUNK_BYTES = 200_000


async def fill(client: Client, count: int = 60) -> None:
    """Several chunks' worth."""
    for number in range(count):
        await client.put(b"big/%d" % number, bytes([number]) * 40_000)


async def test_a_sender_keeps_to_its_rate(autojump_clock: trio.testing.MockClock) -> None:
    pace = Pace(1000)
    started = trio.current_time()
    for _ in range(20):
        await pace.spend(500)
    assert trio.current_time() - started == pytest.approx(10, abs=snapshots.BURST_SECONDS)
    await trio.sleep(100)  # a pause earns no more than a moment's burst
    started = trio.current_time()
    await pace.spend(2000)
    assert trio.current_time() - started == pytest.approx(2, abs=2 * snapshots.BURST_SECONDS)
    unlimited = Pace(0)
    started = trio.current_time()
    await unlimited.spend(1 << 40)
    assert trio.current_time() == started


async def test_a_new_member_gets_its_state_no_faster_than_the_rate_allows(tmp_path: Path) -> None:
    rate = 4 << 20
    settings = {"snapshot_send_bytes_per_second": rate}
    async with open_members(tmp_path, 1, **settings) as members, open_client(members.urls) as client:
        await fill(client)
        await client.member_add([members.new("m2")], learner=True)
        member = await members.join("m2")
        started = trio.current_time()
        await until(lambda: member.machine.applied_index > 0)
        assert trio.current_time() - started > 60 * 40_000 / rate - 2 * snapshots.BURST_SECONDS


async def test_a_broken_stream_goes_on_where_it_broke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "RETRY_SECONDS", 0.01)
    sent: list[int] = []
    firsts: list[int] = []
    send = Channel.send

    async def cut(self: Channel, data: bytes) -> None:
        if len(data) > 100_000:
            sent.append(len(data))
            if len(sent) in (4, 7):
                self.close()
        await send(self, data)

    run = snapshots.Outgoing.send

    async def note(self: snapshots.Outgoing, channel: Channel) -> int:
        try:
            return await run(self, channel)
        finally:
            firsts.append(self.first)

    monkeypatch.setattr(Channel, "send", cut)
    monkeypatch.setattr(snapshots.Outgoing, "send", note)
    async with open_members(tmp_path, 1) as members, open_client(members.urls) as client:
        await fill(client)
        await client.put(b"last", b"")
        await client.member_add([members.new("m2")], learner=True)
        member = await members.join("m2")
        await until(lambda: member.machine.applied_index > 0)
        await members.applied_everywhere()
        leader = members.running["m1"]
        assert member.machine.revision == leader.machine.revision
        assert len(firsts) == 3
        assert firsts[0] == 0 < firsts[1] < firsts[2]
        # Each chunk has travelled once, save for those that were on their way when the connection broke.
        assert len(sent) <= 60 * 40_000 // CHUNK_BYTES + 12


async def test_what_has_arrived_is_dropped_when_nobody_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(snapshots, "KEEP_SECONDS", 0.1)
    monkeypatch.setattr(snapshots, "MAX_VAIN_RESUMPTIONS", 1)
    send = Channel.send
    broken = 0

    async def cut(self: Channel, data: bytes) -> None:
        nonlocal broken
        if data == frame(wire.END_OF_SNAPSHOT) and broken < 6:
            broken += 1
            self.close()
        await send(self, data)

    monkeypatch.setattr(Channel, "send", cut)
    async with open_members(tmp_path, 1) as members, open_client(members.urls) as client:
        await client.put(b"a", b"b")
        await client.member_add([members.new("m2")], learner=True)
        member = await members.join("m2")
        await until(lambda: member.machine.applied_index > 0)
        await until(lambda: member.peers.incoming._kept is None)
        assert broken == 6
