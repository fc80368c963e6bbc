"""Members that stop, crash and come back; and starts that must be refused, in words that help."""

from __future__ import annotations

import re
import socket
from functools import partial
from typing import TYPE_CHECKING

import attrs
import pytest
import trio

from kvraft.channel import dial
from kvraft.client import open_client
from kvraft.embed import open_member
from kvraft.errors import Corrupt, KvraftError, OutcomeUnknown, Stopped
from kvraft.raft.messages import Role
from kvraft.server import clients, peers
from kvraft.server import member as member_module
from kvraft.server.config import ConfigError, MemberConfig
from kvraft.server.member import Member
from kvraft.storage.errors import InUse
from kvraft.types import PutRequest, PutResponse
from kvraft.wire import native
from kvraft.wire import peer as wire
from kvraft.wire.frames import FrameDecoder
from tests.kvraft.members import PATIENCE_SECONDS, open_members, until
from tests.ports import free_ports

if TYPE_CHECKING:
    from pathlib import Path

    from kvraft.client import Client
    from tests.kvraft.members import Members


async def _fill(client: Client, first: int, count: int) -> None:
    """Put keys; again where the outcome is unknown, which for these does no harm."""
    for number in range(first, first + count):
        done = False
        while not done:
            try:
                await client.put(b"n/%03d" % number, b"%d" % number)
                done = True
            except OutcomeUnknown as error:
                assert not error.definite


async def _assert_all_have(members: Members, count: int) -> None:
    await members.applied_everywhere()
    for url in members.urls:
        async with open_client([url]) as client:
            answer = await client.range(b"n/", b"n0", serializable=True)
            assert [kv.key for kv in answer.kvs] == [b"n/%03d" % number for number in range(count)]


