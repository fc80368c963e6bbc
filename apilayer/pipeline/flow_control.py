"""How many requests run at once: a bound for reads, one for writes; watches do not count. No queues."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from apilayer.api import status

if TYPE_CHECKING:
    from collections.abc import Iterator

_READ_ONLY = frozenset({"get", "list", "watch", "head", "options"})
MESSAGE = "Too many requests, please try again later."


class InFlightLimit:
    """Counts running requests; 0 means no bound."""

    def __init__(self, max_read_only: int, max_mutating: int) -> None:
        self._max = (max_read_only, max_mutating)
        self.running = [0, 0]
        """Read-only and mutating requests that are being handled now."""

    @contextmanager
    def admitted(self, verb: str) -> Iterator[None]:
        """Counts the request while it runs. Raises StatusError 429 when there are too many."""
        kind = 0 if verb in _READ_ONLY else 1
        limit = self._max[kind]
        if limit and self.running[kind] >= limit:
            raise status.too_many_requests(MESSAGE)
        self.running[kind] += 1
        try:
            yield
        finally:
            self.running[kind] -= 1
