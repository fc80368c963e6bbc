"""Long work goes on piece by piece: of all that there is, one piece of each kind in each pass of the event loop.

Everything runs on one loop. A piece takes a fraction of a millisecond, and between two of them whoever has less to do
is served, however many long lists are being made and sent. Flows take turns; within a flow the first comes first.
"""

from __future__ import annotations

from collections import deque
from contextvars import ContextVar

import trio

FLOW: ContextVar[str] = ContextVar("flow", default="")
"""Whose work this task does."""


class Turns:
    """Hands out turns. One of each kind for each run of trio, see `turn`."""

    def __init__(self) -> None:
        self._flows: dict[str, deque[trio.Event]] = {}
        """Who waits, by flow; the flow whose turn it is comes first."""
        self._given = False
        self._token = trio.lowlevel.current_trio_token()

    async def take(self, flow: str) -> None:
        """Returns when the next piece of the flow may be done."""
        if not self._given:
            self._given = True
            self._token.run_sync_soon(self._next)
            await trio.lowlevel.checkpoint()
            return
        mine = trio.Event()
        self._flows.setdefault(flow, deque()).append(mine)
        try:
            await mine.wait()
        except trio.Cancelled:
            self._forget(flow, mine)
            raise

    def _forget(self, flow: str, event: trio.Event) -> None:
        waiting = self._flows.get(flow)
        if waiting is not None and event in waiting:
            waiting.remove(event)
            if not waiting:
                del self._flows[flow]

    def _next(self) -> None:
        """In the next pass: to the flow whose turn it is, which goes to the end."""
        if not self._flows:
            self._given = False
            return
        flow = next(iter(self._flows))
        waiting = self._flows.pop(flow)
        waiting.popleft().set()
        if waiting:
            self._flows[flow] = waiting
        self._token.run_sync_soon(self._next)


_MAKING: trio.lowlevel.RunVar[Turns] = trio.lowlevel.RunVar("making")
_SENDING: trio.lowlevel.RunVar[Turns] = trio.lowlevel.RunVar("sending")


async def turn() -> None:
    """Waits for a turn: to be awaited before each piece of long work on an answer."""
    await _of(_MAKING).take(FLOW.get())


async def turn_to_send() -> None:
    """Waits for a turn of another kind: what is being made, in seats that others want, does not wait for readers."""
    await _of(_SENDING).take(FLOW.get())


def _of(kind: trio.lowlevel.RunVar[Turns]) -> Turns:
    try:
        return kind.get()
    except LookupError:
        turns = Turns()
        kind.set(turns)
        return turns
