"""A connection of the client's by itself: the test is its wire, and says what is answered."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from kvraft.channel import Channel
from kvraft.client.connection import Connection
from kvraft.errors import ConnectionLost, DeadlineExceeded, NoSpace
from kvraft.types import PutRequest, PutResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kvraft.client.connection import Handle

PUT = PutRequest(b"k", b"v")


class Wire:
    """Sends the ids of requests as they are, and hands on what it is told to."""

    tells_progress = True
    leaving = False

    def __init__(self, channel: Channel, handle: Handle) -> None:
        self._channel = channel
        self.handle = handle
        self.asked: list[bytes] = []
        self.forgotten: list[bytes] = []

    def send(self, request_id: bytes, request: object) -> None:
        self.asked.append(request_id)
        self._channel.queue(request_id)

    def forget(self, request_id: bytes) -> None:
        self.forgotten.append(request_id)

    def receive(self, data: bytes) -> None:
        raise AssertionError(data)

    def answer(self, *answers: tuple[bytes, Any]) -> None:
        self.handle([(request_id, answer, 1) for request_id, answer in answers])


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Connection, Wire, socket.socket]]:
    near, far = socket.socketpair()
    wires: list[Wire] = []

    def wire_of(url: str, channel: Channel, max_request_bytes: int, handle: Handle) -> Wire:
        wires.append(Wire(channel, handle))
        return wires[0]

    with far:
        far.setblocking(False)
        connection = Connection("http://a:1", Channel(near, server_side=False), wire_of, 10.0, 1 << 20)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run)
            yield connection, wires[0], far
            nursery.cancel_scope.cancel()


async def put(connection: Connection, into: list[object], seconds: float = 5.0) -> None:
    try:
        into.append(await connection.call(PUT, trio.current_time() + seconds))
    except (ConnectionLost, DeadlineExceeded, NoSpace) as error:
        into.append(error)


async def test_answers_that_come_together_go_to_whom_they_belong_and_their_ids_are_used_again() -> None:
    async with opened() as (connection, wire, _), trio.open_nursery() as nursery:
        got: list[list[object]] = [[], [], []]
        asked = []  # in the order of ``got``
        for into in got:
            nursery.start_soon(put, connection, into)
            await trio.testing.wait_all_tasks_blocked()
            asked.append(wire.asked[-1])
        wire.answer((asked[2], PutResponse(3)), (asked[0], PutResponse(1)), (asked[1], NoSpace()))
        await trio.testing.wait_all_tasks_blocked()
        assert [got[0], got[2]] == [[PutResponse(1)], [PutResponse(3)]]
        assert isinstance(got[1][0], NoSpace)
        assert wire.forgotten == []
        for into in got:
            nursery.start_soon(put, connection, into)
        await trio.testing.wait_all_tasks_blocked()
        again = wire.asked[3:]
        assert len(set(again)) == 3
        assert {asked[0], asked[2]} < set(again)  # the id of a failed one is not
        assert asked[1] not in again
        wire.answer(*((request_id, PutResponse(4)) for request_id in again))
        await trio.testing.wait_all_tasks_blocked()
        assert [into[1] for into in got] == [PutResponse(4)] * 3


async def test_who_is_cancelled_is_forgotten_and_a_late_answer_goes_to_nobody() -> None:
    async with opened() as (connection, wire, _), trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            scope.cancel()
            await connection.call(PUT, trio.current_time() + 5)
        assert scope.cancelled_caught
        (gone,) = wire.asked
        assert wire.forgotten == [gone]
        got: list[object] = []
        nursery.start_soon(put, connection, got)
        await trio.testing.wait_all_tasks_blocked()
        assert wire.asked[1] != gone
        wire.answer((gone, PutResponse(1)))
        await trio.testing.wait_all_tasks_blocked()
        assert got == []
        wire.answer((wire.asked[1], PutResponse(2)))
        await trio.testing.wait_all_tasks_blocked()
        assert got == [PutResponse(2)]


async def test_a_deadline_ends_the_wait_and_the_id_is_not_used_again(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as (connection, wire, _), trio.open_nursery() as nursery:
        got: list[object] = []
        await put(connection, got, 0.5)
        assert isinstance(got[0], DeadlineExceeded)
        assert wire.forgotten == wire.asked
        nursery.start_soon(put, connection, got)
        await trio.testing.wait_all_tasks_blocked()
        assert wire.asked[1] != wire.asked[0]
        wire.answer((wire.asked[0], PutResponse(1)), (wire.asked[1], PutResponse(2)))
        await trio.testing.wait_all_tasks_blocked()
        assert got[1:] == [PutResponse(2)]


async def test_who_has_no_task_is_told_the_answer_or_what_there_was_instead(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with opened() as (connection, wire, far):
        told: list[object] = []
        connection.begin(PUT, trio.current_time() + 5, told.append)
        wire.answer((wire.asked[0], PutResponse(1)))
        assert told == [PutResponse(1)]  # in that very turn
        for _ in range(2):
            connection.begin(PUT, trio.current_time() + 5, told.append)
        assert wire.asked[1] == wire.asked[0]
        wire.answer((wire.asked[1], NoSpace()))
        await trio.sleep(6)
        assert [type(answer) for answer in told] == [PutResponse, NoSpace, DeadlineExceeded]
        wire.answer((wire.asked[2], PutResponse(2)))  # nobody waits for it any longer
        got: list[object] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(put, connection, got)
            await trio.testing.wait_all_tasks_blocked()
            assert wire.asked[-1] not in wire.asked[:-1]  # ids of what failed are not used again
            connection.begin(PUT, trio.current_time() + 5, told.append)
            far.close()
        assert [type(told[-1]), type(got[0])] == [ConnectionLost, ConnectionLost]
        assert len(told) == 4


@pytest.mark.parametrize("together", [1, 2])
async def test_a_lone_request_leaves_at_once_unless_others_are_about_to_follow(together: int) -> None:
    async with opened() as (connection, wire, far), trio.open_nursery() as nursery:
        got: list[object] = []
        for _ in range(together):
            nursery.start_soon(put, connection, got)
        await trio.testing.wait_all_tasks_blocked()
        assert len(far.recv(100)) == 4 * together
        wire.answer(*((request_id, PutResponse(1)) for request_id in wire.asked))
        slot = connection.begin(PUT, trio.current_time() + 5)
        sent = _received(far)

        async def answer_it() -> None:
            await trio.testing.wait_all_tasks_blocked()
            wire.answer((slot.request_id, PutResponse(2)))

        nursery.start_soon(answer_it)
        assert await slot.wait() == PutResponse(2)
        assert (sent == slot.request_id) is (together == 1)
        assert sent + _received(far) == slot.request_id


def _received(far: socket.socket) -> bytes:
    try:
        return far.recv(100)
    except BlockingIOError:
        return b""


async def test_the_end_of_the_connection_is_everybodys_answer() -> None:
    async with opened() as (connection, wire, far), trio.open_nursery() as nursery:
        got: list[object] = []
        for _ in range(2):
            nursery.start_soon(put, connection, got)
        await trio.testing.wait_all_tasks_blocked()
        far.close()
        await trio.testing.wait_all_tasks_blocked()
        assert [type(answer) for answer in got] == [ConnectionLost] * 2
        assert len(set(wire.asked)) == 2
