"""What peers send while they are streamed to, mostly that they go away: noticed by one task for all of them.

A task for each, and its wait in trio's loop, would be a seventh of what an idle watch takes.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

AT_ONCE = 64
"""After so many sockets others get their turn."""


class Arrivals:
    """Sockets that nobody waits for. To be closed."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._take: dict[int, Callable[[], bool]] = {}

    def watch(self, fd: int, take: Callable[[], bool]) -> None:
        """From now on `take` takes in what has come on the socket; False: it wants no more. It must not raise."""
        self._epoll.register(fd, select.EPOLLIN)
        self._take[fd] = take

    def forget(self, fd: int) -> None:
        """Ends that, if it has not ended. The socket is still open."""
        if self._take.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    async def run(self) -> None:
        """Notices until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll)
            for fd, _ in self._epoll.poll(0, AT_ONCE):
                take = self._take.get(fd)  # one before it may have ended it
                if take is not None and not take():
                    self.forget(fd)

    def close(self) -> None:
        """Once nothing is to be watched any more, and `run` has ended."""
        self._epoll.close()
