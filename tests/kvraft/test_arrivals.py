"""Everything that is there is taken in one go, and nobody is called who is gone."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from kvraft.arrivals import Arrivals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATIENCE_SECONDS = 10.0


class Told:
    """What has been taken, and where everything was."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.arrivals = Arrivals(lambda: self.events.append("all"))
        self.pipes: dict[str, tuple[int, int]] = {}

    def pipe(self, name: str) -> None:
        self.pipes[name] = os.pipe2(os.O_NONBLOCK)
        self.arrivals.add(self.pipes[name][0], lambda: self.take(name))

    def take(self, name: str) -> None:
        assert self.arrivals.taking
        os.read(self.pipes[name][0], 1)
        self.events.append(name)

    def write(self, *names: str) -> None:
        for name in names:
            os.write(self.pipes[name][1], b"x")

    async def until(self, rounds: int) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            while self.events.count("all") < rounds:
                await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()


@pytest.fixture
async def told() -> AsyncIterator[Told]:
    told = Told()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(told.arrivals.run)
        await trio.testing.wait_all_tasks_blocked()
        yield told
        nursery.cancel_scope.cancel()
    told.arrivals.close()
    for descriptor in sum(told.pipes.values(), ()):
        with contextlib.suppress(OSError):
            os.close(descriptor)


async def test_what_is_there_together_is_taken_together(told: Told) -> None:
    for name in "abc":
        told.pipe(name)
    told.write("a", "c")
    await told.until(1)
    assert sorted(told.events[:-1]) == ["a", "c"]
    assert told.events[-1] == "all"
    assert not told.arrivals.taking


async def test_what_is_left_comes_again(told: Told) -> None:
    told.pipe("a")
    told.write("a", "a")
    await told.until(2)
    assert told.events == ["a", "all"] * 2


async def test_who_is_removed_hears_nothing_more(told: Told) -> None:
    """Not even what was there already, and not when another has got the same descriptor."""
    for name in "ab":
        told.pipe(name)
    take = told.take

    def first(name: str) -> None:
        take(name)
        other = "b" if name == "a" else "a"
        told.arrivals.remove(told.pipes[other][0])
        os.close(told.pipes[other][0])
        told.pipes["new"] = os.pipe2(os.O_NONBLOCK)
        told.arrivals.add(told.pipes["new"][0], lambda: take("new"))
        assert told.pipes["new"][0] == told.pipes[other][0]

    told.take = first  # type: ignore[method-assign]
    told.write("a", "b")
    await told.until(1)
    assert told.events in (["a", "all"], ["b", "all"])
    told.write("new")
    await told.until(2)
    assert told.events[2:] == ["new", "all"]


async def test_removing_twice_is_removing(told: Told) -> None:
    told.pipe("a")
    told.arrivals.remove(told.pipes["a"][0])
    told.arrivals.remove(told.pipes["a"][0])
    told.write("a")
    await trio.testing.wait_all_tasks_blocked()
    assert not told.events


async def test_the_end_of_a_socket_is_an_arrival(told: Told) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        received: list[bytes] = []

        def take() -> None:
            received.append(ours.recv(1))
            told.arrivals.remove(ours.fileno())

        told.arrivals.add(ours.fileno(), take)
        theirs.close()
        await told.until(1)
        assert received == [b""]
