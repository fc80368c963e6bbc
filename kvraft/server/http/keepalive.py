"""Whether a silent client is still there: asked with a ping of HTTP/2, as ``--grpc-keepalive-interval`` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvraft.server.timers import Timer, Timers


class Keepalive:
    """After ``interval`` seconds without a byte ``ping`` is called, ``timeout`` seconds later ``give_up``."""

    def __init__(
        self,
        timers: Timers,
        clock: Callable[[], float],
        interval: float,
        timeout: float,
        ping: Callable[[], None],
        give_up: Callable[[], None],
    ) -> None:
        self._timers = timers
        self._clock = clock
        self._interval = interval
        self._timeout = timeout
        self._ping = ping
        self._give_up = give_up
        self._last = clock()
        self._asked = False
        self._timer: Timer = timers.at(self._last + interval, self._look)

    def received(self) -> None:
        """The client has sent something."""
        self._last = self._clock()
        self._asked = False

    def stop(self) -> None:
        """The connection is over."""
        self._timer.cancel()

    def _look(self) -> None:
        now = self._clock()
        silent = now - self._last
        if silent < self._interval:
            self._timer = self._timers.at(self._last + self._interval, self._look)
        elif not self._asked:
            self._asked = True
            self._timer = self._timers.at(now + self._timeout, self._look)
            self._ping()
        else:
            self._give_up()
