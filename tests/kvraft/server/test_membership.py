"""Members that come and go while the cluster serves, over real sockets and files, and every refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from kvraft.channel import dial
from kvraft.client import open_client
from kvraft.errors import (
    BadLeaderTransferee,
    BadMemberUrls,
    LearnerNotReady,
    MemberNotFound,
    MemberNotLearner,
    NotEnoughStarted,
    NotLeader,
    NotSupportedForLearner,
    OutcomeUnknown,
    PeerUrlExists,
    TooManyLearners,
    Unavailable,
)
from kvraft.server import peers
from kvraft.server.config import ConfigError
from kvraft.server.membership import new_member_id
from kvraft.server.snapshots import next_control
from kvraft.types import (
    MemberAddRequest,
    MemberAddResponse,
    MemberInfo,
    MemberListResponse,
    MemberRemoveRequest,
    MoveLeaderRequest,
    RangeRequest,
)
from kvraft.wire import peer as wire
from kvraft.wire.frames import FrameDecoder
from tests.kvraft.members import open_members, until
from tests.kvraft.server.etcd.stubs import Stubs, in_thread, refused
from tests.kvraft.server.test_forwarding import ask

if TYPE_CHECKING:
    from pathlib import Path

    from kvraft.channel import Channel
    from kvraft.client import Client
    from kvraft.server.member import Member
    from tests.kvraft.members import Members

NOWHERE = "http://127.0.0.1:1"


async def grown(members: Members, client: Client, name: str) -> Member:
    """Add a voter and start it; it has caught up on return."""
    await client.member_add([members.new(name)])
    member = await members.join(name)
    await settled(members)
    return member


async def settled(members: Members) -> None:
    """Everybody has applied the same, no change is under way, and every member has told its name."""
    await until(lambda: all(map(is_at_rest, running(members))))
    await members.published()
    await until(lambda: all(len(m.peers.connected()) == len(m.machine.members) - 1 for m in running(members)))
    await members.applied_everywhere()


def is_at_rest(member: Member) -> bool:
    configuration = member.machine.configuration
    return configuration is not None and not configuration.outgoing


def running(members: Members) -> list[Member]:
    return list(members.running.values())


async def leading(members: Members) -> Member:
    return members.running[await members.leader()]


async def test_a_cluster_grows_from_one_to_three_while_it_serves(tmp_path: Path) -> None:
    async with open_members(tmp_path, 1) as members, open_client(members.urls) as client:
        await client.put(b"before", b"x")
        for name in ("m2", "m3"):
            await grown(members, client, name)
        await client.put(b"after", b"y")
        await members.applied_everywhere()
        found = [member.machine.range(RangeRequest(b"\0", b"\0")).kvs for member in running(members)]
        assert len(found[0]) == 2
        assert found == [found[0]] * 3
        listed = (await client.member_list()).members
        assert sorted(member.name for member in listed) == ["m1", "m2", "m3"]
        assert {member.client_urls[0] for member in listed} == set(members.urls)
        leader = await members.leader()
        await members.crash(leader)  # two of three go on
        async with open_client([url for name, url in members.client_urls.items() if name != leader]) as other:
            await other.put(b"more", b"z")


async def test_a_member_that_joined_restarts_by_itself(tmp_path: Path) -> None:
    async with open_members(tmp_path, 1) as members, open_client(members.urls) as client:
        member = await grown(members, client, "m2")
        await members.stop("m2")
        again = members.start("m2", initial_cluster={"m2": (members.peer_urls["m2"],)})
        assert again.member_id == member.member_id
        await client.put(b"a", b"b")
        await members.applied_everywhere()


async def test_a_removed_follower_ends_itself_and_is_told_when_it_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_members(tmp_path) as members, open_client(members.urls) as client:
        await settled(members)
        leader = await members.leader()
        name = next(name for name in members.running if name != leader)
        member_id = members.running[name].member_id
        listed = await client.member_remove(member_id)
        assert member_id not in {member.member_id for member in listed.members}
        await members.ended(name)
        caplog.clear()
        members.start(name)
        await members.ended(name)
        assert "the member has been permanently removed from the cluster" in caplog.text
        await client.put(b"a", b"b")


async def test_a_member_that_was_away_when_it_was_removed_is_told_by_its_peers(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members, open_client(members.urls) as client:
        await settled(members)
        leader = await members.leader()
        name = next(name for name in members.running if name != leader)
        member_id = members.running[name].member_id
        await members.stop(name)
        await client.member_remove(member_id)
        returned = members.start(name)
        await members.ended(name)
        assert member_id not in returned.machine.removed, "it never heard of it from the log"


async def test_the_leader_is_removed_and_no_write_is_refused_for_long(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members, open_client(members.urls, timeout_seconds=20) as client:
        await settled(members)
        name = await members.leader()
        acknowledged: list[int] = []
        unknown: list[int] = []
        stop = trio.Event()

        async def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                try:
                    await client.put(b"w/%d" % number, b"")
                except OutcomeUnknown:  # it was in the old leader's hands as that ended
                    unknown.append(number)
                else:
                    acknowledged.append(number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await until(lambda: len(acknowledged) > 20)
            await client.member_remove(members.running[name].member_id)
            await members.ended(name)
            reached = len(acknowledged)
            await until(lambda: len(acknowledged) > reached + 20)
            stop.set()
        found = {int(kv.key[2:]) for kv in (await client.range(b"w/", b"w0")).kvs}
        assert set(acknowledged) <= found <= {*acknowledged, *unknown}
        assert len(unknown) <= 1
        assert len((await client.member_list()).members) == 2


def ask_over_grpc_what_learners_serve(stubs: Stubs) -> None:
    for name in ("KV/Range", "Cluster/MemberList", "v3lockpb.Lock/Lock", "grpc.health.v1.Health/Check"):
        with refused("FAILED_PRECONDITION", "etcdserver: rpc not supported for learner"):
            stubs.call(name)
    for name in ("Watch/Watch", "Lease/LeaseKeepAlive"):
        with refused("FAILED_PRECONDITION", "etcdserver: rpc not supported for learner"):
            stubs.open(name).receive()
    assert stubs.call("KV/Range", key=b"a", serializable=True).count == 1
    assert stubs.call("Maintenance/Status").isLearner
    assert len(list(stubs.call("Maintenance/Snapshot"))) > 1


async def test_a_learner_catches_up_serves_what_may_be_old_and_is_promoted(tmp_path: Path) -> None:
    async with open_members(tmp_path, 1) as members, open_client(members.urls) as client:
        await client.put(b"a", b"b")
        added = await client.member_add([members.new("m2")], learner=True)
        assert added.member.is_learner
        with pytest.raises(LearnerNotReady):
            await client.member_promote(added.member.member_id)
        with pytest.raises(TooManyLearners):
            await client.member_add([NOWHERE], learner=True)
        with pytest.raises(PeerUrlExists):  # said first, as in etcd
            await client.member_add(added.member.peer_urls, learner=True)
        await members.join("m2")
        await settled(members)
        async with open_client([members.client_urls["m2"]], timeout_seconds=20) as other:
            assert (await other.range(b"a", serializable=True)).kvs[0].value == b"b"
            assert (await other.status(members.client_urls["m2"])).is_learner
            for refused in (other.put(b"a", b"c"), other.range(b"a"), other.member_list()):
                with pytest.raises(NotSupportedForLearner):
                    await refused
            with pytest.raises(NotSupportedForLearner):
                async with other.watch(b"a"):
                    pass
        await in_thread(members.client_urls["m2"], ask_over_grpc_what_learners_serve)
        with pytest.raises(BadLeaderTransferee):
            await client.move_leader(added.member.member_id)
        listed = await client.member_promote(added.member.member_id)
        assert [member.is_learner for member in listed.members] == [False, False]
        await settled(members)
        with pytest.raises(MemberNotLearner):
            await client.member_promote(added.member.member_id)
        await client.move_leader(added.member.member_id)
        assert await members.leader() == "m2"


async def test_learners_are_promoted_by_themselves_if_asked_for(tmp_path: Path) -> None:
    async with open_members(tmp_path, 1, auto_promote_learners=True) as members, open_client(members.urls) as client:
        added = await client.member_add([members.new("m2")], learner=True)
        await members.join("m2")
        leader = await leading(members)
        await until(lambda: added.member.member_id in leader.machine.configuration.voters)  # type: ignore[union-attr]


async def test_stopping_never_hands_over_to_a_learner(tmp_path: Path) -> None:
    async with open_members(tmp_path, 1) as members, open_client(members.urls) as client:
        await client.member_add([members.new("m2")], learner=True)
        await members.join("m2")
        await settled(members)
        assert members.running["m1"]._heir() == 0


async def test_peer_urls_are_changed_and_peers_follow(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members, open_client(members.urls) as client:
        await settled(members)
        leader = await members.leader()
        name = next(name for name in members.running if name != leader)
        member_id = members.running[name].member_id
        await members.stop(name)
        url = members.new("other")
        members.client_urls.pop("other")
        listed = await client.member_update(member_id, [url])
        assert next(m for m in listed.members if m.member_id == member_id).peer_urls == (url,)
        members.peer_urls[name] = members.peer_urls.pop("other")
        members.start(name)
        await settled(members)


async def test_every_refusal_has_etcds_error(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members, open_client(members.urls, timeout_seconds=20) as client:
        await settled(members)
        leader = await leading(members)
        for urls in ([], ["http://x"], ["unix:///x"], [f"http://h:{port}" for port in range(17)]):
            with pytest.raises(BadMemberUrls, match="etcdserver: given member URLs are invalid"):
                await client.member_add(urls)
        with pytest.raises(BadMemberUrls):
            await client.member_update(leader.member_id, ["ftp://x:1"])
        with pytest.raises(PeerUrlExists):
            await client.member_add([members.peer_urls["m1"]])
        for request in (client.member_remove(7), client.member_update(7, [NOWHERE]), client.member_promote(7)):
            with pytest.raises(MemberNotFound):
                await request
        with pytest.raises(BadLeaderTransferee):
            await client.move_leader(7)
        with pytest.raises(MemberNotLearner):
            await client.member_promote(leader.member_id)
        followers = [name for name, member in members.running.items() if member is not leader]
        await members.stop(followers[0])
        await until(lambda: len(leader.peers.connected()) == 1)
        for change in (MemberAddRequest((NOWHERE,)), MemberRemoveRequest(members.running[followers[1]].member_id)):
            refused = await ask(leader, change)
            assert (type(refused), str(refused)) == (Unavailable, "etcdserver: unhealthy cluster")
        assert len((await client.member_list()).members) == 3


async def test_a_member_that_is_down_may_be_removed_and_replaced(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members, open_client(members.urls) as client:
        await settled(members)
        leader = await members.leader()
        name = next(name for name in members.running if name != leader)
        member_id = members.running[name].member_id
        await members.crash(name)
        await until(lambda: len(members.running[leader].peers.connected()) == 1)
        await client.member_remove(member_id)
        del members.peer_urls[name], members.client_urls[name]
        await grown(members, client, "m4")
        assert len((await client.member_list()).members) == 3


async def test_a_cluster_with_a_member_that_never_started_takes_no_other(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members, open_client(members.urls, timeout_seconds=20) as client:
        await settled(members)
        await client.member_add([NOWHERE])
        assert isinstance(await ask(await leading(members), MemberAddRequest(("http://127.0.0.1:2",))), Unavailable)
        for member in running(members):
            object.__setattr__(member.config, "strict_reconfig_check", False)
        await client.member_add(["http://127.0.0.1:2"])
        assert len((await client.member_list()).members) == 5
        for member in running(members):
            object.__setattr__(member.config, "strict_reconfig_check", True)
        with pytest.raises(NotEnoughStarted):
            await client.member_add(["http://127.0.0.1:3"])


async def test_the_only_member_cannot_be_removed(tmp_path: Path) -> None:
    async with open_members(tmp_path, 1) as members, open_client(members.urls) as client:
        with pytest.raises(NotEnoughStarted):
            await client.member_remove(members.running["m1"].member_id)


async def test_who_is_not_in_the_cluster_cannot_join(tmp_path: Path) -> None:
    async with open_members(tmp_path, 1) as members, open_client(members.urls) as client:
        members.new("m2")
        with pytest.raises(ConfigError, match="member count is unequal"):
            await members.join("m2")
        await client.member_add([NOWHERE], learner=True)
        with pytest.raises(ConfigError, match=r"unmatched member while checking PeerURLs: m2 with http"):
            await members.join("m2")
        with pytest.raises(ConfigError, match="no other member is named"):
            await members.join("m2", initial_cluster={"m2": (members.peer_urls["m2"],)})
        alone = {"m2": (members.peer_urls["m2"],), "m9": (NOWHERE,)}
        with pytest.raises(ConfigError, match="cannot fetch cluster info from peer urls: http"):
            await members.join("m2", initial_cluster=alone)
        assert not (tmp_path / "m2").exists()


async def test_one_survivor_goes_on_alone_with_everything_that_its_disk_has(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members:
        async with open_client(members.urls) as client:
            for number in range(20):
                await client.put(b"%d" % number, b"x")
        survivor = await members.leader()
        ids = {name: member.member_id for name, member in members.running.items()}
        for name in list(members.running):
            await members.crash(name)
        member = members.start(survivor, force_new_cluster=True)
        await member.ready.wait()
        async with open_client([members.client_urls[survivor]]) as client:
            assert (await client.range(b"\0", b"\0", count_only=True)).count == 20
            assert [m.member_id for m in (await client.member_list()).members] == [ids[survivor]]
            other = next(name for name in ids if name != survivor)
            members.start(other)
            await members.ended(other)  # it is told that it has been removed


def test_ids_of_added_members_depend_on_urls_token_and_time() -> None:
    one = new_member_id(("http://b:1", "http://a:1"), "t", 1)
    assert one == new_member_id(("http://a:1", "http://b:1"), "t", 1)
    assert len({one, new_member_id(("http://a:1",), "t", 1), new_member_id(("http://a:1", "http://b:1"), "t", 2)}) == 3


async def test_a_follower_has_the_leader_change_the_members_for_who_wants_that(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members:
        await settled(members)
        leader = await leading(members)
        follower = next(member for member in running(members) if member is not leader)
        added = await ask(follower, MemberAddRequest((NOWHERE,), True))
        assert isinstance(added, MemberAddResponse)
        removed = await ask(follower, MemberRemoveRequest(added.member.member_id))
        assert isinstance(removed, MemberListResponse)
        assert len(removed.members) == 3
        refused = await ask(follower, MoveLeaderRequest(follower.member_id))
        assert isinstance(refused, NotLeader)


async def introduce(
    member: Member, sender: int, urls: tuple[str, ...], cluster_id: int = 0
) -> tuple[Channel, wire.Control]:
    channel = await dial(member.config.listen_peer_urls[0], None)
    hello = wire.Hello(cluster_id or member.cluster_id, sender, member.member_id, wire.MESSAGES, (), "x", urls)
    await channel.send(wire.PREFACE + wire.encode_control(hello))
    return channel, await next_control(channel, FrameDecoder(1 << 20))


async def test_a_sender_that_is_not_known_yet_is_heard_and_can_be_answered(tmp_path: Path) -> None:
    """It may be a member, or the leader, by a change that has not been applied here."""
    async with open_members(tmp_path, 1) as members:
        member = members.running["m1"]
        channel, answer = await introduce(member, 99, (NOWHERE,))
        assert isinstance(answer, wire.Hello)
        assert (member.peers.links[99].foreign, member.peers.links[99].urls) == (True, (NOWHERE,))
        channel.close()
        await until(lambda: 99 not in member.peers.links)


async def test_who_is_let_go_at_the_end_may_be_gone_already(tmp_path: Path) -> None:
    """By the task that keeps a connection to it, or by the one that serves it: whichever ends first."""
    async with open_members(tmp_path, 1) as members:
        member = members.running["m1"]
        channel, _ = await introduce(member, 99, (NOWHERE,))
        link = member.peers.links[99]
        await members.stop("m1")
        channel.close()
        assert 99 not in member.peers.links
        member.peers._let_go(link, 0)


async def test_strangers_without_a_way_back_of_another_cluster_or_in_numbers_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "MAX_FOREIGN", 2)
    async with open_members(tmp_path, 1) as members:
        member = members.running["m1"]
        for sender, urls, cluster_id, reason in (
            (90, (), 0, "is not in this cluster"),
            (91, ("nonsense",), 0, "is not in this cluster"),
            (92, (NOWHERE,), 5, "cluster ID mismatch"),
        ):
            channel, answer = await introduce(member, sender, urls, cluster_id)
            assert isinstance(answer, wire.Refusal)
            assert reason in answer.reason
            assert not answer.removed
            channel.close()
        channels = []
        for sender in (93, 94, 95):
            channel, answer = await introduce(member, sender, (NOWHERE,))
            channels.append(channel)
        assert isinstance(answer, wire.Refusal)
        for channel in channels:
            channel.close()


async def test_a_change_learned_in_the_last_turn_starts_nothing(tmp_path: Path) -> None:
    async with open_members(tmp_path, 1) as members:
        member = members.running["m1"]
        await members.stop("m1")
        member.peers.follow([MemberInfo(99, "", ("http://127.0.0.1:1",))], ())
        assert member.peers.connected() == []
