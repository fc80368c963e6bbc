"""Locks and elections, through the client and as a member's services: one order, one wake-up for each end."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
import trio.testing

from kvraft.client import open_client
from kvraft.embed import open_member
from kvraft.errors import KvraftError, LeaseNotFound, Locked, NobodyElected, NotElected, SessionExpired
from kvraft.recipes import election
from kvraft.recipes import lock as locks
from kvraft.recipes.election import Leadership
from kvraft.server import concurrency
from tests.kvraft.members import open_members, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from kvraft.client import Client
    from kvraft.server.member import Member


@pytest.fixture
async def member(tmp_path: Path) -> AsyncIterator[Member]:
    async with open_member(tmp_path) as opened:
        yield opened


@contextlib.asynccontextmanager
async def waiting_for(client: Client, name: bytes, count: int) -> AsyncIterator[None]:
    """Once there are ``count`` keys under the name."""
    async with client.watch(name + b"/", name + b"0", 1) as stream:
        alive: set[bytes] = set()
        with trio.fail_after(30):
            async for batch in stream:
                for event in batch.events:
                    (alive.discard if event.kind else alive.add)(event.kv.key)
                if len(alive) >= count:
                    break
        yield


async def test_one_at_a_time_in_the_order_of_asking(member: Member) -> None:
    async with open_client(member.client_urls) as client:
        order: list[int] = []
        holders = 0

        async def work(number: int) -> None:
            nonlocal holders
            async with client.lock(b"l") as held:
                holders += 1
                assert holders == 1
                assert (await client.range(held.key)).kvs[0].create_revision == held.created
                order.append(number)
                holders -= 1

        async with trio.open_nursery() as nursery, client.lock(b"l"):
            for number in range(5):
                nursery.start_soon(work, number)
                async with waiting_for(client, b"l", number + 2):
                    pass
            with pytest.raises(Locked, match="mutex: Locked by another session"):
                async with client.lock(b"l", wait=False):
                    pytest.fail("it is taken")
            assert order == []
        assert order == list(range(5))
        assert (await client.range(b"l", b"m")).kvs == []
        assert await client.leases() == []


async def test_whoever_gives_up_leaves_the_queue(member: Member) -> None:
    async with open_client(member.client_urls) as client:
        first, second, third = [(await client.lease_grant(60)).lease_id for _ in range(3)]
        await locks.acquire(client, b"l", first)
        got = trio.Event()

        async def wait(lease_id: int, scope: trio.CancelScope) -> None:
            with scope:
                await locks.acquire(client, b"l", lease_id)
                got.set()

        impatient = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, second, impatient)
            async with waiting_for(client, b"l", 2):
                nursery.start_soon(wait, third, trio.CancelScope())
            async with waiting_for(client, b"l", 3):
                impatient.cancel()
            await locks.release(client, b"l/%x" % first)
            with trio.fail_after(30):
                await got.wait()
        kvs = (await client.range(b"l/", b"l0")).kvs
        assert [(kv.key, kv.lease) for kv in kvs] == [(b"l/%x" % third, third)]


async def test_whoever_loses_its_lease_loses_its_place(member: Member) -> None:
    async with open_client(member.client_urls) as client:
        first, second, third = [(await client.lease_grant(60)).lease_id for _ in range(3)]
        await locks.acquire(client, b"l", first)
        failures: list[KvraftError] = []

        async def wait(lease_id: int) -> None:
            try:
                await locks.acquire(client, b"l", lease_id)
            except KvraftError as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, second)
            async with waiting_for(client, b"l", 2):
                nursery.start_soon(wait, third)
            async with waiting_for(client, b"l", 3):
                await client.lease_revoke(second)
            await client.lease_revoke(first)
        assert [type(failure) for failure in failures] == [SessionExpired]
        assert str(failures[0]) == "mutex: session is expired"
        assert [kv.lease for kv in (await client.range(b"l/", b"l0")).kvs] == [third]
        with pytest.raises(LeaseNotFound):
            await locks.acquire(client, b"l", first)


async def test_an_election_has_one_winner_at_a_time_and_everybody_sees_who(member: Member) -> None:
    async with open_client(member.client_urls) as client:
        with pytest.raises(NobodyElected, match="election: no leader"):
            await client.elected(b"e")
        seen: list[bytes] = []
        both_ran = trio.Event()

        async def watch_all(task_status: trio.TaskStatus[None]) -> None:
            async with client.observe(b"e") as leaders:
                task_status.started()
                async for leader in leaders:
                    seen.append(leader.kv.value)
                    if seen[-1] == b"two":
                        return

        async def second() -> None:
            async with client.campaign(b"e", b"two") as elected:
                assert (await client.elected(b"e")).kv.key == elected.key
                both_ran.set()
                await until(lambda: b"two" in seen)

        async with trio.open_nursery() as nursery:
            await nursery.start(watch_all)
            async with client.campaign(b"e", b"one") as elected:
                await until(lambda: seen == [b"one"])
                nursery.start_soon(second)
                async with waiting_for(client, b"e", 2):
                    await elected.proclaim(b"uno")
                await until(lambda: seen == [b"one", b"uno"])
                assert (await client.elected(b"e")).kv.value == b"uno"
                assert not both_ran.is_set()
            with pytest.raises(NotElected, match="election: not leader"):
                await elected.proclaim(b"late")
        assert seen == [b"one", b"uno", b"two"]
        assert both_ran.is_set()


async def test_running_again_with_the_same_lease_says_something_new(member: Member) -> None:
    async with open_client(member.client_urls) as client:
        lease_id = (await client.lease_grant(60)).lease_id
        first, _ = await election.campaign(client, b"e", lease_id, b"a")
        second, _ = await election.campaign(client, b"e", lease_id, b"b")
        assert first == second
        assert (await client.elected(b"e")).kv.value == b"b"
        await election.resign(client, first)
        await election.resign(client, first)
        with pytest.raises(NobodyElected):
            await client.elected(b"e")


@attrs.define
class Asking:
    """A call of a protocol whose clients know nothing of leaders."""

    congested: bool = False
    forwards: bool = True
    user: object = None

    def hold(self, retry: Callable[[], None]) -> None:
        raise AssertionError


async def test_members_lock_for_their_clients_whichever_is_asked(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members, open_client(members.urls) as client:
        order: list[str] = []

        async def take(name: str, member: Member) -> None:
            held = await concurrency.lock(member, Asking(), b"l", 0)
            order.append(name)
            await concurrency.unlock(member, Asking(), held.key)

        first, *others = sorted(members.running)
        held = await concurrency.lock(members.running[first], Asking(), b"l", 0)
        assert (await client.lease_time_to_live(int(held.key.partition(b"/")[2], 16))).granted_ttl == 60
        async with trio.open_nursery() as nursery:
            for number, name in enumerate(others):
                nursery.start_soon(take, name, members.running[name])
                async with waiting_for(client, b"l", number + 2):
                    pass
            await concurrency.unlock(members.running[first], Asking(), held.key)
        assert order == others
        assert (await client.range(b"l", b"m")).kvs == []


async def test_members_hold_elections_for_their_clients(member: Member) -> None:
    caller = Asking()
    with pytest.raises(KvraftError, match=r"^election: no leader$") as caught:
        await concurrency.leader(member, caller, b"e")
    assert caught.value.code == "Unknown"
    with pytest.raises(KvraftError, match=r'^"leader" field must be provided$'):
        await concurrency.proclaim(member, caller, None, b"x")
    with pytest.raises(KvraftError, match=r"^etcdserver: requested lease not found$") as caught:
        await concurrency.campaign(member, caller, b"e", 404, b"x")
    assert caught.value.code == "Unknown"
    mine, revision = await concurrency.campaign(member, caller, b"e", 0, b"x")
    assert mine.created == revision
    seen = await concurrency.leader(member, caller, b"e")
    assert (seen.kv.key, seen.kv.value, seen.kv.lease) == (mine.key, b"x", mine.lease_id)
    async with contextlib.aclosing(concurrency.observe(member, caller, b"e")) as leaders:
        assert (await anext(leaders)).kv.value == b"x"
        await concurrency.proclaim(member, caller, mine, b"y")
        assert (await anext(leaders)).kv.value == b"y"
    with pytest.raises(KvraftError, match=r"^election: not leader$"):
        await concurrency.proclaim(member, caller, Leadership(b"e", mine.key, mine.created + 1, mine.lease_id), b"z")
    await concurrency.resign(member, caller, mine)
    with pytest.raises(KvraftError, match=r"^election: no leader$"):
        await concurrency.leader(member, caller, b"e")


async def test_a_call_that_is_cancelled_leaves_no_key(member: Member) -> None:
    async with open_client(member.client_urls) as client:
        held = await concurrency.lock(member, Asking(), b"l", 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(concurrency.lock, member, Asking(), b"l", 0)
            async with waiting_for(client, b"l", 2):
                nursery.cancel_scope.cancel()
        assert [kv.key for kv in (await client.range(b"l/", b"l0")).kvs] == [held.key]
