"""Followers that are too far behind for the log: snapshots while writes go on, cut off, retried, restarted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from kvraft.channel import Channel, dial
from kvraft.client import open_client
from kvraft.raft.messages import Message, MessageKind
from kvraft.server import snapshots
from kvraft.types import RangeRequest
from kvraft.wire import peer as wire
from kvraft.wire.frames import FrameDecoder, frame
from tests.kvraft.members import open_members, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kvraft.client import Client
    from kvraft.server.member import Member
    from tests.kvraft.members import Members

SETTINGS = {"snapshot_count": 50, "snapshot_catchup_entries": 10}


async def _fill(client: Client, name: str, count: int = 150) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(client.put, b"%s/%d" % (name.encode(), number), bytes(2000))


def _contents(member: Member) -> list[object]:
    return list(member.machine.range(RangeRequest(b"\0", b"\0")).kvs)


async def _assert_equal(members: Members) -> None:
    await members.applied_everywhere()
    first, *others = members.running.values()
    assert _contents(first)
    assert all(_contents(other) == _contents(first) for other in others)
    assert {member.machine.revision for member in members.running.values()} == {first.machine.revision}


@pytest.fixture
async def behind(tmp_path: Path) -> AsyncIterator[tuple[Members, Client, str]]:
    """A cluster, a client, and the name of a stopped follower whose next entries are gone from the leader's log."""
    async with open_members(tmp_path, **SETTINGS) as members, open_client(members.urls) as client:
        await _fill(client, "before", 20)
        leader = await members.leader()
        follower = next(name for name in members.running if name != leader)
        last = members.running[follower].driver.raft.last_index
        await members.stop(follower)
        await _fill(client, "meanwhile")
        while any(member.driver.raft.compacted_index <= last + 1 for member in members.running.values()):
            await client.put(b"more", b"")  # the log is compacted with commits, and these with writes
        yield members, client, follower


async def test_a_far_behind_follower_catches_up_while_writes_go_on_and_survives_a_restart(
    behind: tuple[Members, Client, str],
) -> None:
    members, client, name = behind
    member = members.start(name)
    installed = []
    install = member.machine.install
    member.machine.install = lambda writer: installed.append(writer.meta) or install(writer)  # type: ignore[assignment]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_fill, client, "while")
        await member.ready.wait()
    await _assert_equal(members)
    assert installed
    await members.crash(name)
    await _fill(client, "after", 5)
    members.start(name)
    await _assert_equal(members)


async def test_a_follower_catches_up_with_a_leader_that_never_pauses(behind: tuple[Members, Client, str]) -> None:
    """The log is compacted behind the snapshot on its way, again and again: the follower must arrive all the same."""
    members, client, name = behind
    stop = trio.Event()
    member = members.start(name)

    async def write(place: int) -> None:
        while not stop.is_set():
            await client.put(b"busy/%d" % place, bytes(200))

    async with trio.open_nursery() as nursery:
        for place in range(16):
            nursery.start_soon(write, place)
        with trio.move_on_after(10) as scope:
            await until(lambda: member.machine.applied_index > 0 and _distance(members, member) < 10)
        stop.set()
    assert not scope.cancelled_caught, "it never came near"
    await _assert_equal(members)


def _distance(members: Members, member: Member) -> int:
    return max(other.machine.applied_index for other in members.running.values()) - member.machine.applied_index


