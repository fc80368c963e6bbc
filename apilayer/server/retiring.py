"""Connections that nothing new uses: closed once what was under way on them must have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Close = Callable[[], Awaitable[None]]

GRACE_SECONDS = 60.0


class Retiring:
    """What is to be closed, each in its time."""

    def __init__(self) -> None:
        self._closing: list[tuple[float, Close]] = []

    def add(self, *closing: Close) -> None:
        """Nothing new uses these."""
        until = trio.current_time() + GRACE_SECONDS
        self._closing += [(until, close) for close in closing]

    async def sweep(self) -> None:
        """Closes those whose time has come."""
        now = trio.current_time()
        due, self._closing = (
            [item for item in self._closing if item[0] <= now],
            [item for item in self._closing if item[0] > now],
        )
        for _, close in due:
            await close()

    async def aclose(self) -> None:
        """Closes all of them."""
        closing, self._closing = self._closing, []
        for _, close in closing:
            await close()
