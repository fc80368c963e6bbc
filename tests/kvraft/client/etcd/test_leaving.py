"""A member that stops cleanly says so: its watches go on elsewhere, its calls are answered or asked elsewhere."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import trio
import trio.testing

from kvraft.channel import Channel
from kvraft.client.connection import Connection
from kvraft.client.etcd import EtcdWire
from kvraft.errors import Stopped
from kvraft.types import RangeRequest, RangeResponse, WatchRequest, prefix_end
from kvraft.wire.etcd import rpc_pb2 as pb
from kvraft.wire.grpc import status
from kvraft.wire.grpc.messages import framed
from kvraft.wire.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    ErrorCode,
    frame,
    goaway,
    settings,
)
from tests.kvraft.client.etcd.stores import connect
from tests.kvraft.members import open_members, until

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = (b"w/", prefix_end(b"w/"))
WRITES = 30


async def test_nobody_notices_that_a_member_stops(tmp_path: Path) -> None:
    async with (
        open_members(tmp_path) as members,
        connect(members.urls) as writing,
        connect(members.urls) as watching,
        watching.watch(*PREFIX) as stream,
    ):
        expected = [(await writing.put(b"w/%d" % number, b"v")).revision for number in range(WRITES)]
        asked = next(name for name, url in members.client_urls.items() if url == watching.answering)
        await members.stop(asked)
        expected += [(await writing.put(b"w/%d" % number, b"v")).revision for number in range(WRITES)]
        seen: list[int] = []
        with trio.fail_after(30):
            while len(seen) < len(expected):
                seen += [event.kv.mod_revision for event in (await anext(stream)).events]
        assert seen == expected
        assert watching.answering != members.client_urls[asked]


async def test_a_member_that_says_goodbye_is_left_once_it_has_answered(autojump_clock: trio.testing.MockClock) -> None:
    """As balancers do, and servers that limit how old a connection gets: nothing is closed by them for a while."""
    ours, theirs = socket.socketpair()
    with theirs:
        told: list[object] = []
        answers: list[object] = []
        channel = Channel(ours, server_side=False)
        connection = Connection("http://a:1", channel, EtcdWire, 10.0, 1 << 20)

        async def ask() -> None:
            answers.append(await connection.call(RangeRequest(b"k"), trio.current_time() + 60))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run)
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            connection.watch(WatchRequest(b"k"), lambda what, _: told.append(what))
            theirs.send(settings({}) + goaway(5, ErrorCode.NO_ERROR))
            await until(lambda: bool(told))
            assert isinstance(told[0], Stopped)
            assert not connection.alive
            assert answers == []
            message = framed(pb.RangeResponse(count=3).SerializeToString())
            theirs.send(frame(HEADERS, END_HEADERS, 1, status.HEADERS) + frame(DATA, 0, 1, message))
            theirs.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, status.OK))
            await until(lambda: channel.closed)
        assert answers == [RangeResponse(0, [], 3)]
