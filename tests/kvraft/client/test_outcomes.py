"""What a client says about requests whose connection fails them: nothing is done twice, nothing certain is in doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from kvraft.channel import Channel, accept, listen
from kvraft.client import Patience, open_client
from kvraft.embed import open_member
from kvraft.errors import ConnectionLost, DeadlineExceeded, KvraftError, NotLeader, OutcomeUnknown, Unavailable
from kvraft.types import RangeRequest, RangeResponse
from kvraft.wire import native
from kvraft.wire.frames import FrameDecoder
from tests.kvraft.client.proxy import open_proxy
from tests.kvraft.members import open_members, until
from tests.ports import free_ports

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kvraft.client import Client
    from kvraft.server.member import Member


@pytest.fixture
async def member(tmp_path: Path) -> AsyncIterator[Member]:
    async with open_member(tmp_path / "data") as member:
        yield member


async def _put(client: Client, key: bytes, raised: list[KvraftError]) -> None:
    try:
        await client.put(key, b"v")
    except KvraftError as error:
        raised.append(error)


async def test_a_write_whose_answer_is_lost_is_not_repeated(member: Member) -> None:
    async with (
        open_client(member.client_urls) as direct,
        open_proxy(member.client_urls[0]) as proxy,
        open_client([proxy.url, member.client_urls[0]]) as client,
    ):
        for number in range(10):
            key = b"k%d" % number
            if number % 2:
                await client.range(key)  # there is a connection already; else the write looks for one
            proxy.lose_answers, lost = True, proxy.lost_bytes
            raised: list[KvraftError] = []

            async with trio.open_nursery() as nursery:
                nursery.start_soon(_put, client, key, raised)
                await until(lambda lost=lost: proxy.lost_bytes > lost)  # type: ignore[misc]
                proxy.cut()
            proxy.lose_answers = False
            (error,) = raised
            assert isinstance(error, ConnectionLost)
            assert not error.definite
            (kv,) = (await direct.range(key)).kvs
            assert kv.version == 1
            client._preferred = proxy.url  # the next one goes through the proxy again
            client._current = None


async def test_a_read_whose_answer_is_lost_is_asked_again(member: Member) -> None:
    async with open_proxy(member.client_urls[0]) as proxy, open_client([proxy.url, member.client_urls[0]]) as client:
        await client.put(b"k", b"v")
        proxy.lose_answers = True
        answers: list[int] = []

        async def read() -> None:
            answers.append((await client.range(b"k")).count)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await until(lambda: proxy.lost_bytes > 0)
            proxy.cut()
        assert answers == [1]


async def test_a_silent_member_costs_one_write_not_all_that_follow(member: Member) -> None:
    async with (
        open_proxy(member.client_urls[0]) as proxy,
        open_client([proxy.url, member.client_urls[0]], timeout_seconds=1.5) as client,
    ):
        await client.put(b"k", b"v")
        proxy.freeze()
        with pytest.raises((DeadlineExceeded, ConnectionLost)):
            await client.put(b"k", b"w")
        for _ in range(3):
            await client.put(b"l", b"x")
        assert proxy.connections == 1


async def test_a_read_moves_on_from_a_silent_member_in_time(member: Member) -> None:
    async with (
        open_proxy(member.client_urls[0]) as proxy,
        open_client([proxy.url, member.client_urls[0]], timeout_seconds=2.5) as client,
    ):
        await client.put(b"k", b"v")
        proxy.freeze()
        assert (await client.range(b"k")).count == 1


async def test_the_time_limit_holds_for_everything_together(member: Member) -> None:
    async with open_proxy(member.client_urls[0]) as proxy, open_client([proxy.url], timeout_seconds=0.2) as client:
        proxy.freeze()
        for call in (client.put(b"k", b"v"), client.range(b"k"), client.status(proxy.url)):
            before = trio.current_time()
            with pytest.raises(OutcomeUnknown):
                await call
            assert trio.current_time() - before < 2  # not the sum of several limits with retries, and no hanging


async def test_a_cancelled_caller_leaves_the_connection_to_the_others(member: Member) -> None:
    async with open_proxy(member.client_urls[0]) as proxy, open_client([proxy.url]) as client:
        await client.put(b"k", b"0")
        proxy.freeze()
        done: list[int] = []

        async def write(number: int) -> None:
            await client.put(b"k%d" % number, b"v")
            done.append(number)

        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(write, 1)
                async with trio.open_nursery() as cancelled:
                    for number in (2, 3):
                        cancelled.start_soon(write, number)
                    await trio.testing.wait_all_tasks_blocked()
                    scope.cancel()
            nursery.start_soon(write, 4)
            proxy.thaw()
        assert sorted(done) == [1, 4]
        assert proxy.connections == 1
        assert client._current is not None
        assert not client._current._pending
        assert (await client.range(b"k2")).count == 1  # a cancelled caller takes nothing back


async def test_who_has_no_task_is_told_once_or_not_at_all(member: Member) -> None:
    told: list[object] = []
    question = RangeRequest(b"k", count_only=True)
    async with open_proxy(member.client_urls[0]) as proxy, open_client([proxy.url]) as client:
        assert not client.ask(question, 1.0, told.append)  # there is no connection yet
        revision = (await client.put(b"k", b"v")).revision
        assert client.ask(question, 1.0, told.append)
        await until(lambda: bool(told))
        assert [answer.revision for answer in told if isinstance(answer, RangeResponse)] == [revision]
        proxy.freeze()
        assert client.ask(question, 60.0, told.append)
        proxy.cut()
        await until(lambda: len(told) == 2)
        assert isinstance(told[1], ConnectionLost)
        assert not client.ask(question, 1.0, told.append)
    assert len(told) == 2


async def test_a_leader_that_cannot_be_reached_is_not_asked_for_without_pause() -> None:
    """The member answers every write with the URL of a leader that is gone, as followers do until they notice."""
    (gone,) = free_ports(1)
    asked = 0

    async def serve(sock: socket.socket) -> None:
        nonlocal asked
        channel = Channel(sock, server_side=True)
        frames = FrameDecoder(1 << 20)
        data = (await channel.receive()).removeprefix(native.PREFACE)
        while data:
            for payload in frames.feed(data):
                asked += 1
                error = NotLeader(leader=f"http://127.0.0.1:{gone}")
                await channel.send(native.encode_answer(payload[: native.ID_BYTES], native.to_failure(error)))
            data = await channel.receive()
        channel.close()

    async with trio.open_nursery() as nursery:
        (listener,) = listen("http://127.0.0.1:0")
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        async def accept_all() -> None:
            async for sock in accept(listener):
                nursery.start_soon(serve, sock)

        nursery.start_soon(accept_all)
        async with open_client([url], timeout_seconds=0.5) as client:
            with pytest.raises(Unavailable) as caught:
                await client.put(b"k", b"v")
            assert caught.value.definite
        nursery.cancel_scope.cancel()
        listener.close()
    assert 2 <= asked < 30


async def test_followers_name_the_leader_and_the_client_goes_there(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members:
        leader = await members.leader()
        followers = [url for name, url in members.client_urls.items() if name != leader]
        async with open_client(followers) as client:
            await client.put(b"k", b"v")
            assert client._current is not None
            assert client._current.url == members.client_urls[leader]


async def test_a_crash_of_the_leader_under_load_doubles_nothing(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members, open_client(members.urls) as client:
        acknowledged: dict[bytes, int] = {}
        unknown: set[bytes] = set()
        stop = trio.Event()

        async def write(place: int) -> None:
            number = 0
            while not stop.is_set():
                number += 1
                key = b"w/%d/%d" % (place, number)
                try:
                    acknowledged[key] = (await client.put(key, b"v")).revision
                except KvraftError as error:
                    assert not error.definite, error
                    unknown.add(key)

        async with trio.open_nursery() as nursery:
            for place in range(8):
                nursery.start_soon(write, place)
            await until(lambda: len(acknowledged) > 50)
            await members.crash(await members.leader())
            before = len(acknowledged)
            await until(lambda: len(acknowledged) > before + 50)
            stop.set()
        found = {kv.key: kv for kv in (await client.range(b"w/", b"w0")).kvs}
        assert set(acknowledged) <= set(found) <= set(acknowledged) | unknown
        assert all(kv.version == 1 for kv in found.values())
        assert all(found[key].mod_revision == revision for key, revision in acknowledged.items())


@pytest.mark.slow
async def test_a_silent_member_is_waited_for_as_long_as_was_said(member: Member) -> None:
    for patience, raised in ((Patience(3.0, 0.1, 0.1), ConnectionLost), (Patience(3.0, 30.0, 30.0), DeadlineExceeded)):
        async with (
            open_proxy(member.client_urls[0]) as proxy,
            open_client([proxy.url], timeout_seconds=1.0, patience=patience) as client,
        ):
            await client.put(b"k", b"v")
            proxy.freeze()
            with pytest.raises(raised):
                await client.status(proxy.url)
