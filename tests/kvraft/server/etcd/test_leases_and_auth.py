"""etcd's Lease, Lock, Election and Auth services, asked by grpcio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from kvraft.embed import open_member
from tests.kvraft.members import open_members, until
from tests.kvraft.server.etcd.stubs import Stubs, in_thread, refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kvraft.server.member import Member


@pytest.fixture
async def member(tmp_path: Path) -> AsyncIterator[Member]:
    async with open_member(tmp_path / "data") as member:
        yield member


async def test_leases(member: Member) -> None:
    def converse(stubs: Stubs) -> None:
        granted = stubs.call("Lease/LeaseGrant", TTL=100, ID=7)
        assert (granted.ID, granted.TTL) == (7, 100)
        stubs.call("KV/Put", key=b"a", lease=7)
        told = stubs.call("Lease/LeaseTimeToLive", ID=7, keys=True)
        assert (told.grantedTTL, list(told.keys)) == (100, [b"a"])
        assert [lease.ID for lease in stubs.call("Lease/LeaseLeases").leases] == [7]
        stream = stubs.open("Lease/LeaseKeepAlive")
        kept = stream.ask(ID=7)
        assert (kept.ID, kept.TTL, kept.header.member_id) == (7, 100, member.member_id)
        assert stream.ask(ID=8).TTL == 0  # no such lease is no error
        stream.send(ID=7)
        stream.half_close()
        assert [answer.ID for answer in stream.call] == [7]
        stubs.call("Lease/LeaseRevoke", ID=7)
        assert stubs.call("Lease/LeaseTimeToLive", ID=7).TTL == -1
        with refused("NOT_FOUND", "etcdserver: requested lease not found"):
            stubs.call("Lease/LeaseRevoke", ID=7)

    await in_thread(member.client_urls[0], converse)


async def test_locks(member: Member) -> None:
    def converse(stubs: Stubs) -> None:
        first = stubs.call("v3lockpb.Lock/Lock", name=b"l", lease=stubs.call("Lease/LeaseGrant", TTL=100).ID)
        lease = stubs.call("Lease/LeaseGrant", TTL=100).ID
        method, request = stubs._method("v3lockpb.Lock/Lock")
        waiting = method.future(request(name=b"l", lease=lease), timeout=30)
        trio.from_thread.run(until, lambda: sum(member.machine.watch.statistics().values()) == 1)
        assert not waiting.done()
        stubs.call("v3lockpb.Lock/Unlock", key=first.key)
        second = waiting.result()
        assert second.key != first.key
        assert second.header.revision > first.header.revision
        given_up = method.future(
            request(name=b"l", lease=first and stubs.call("Lease/LeaseGrant", TTL=9).ID), timeout=30
        )
        trio.from_thread.run(until, lambda: sum(member.machine.watch.statistics().values()) == 1)
        given_up.cancel()
        trio.from_thread.run(until, lambda: sum(member.machine.watch.statistics().values()) == 0)

    await in_thread(member.client_urls[0], converse)
    await until(lambda: all(connection.unanswered == 0 for connection in member.connections))


async def test_elections(member: Member) -> None:
    def converse(stubs: Stubs) -> None:
        lease = stubs.call("Lease/LeaseGrant", TTL=100).ID
        observed = stubs.call("v3electionpb.Election/Observe", name=b"e")
        won = stubs.call("v3electionpb.Election/Campaign", name=b"e", lease=lease, value=b"me")
        assert won.leader.lease == lease
        assert stubs.call("v3electionpb.Election/Leader", name=b"e").kv.value == b"me"
        assert next(observed).kv.value == b"me"
        stubs.call("v3electionpb.Election/Proclaim", leader=won.leader, value=b"still me")
        assert next(observed).kv.value == b"still me"
        observed.cancel()
        with refused("UNKNOWN", '"leader" field must be provided'):
            stubs.call("v3electionpb.Election/Resign")
        with refused("UNKNOWN", '"leader" field must be provided'):
            stubs.call("v3electionpb.Election/Proclaim", value=b"x")
        stubs.call("v3electionpb.Election/Resign", leader=won.leader)
        with refused("UNKNOWN", "election: no leader"):
            stubs.call("v3electionpb.Election/Leader", name=b"e")

    await in_thread(member.client_urls[0], converse)


async def test_users_and_what_they_may(member: Member) -> None:
    def converse(stubs: Stubs) -> None:
        def token(name: str) -> Any:
            return [("token", stubs.call("Auth/Authenticate", name=name, password="p" + name).token)]

        for name in ("root", "alice"):
            stubs.call("Auth/UserAdd", name=name, password="p" + name)
        stubs.call("Auth/UserGrantRole", user="root", role="root")
        stubs.call("Auth/RoleAdd", name="r")
        stubs.call("Auth/RoleGrantPermission", name="r", perm={"permType": 2, "key": b"a", "range_end": b"b"})
        stubs.call("Auth/UserGrantRole", user="alice", role="r")
        stubs.call("Auth/AuthEnable")
        root, alice = token("root"), token("alice")
        assert stubs.call("Auth/AuthStatus", metadata=root).enabled
        stubs.call("KV/Put", key=b"a", metadata=alice)
        with refused("PERMISSION_DENIED", "etcdserver: permission denied"):
            stubs.call("KV/Put", key=b"z", metadata=alice)
        with refused("INVALID_ARGUMENT", "etcdserver: user name is empty"):
            stubs.call("KV/Put", key=b"a")
        with refused("UNAUTHENTICATED", "etcdserver: invalid auth token"):
            stubs.call("KV/Put", key=b"a", metadata=[("token", "nonsense")])
        for metadata, code, text in (
            ((), "INVALID_ARGUMENT", "etcdserver: user name is empty"),
            (alice, "PERMISSION_DENIED", "etcdserver: permission denied"),
        ):
            with refused(code, text):
                next(stubs.call("Maintenance/Snapshot", metadata=metadata))
        assert next(stubs.call("Maintenance/Snapshot", metadata=root)).blob
        stream = stubs.open("Watch/Watch", metadata=alice)
        denied = stream.ask(create_request={"key": b"z"})
        assert (denied.watch_id, denied.created, denied.canceled) == (-1, True, True)
        assert denied.cancel_reason == "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
        assert stream.ask(create_request={"key": b"a"}).watch_id == 0
        stream.cancel()
        stubs.call("Auth/AuthDisable", metadata=root)

    await in_thread(member.client_urls[0], converse)


async def test_a_follower_serves_writes_and_renewals(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members:
        leader = await members.leader()
        follower = next(name for name in members.running if name != leader)

        def converse(stubs: Stubs) -> None:
            assert stubs.call("KV/Put", key=b"a", value=b"1").header.member_id == members.running[follower].member_id
            assert stubs.call("KV/Range", key=b"a", serializable=True).kvs[0].value == b"1"
            stubs.call("Lease/LeaseGrant", TTL=100, ID=7)
            stream = stubs.open("Lease/LeaseKeepAlive")
            assert stream.ask(ID=7).TTL == 100
            stream.half_close()

        await in_thread(members.client_urls[follower], converse)