async def test_one_member_that_comes_back_has_everything(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members, open_client(members.urls) as client:
        await _fill(client, 0, 20)
        for kind in (members.stop, members.crash):
            name = await members.leader()
            before = (await client.range(b"n/", b"n0", count_only=True)).count
            await kind(name)
            await _fill(client, before, 20)
            members.start(name)
        await _assert_all_have(members, 60)


@pytest.mark.parametrize("clean", [True, False])
async def test_all_members_that_come_back_have_everything(tmp_path: Path, clean: bool) -> None:
    async with open_members(tmp_path) as members:
        async with open_client(members.urls) as client:
            await _fill(client, 0, 30)
        for name in list(members.running):
            await (members.stop if clean else members.crash)(name)
        for name in members.client_urls:
            members.start(name)
        async with open_client(members.urls) as client:
            await _fill(client, 30, 1)
        await _assert_all_have(members, 31)


async def test_stopping_the_leader_hands_over_and_leaves_no_write_unanswered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow the machine is: the member waits for its heir, and nobody stands for election meanwhile."""
    monkeypatch.setattr(member_module, "HANDOVER_SECONDS", PATIENCE_SECONDS)
    async with (
        open_members(tmp_path, calm=True) as members,
        open_client(members.urls, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        await _fill(client, 0, 1)
        failures: list[KvraftError] = []
        stop = trio.Event()
        written = 0

        async def write(place: int) -> None:
            nonlocal written
            number = 0
            while not stop.is_set():
                number += 1
                try:
                    await client.put(b"w/%d" % place, b"%d" % number)
                    written += 1
                except KvraftError as error:
                    failures.append(error)

        leader = await members.leader()
        term = members.running[leader].driver.raft.term
        async with trio.open_nursery() as nursery:
            for place in range(8):
                nursery.start_soon(write, place)
            await until(lambda: written > 50)
            await members.stop(leader)
            assert any(member.driver.raft.role is Role.LEADER for member in members.running.values())
            before = written
            await until(lambda: written > before + 50)
            stop.set()
        assert failures == []
        assert {member.driver.raft.term for member in members.running.values()} == {term + 1}


async def test_what_is_sent_before_a_client_learns_that_a_member_stops_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "SEE_OFF_SECONDS", PATIENCE_SECONDS)
    async with open_member(tmp_path / "m") as member:
        channel = await dial(member.client_urls[0], None)
        frames = FrameDecoder(native.MAX_RESPONSE_FRAME_BYTES, native.ID_BYTES + 1)

        async def next_answer() -> tuple[bytes, object]:
            with trio.fail_after(PATIENCE_SECONDS):
                while True:
                    for payload in frames.feed(await channel.receive()):
                        return payload[: native.ID_BYTES], native.decode_answer(payload[native.ID_BYTES :])

        ask = partial(native.encode_request, request=PutRequest(b"k", b"v"))
        await channel.send(native.PREFACE + ask(b"\0\0\0\1"))
        assert (await next_answer())[0] == b"\0\0\0\1"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(member.stop)
            number, told = await next_answer()
            assert (number, type(told)) == (native.CONNECTION_ID, Stopped)
            await channel.send(ask(b"\0\0\0\2"))
            number, answer = await next_answer()
            assert (number, type(answer)) == (b"\0\0\0\2", PutResponse)
            channel.close()


async def test_who_waits_when_a_member_stops_is_told(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members:
        await members.published()
        leader = await members.leader()
        for name in list(members.running):
            if name != leader:
                await members.crash(name)
        raised: list[KvraftError] = []

        async def write(client: Client, number: int) -> None:
            try:
                await client.put(b"%d" % number, b"x")
            except KvraftError as error:
                raised.append(error)

        async with open_client([members.client_urls[leader]], timeout_seconds=2) as client:
            await client.status(members.client_urls[leader])
            await client.any_connection()
            async with trio.open_nursery() as nursery:
                for number in range(3):
                    nursery.start_soon(write, client, number)
                await until(lambda: members.running[leader].driver.proposed.count == 3)
                await members.stop(leader)
        assert [str(error) for error in raised] == [Stopped.text] * 3
        assert not any(error.definite for error in raised)


def _config(tmp_path: Path, **changes: object) -> MemberConfig:
    client, peer = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    config = MemberConfig(
        name="m1",
        data_dir=tmp_path / "m1",
        listen_client_urls=(client,),
        advertise_client_urls=(client,),
        listen_peer_urls=(peer,),
        initial_advertise_peer_urls=("http://127.0.0.1:1",),
        initial_cluster={"m1": ("http://127.0.0.1:1",)},
    )
    return attrs.evolve(config, **changes)


async def _run_once(config: MemberConfig) -> None:
    member = Member(config)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(member.run)
        await member.ready.wait()
        await member.stop()


async def test_the_data_of_another_member_is_refused(tmp_path: Path) -> None:
    await _run_once(_config(tmp_path))
    other = {"name": "m2", "initial_cluster": {"m2": _config(tmp_path).initial_advertise_peer_urls}}
    with pytest.raises(ConfigError, match=r"belongs to member m1 of cluster [0-9a-f]+, but --name is m2"):
        Member(_config(tmp_path, **other, initial_advertise_peer_urls=other["initial_cluster"]["m2"]))
    await _run_once(_config(tmp_path))


@pytest.mark.parametrize(
    "change",
    [
        {"initial_cluster_token": "another"},
        {"initial_cluster_state": "existing"},
        {
            "initial_advertise_peer_urls": ("http://127.0.0.1:9",),
            "initial_cluster": {"m1": ("http://127.0.0.1:9",), "m2": ("http://127.0.0.1:2",)},
        },
    ],
)
async def test_who_has_data_knows_who_it_is_whatever_the_flags_say(tmp_path: Path, change: dict[str, object]) -> None:
    """As in etcd: the membership may have changed since the flags were written."""
    before = Member(_config(tmp_path))
    known = (before.member_id, before.cluster_id)
    before._opened.close()
    await _run_once(_config(tmp_path))
    after = Member(_config(tmp_path, **change))
    assert (after.member_id, after.cluster_id) == known
    after._opened.close()


async def test_a_data_directory_serves_one_member_at_a_time(tmp_path: Path) -> None:
    async with open_member(tmp_path / "m1", name="m1"):
        with pytest.raises(InUse, match="in use by another process"):
            Member(_config(tmp_path))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="--data-dir: cannot use"):
        Member(_config(tmp_path, data_dir=tmp_path / "file" / "below"))


@pytest.mark.parametrize("whose", ["client", "peer"])
async def test_a_taken_port_is_named_and_nothing_is_left_behind(tmp_path: Path, whose: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"--listen-{whose}-urls: cannot listen on {url}: Address already in use"):
            Member(_config(tmp_path, **{f"listen_{whose}_urls": (url,)}))
    assert not (tmp_path / "m1").exists()


@pytest.mark.parametrize("lost", ["state", "log"])
async def test_half_of_a_members_data_is_refused(tmp_path: Path, lost: str) -> None:
    await _run_once(_config(tmp_path))
    for path in (tmp_path / "m1" / "member" / lost).iterdir():
        path.unlink()
    with pytest.raises(Corrupt, match="this member's data is incomplete"):
        Member(_config(tmp_path))


async def test_a_disk_that_fails_under_a_commit_ends_the_member_with_that_reason(tmp_path: Path) -> None:
    async def fail() -> None:
        async with open_member(tmp_path / "m1") as member, open_client(member.client_urls) as client:
            await client.put(b"k", b"v")
            member.machine._environment._broken = "the disk is gone"
            member.machine.uncommitted = 1
            await trio.sleep_forever()

    with pytest.raises(KvraftError, match="not written any more after a failure: the disk is gone"):
        await fail()
    async with open_member(tmp_path / "m1") as member, open_client(member.client_urls) as client:
        assert (await client.range(b"k")).kvs[0].value == b"v"


async def test_what_goes_wrong_in_the_block_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        async with open_member(tmp_path / "m1") as member, open_client(member.client_urls):
            raise ZeroDivisionError("the user's own") from KeyError("its cause")
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cluster_id": 7}, "cluster ID mismatch: local [0-9a-f]+, remote 7"),
        ({"to": 7}, "this is member [0-9a-f]+, not 7"),
        ({"sender": 7}, "member 7 is not in this cluster"),
        ({"purpose": 7}, "purpose 7"),
    ],
)
async def test_a_peer_that_is_none_is_told_so(tmp_path: Path, change: dict[str, int], reason: str) -> None:
    async with open_members(tmp_path, 2) as members:
        one, other = members.running.values()
        hello = {
            "cluster_id": one.config.cluster_id,
            "sender": other.member_id,
            "to": one.member_id,
            "purpose": wire.MESSAGES,
            "client_urls": (),
            **change,
        }
        channel = await dial(one.config.listen_peer_urls[0], None)
        await channel.send(wire.PREFACE + wire.encode_control(wire.Hello(**hello)))
        (payload,) = FrameDecoder(1 << 20).feed(await channel.receive())
        refusal = wire.decode_control(payload)
        assert isinstance(refusal, wire.Refusal)
        assert re.search(reason, refusal.reason)
        assert await channel.receive() == b""
        channel.close()


@pytest.mark.parametrize(
    "opening",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        wire.PREFACE + b"\xff\xff\xff\xff",
        wire.PREFACE + (1 << 20).to_bytes(4),
        wire.PREFACE + (3).to_bytes(4) + b"\xc1\xc1\xc1",
    ],
)
async def test_strangers_at_the_peer_port_are_dropped(tmp_path: Path, opening: bytes) -> None:
    async with open_members(tmp_path, 1) as members:
        (member,) = members.running.values()
        channel = await dial(member.config.listen_peer_urls[0], None)
        await channel.send(opening)
        with trio.fail_after(10):
            assert await channel.receive() == b""
        channel.close()


async def test_members_that_come_up_need_not_wait_until_they_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who connects is there: it is connected to at once, however long the pause before the next attempt."""
    for name in ("FIRST_REDIAL_SECONDS", "MAX_REDIAL_SECONDS"):
        monkeypatch.setattr(peers, name, 3600.0)
    async with open_members(tmp_path, 2, calm=True) as members:
        await members.crash("m2")
        first = members.running["m1"]
        await until(lambda: not first.peers.connected())
        second = members.start("m2")
        await second.ready.wait()
        assert first.peers.connected() == [second.member_id]