async def test_a_snapshot_that_is_cut_off_is_sent_again(
    behind: tuple[Members, Client, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    members, _, name = behind
    monkeypatch.setattr(snapshots, "RETRY_SECONDS", 0.01)
    streams = 0
    send = Channel.send

    async def cut(self: Channel, data: bytes) -> None:
        nonlocal streams
        if data == frame(wire.END_OF_SNAPSHOT):
            streams += 1
            if streams < 4:
                self.close()  # all but the end has gone
        await send(self, data)

    monkeypatch.setattr(Channel, "send", cut)
    members.start(name)
    await _assert_equal(members)
    assert streams >= 4


async def test_a_damaged_snapshot_is_refused_and_sent_again(
    behind: tuple[Members, Client, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    members, _, name = behind
    monkeypatch.setattr(snapshots, "RETRY_SECONDS", 0.01)
    damaged = 0
    send = Channel.send

    async def damage(self: Channel, data: bytes) -> None:
        nonlocal damaged
        if len(data) > 100_000 and not damaged:
            damaged += 1
            data = data[:5000] + bytes([data[5000] ^ 1]) + data[5001:]
        await send(self, data)

    monkeypatch.setattr(Channel, "send", damage)
    members.start(name)
    await _assert_equal(members)
    assert damaged
    errors = [getattr(record, "fields", {}).get("error") for record in caplog.records]
    assert any("damaged snapshot" in str(error) for error in errors)


async def test_a_sender_that_stands_still_gives_way_to_another(
    behind: tuple[Members, Client, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    members, _, name = behind
    monkeypatch.setattr(snapshots, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(snapshots, "STALL_SECONDS", 0.2)
    other = next(iter(members.running.values()))
    member = members.start(name)
    channel = await _open_snapshot(other, member)
    meta = other.machine.snapshot()
    offer = Message(MessageKind.SNAPSHOT, other.member_id, member.member_id, other.driver.raft.term, snapshot=meta.meta)
    meta.close()
    await channel.send(wire.encode_control(wire.SnapshotOffer(offer)))
    await until(lambda: member.peers.incoming.busy)
    assert await _control(channel) == wire.SnapshotFrom(0)
    await _assert_equal(members)
    assert await channel.receive() == b""
    channel.close()


async def _control(channel: Channel) -> wire.Control:
    (payload,) = FrameDecoder(1 << 20).feed(await channel.receive())
    return wire.decode_control(payload)


async def _open_snapshot(sender: Member, receiver: Member) -> Channel:
    channel = await dial(receiver.config.listen_peer_urls[0], None)
    hello = wire.Hello(sender.cluster_id, sender.member_id, receiver.member_id, wire.SNAPSHOT, ())
    await channel.send(wire.PREFACE + wire.encode_control(hello))
    assert isinstance(await _control(channel), wire.Hello)
    return channel


async def test_two_at_once_and_what_is_no_snapshot_are_refused(tmp_path: Path) -> None:
    async with open_members(tmp_path, 2) as members:
        sender, receiver = members.running.values()
        offer = wire.encode_control(wire.SnapshotOffer(Message(MessageKind.SNAPSHOT, sender.member_id, 0, 1)))
        first = await _open_snapshot(sender, receiver)
        await first.send(offer)
        await until(lambda: receiver.peers.incoming.busy)
        second = await _open_snapshot(sender, receiver)
        await second.send(offer)
        refusal = await _control(second)
        assert isinstance(refusal, wire.Refusal)
        assert "another snapshot" in refusal.reason
        second.close()
        assert await _control(first) == wire.SnapshotFrom(0)
        await first.send(frame(b"\0\0\0\1x") + frame(wire.END_OF_SNAPSHOT))
        refusal = await _control(first)
        assert isinstance(refusal, wire.Refusal)
        assert "damaged snapshot" in refusal.reason
        first.close()
        await until(lambda: not receiver.peers.incoming.busy)
        for message in (Message(MessageKind.APPEND, sender.member_id, 0, 9), Message(MessageKind.SNAPSHOT, 5, 0, 9)):
            wrong = await _open_snapshot(sender, receiver)
            await wrong.send(wire.encode_control(wire.SnapshotOffer(message)))
            assert await wrong.receive() == b""
            wrong.close()
        assert receiver.driver.raft.term < 9
        async with open_client(members.urls) as client:
            await client.put(b"health", b"y")


async def test_a_member_that_stops_while_it_sends_and_receives_ends_cleanly(
    behind: tuple[Members, Client, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    members, _, name = behind
    reached = trio.Event()
    send = Channel.send

    async def hold(self: Channel, data: bytes) -> None:
        if data == frame(wire.END_OF_SNAPSHOT):
            reached.set()
            await trio.sleep_forever()
        await send(self, data)

    monkeypatch.setattr(Channel, "send", hold)
    members.start(name)
    await reached.wait()
    with trio.fail_after(5):
        for running in list(members.running):
            await members.crash(running)
    monkeypatch.setattr(Channel, "send", send)
    for stopped in members.client_urls:
        members.start(stopped)
    for member in members.running.values():
        await member.ready.wait()
    await _assert_equal(members)
