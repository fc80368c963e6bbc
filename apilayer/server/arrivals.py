"""What peers send while they are streamed to, mostly that they go away: noticed by one task for all of them.

A task for each, and its wait in trio's loop, would be a seventh of what an idle watch takes.
"""

from __future__ import annotations

import selectors
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

AT_ONCE = 64
"""After so many sockets others get their turn."""


class Arrivals:
    """Sockets that nobody waits for. To be closed."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def watch(self, fd: int, take: Callable[[], bool]) -> None:
        """From now on `take` takes in what has come on the socket; False: it wants no more. It must not raise."""
        self._selector.register(fd, selectors.EVENT_READ, take)

    def forget(self, fd: int) -> None:
        """Ends that, if it has not ended. The socket is still open."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    async def run(self) -> None:
        """Notices until cancelled."""
        watched = self._selector.get_map()
        while True:
            await trio.lowlevel.wait_readable(self._selector)
            for place, (key, _) in enumerate(self._selector.select(0), 1):
                if watched.get(key.fd) is key and not key.data():  # one before it may have ended it
                    self.forget(key.fd)
                if not place % AT_ONCE:
                    await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Once nothing is to be watched any more, and `run` has ended."""
        self._selector.close()
