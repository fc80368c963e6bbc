"""What arrives on many sockets, taken by one task.

A task for each socket costs, whenever something arrives there, its way through trio's loop and two changes to what the
kernel watches; and what has arrived together is not known to be all there is until each of them has run. Here the
kernel goes on watching a socket until it is removed. One task waits for all of them; when there is something it has
everybody take what is theirs, one after the other, and then tells the owner that this was all.
"""

from __future__ import annotations

import selectors
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


class Arrivals:
    """Who takes what arrives where; see the module. ``run`` must be running for anything to be taken."""

    def __init__(self, all_taken: Callable[[], None]) -> None:
        """``all_taken`` is called whenever everything that was there has been taken."""
        self.taking = False
        """Somebody is taking: ``all_taken`` is still to be called."""
        self._all_taken = all_taken
        self._selector = selectors.DefaultSelector()

    def add(self, descriptor: int, take: Callable[[], None]) -> None:
        """Have ``take``, which must neither wait nor raise, called while ``descriptor`` is readable, until it is
        removed. Raises ``OSError`` when the kernel watches too many already."""
        self._selector.register(descriptor, selectors.EVENT_READ, take)

    def remove(self, descriptor: int) -> None:
        """Before it is closed. Nothing happens when it is not there."""
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)

    async def run(self) -> None:
        """Until it is cancelled."""
        select, watched = self._selector.select, self._selector.get_map()
        ours = self._selector.fileno()
        while True:
            await trio.lowlevel.wait_readable(ours)
            self.taking = True
            for key, _ in select(0):
                if watched.get(key.fd) is key:  # else it has been removed a moment ago
                    key.data()
            self.taking = False
            self._all_taken()

    def close(self) -> None:
        """Let go of everything; what is watched is not closed. Not while ``run`` is running."""
        self._selector.close()


class Delivery:
    """Hands what one socket receives to ``take``, until that says with False that it is enough for now, or raises, or
    nothing more comes, or somebody ends it; then it is ``over``.

    ``receive`` gives what has arrived, b"" at the end of the stream, None while there is nothing.
    """

    __slots__ = ("_arrivals", "_descriptor", "_receive", "_take", "at_end", "failure", "over")

    def __init__(
        self,
        receive: Callable[[], bytes | None],
        take: Callable[[bytes], bool],
        arrivals: Arrivals,
        descriptor: int,
    ) -> None:
        self._receive, self._take = receive, take
        self._arrivals, self._descriptor = arrivals, descriptor
        self.at_end = False
        self.failure: Exception | None = None
        self.over = trio.Event()
        arrivals.add(descriptor, self._ready)

    def _ready(self) -> None:
        try:
            data = self._receive()
            if data is None:
                return
            self.at_end = not data
            if self.at_end or not self._take(data):
                self.end()
        except Exception as error:  # whatever it is: it belongs to who waits
            self.end(error)

    def end(self, failure: Exception | None = None) -> None:
        """Once; later ones do nothing."""
        if not self.over.is_set():
            self._arrivals.remove(self._descriptor)
            self.failure = failure
            self.over.set()
