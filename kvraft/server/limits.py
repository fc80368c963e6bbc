"""How many clients may be connected at once: bounded by the files that the process may open, as in etcd."""

from __future__ import annotations

import logging
import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from kvraft.logs import Throttle, fields
from kvraft.server.tls import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvraft.server.observe.counters import Counters

log = logging.getLogger(__name__)

RESERVED_FILES = 150
"""For the disk, the peers, and whoever wants to see how the member is."""
LINES_EVERY_SECONDS = 1.0


def connection_limit(configured: int) -> int:
    """The bound; ``configured`` 0 means what the limit of open files leaves. Raises ``ConfigError`` when it is too low.

    The soft limit is raised to the hard one, as Go's runtime does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard <= RESERVED_FILES:
        raise ConfigError(
            "file descriptor limit of kvraft process is too low; please set higher "
            f"(limit {hard}, recommended {RESERVED_FILES} and one for each client)"
        )
    return min(configured or hard, hard - RESERVED_FILES)


class Gate:
    """Lets connections in as long as there is room. Those that have to wait do so in the kernel's queue."""

    def __init__(self, limit: int, counters: Counters) -> None:
        self._limit = limit
        self._counters = counters
        self._room = trio.Event()
        self._lines = Throttle(LINES_EVERY_SECONDS)

    async def wait_for_room(self) -> None:
        """Return at once, unless there are as many connections as there may be."""
        while self._counters.client_connections >= self._limit:
            self._counters.client_waits += 1
            skipped = self._lines.skipped_since_last()
            if skipped is not None:
                log.warning("too many client connections; new ones wait", extra=fields(limit=self._limit))
            self._room = trio.Event()
            await self._room.wait()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Count one connection."""
        self._counters.client_connections += 1
        try:
            yield
        finally:
            self._counters.client_connections -= 1
            self._room.set()
