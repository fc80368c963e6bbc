"""Requests that cannot be answered where they arrive: each runs as a task of the member's nursery, up to a bound."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from kvraft.errors import KvraftError, Stopped, TooManyRequests

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kvraft.server.member import Member
    from kvraft.server.service import Answer
    from kvraft.types import Response

MAX_WAITING = 256
"""Past it: TooManyRequests."""


def of_task(member: Member, answer: Answer) -> Answer:
    """``answer`` for a task, which answers between the member's turns: what it queues leaves with the next, at once."""

    def answered(found: Response | KvraftError) -> None:
        answer(found)
        member.wake.set()

    return answered


class Waiting:
    """One member's such requests."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._running = 0

    def start(self, answer: Answer, work: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Run ``work`` as a task; ``answer`` gets what it raises. Raises TooManyRequests."""
        if self._running >= MAX_WAITING:
            raise TooManyRequests
        self._running += 1
        self._member.spawn(self._run, answer, work, arguments)

    async def _run(self, answer: Answer, work: Callable[..., Awaitable[None]], arguments: tuple[Any, ...]) -> None:
        try:
            await work(*arguments)
        except KvraftError as error:
            answer(error)
        except trio.Cancelled:
            answer(Stopped())
            raise
        finally:
            self._running -= 1
            self._member.wake.set()

    async def catch_up(self) -> None:
        """Return once everything that was committed before is applied here. Raises why it cannot be."""
        await self.call(partial(self._member.driver.read, waits=True))

    async def call(self, begin: Callable[[Callable[[Any], None]], None]) -> Any:
        """What ``begin`` gives to the waiter that it gets. Raises what is an error."""
        got: list[Any] = []
        done = trio.Event()

        def waiter(answer: Any) -> None:
            got.append(answer)
            done.set()

        begin(waiter)
        self._member.wake.set()
        await done.wait()
        if isinstance(got[0], KvraftError):
            raise got[0]
        return got[0]
