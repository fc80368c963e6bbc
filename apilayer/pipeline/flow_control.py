"""How many requests run at once. This is the simple mode: a bound for reads and one for writes, without queues.

`apilayer.pipeline.fairness` is the other mode. Both are a `FlowControl`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from apilayer.api import status

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from apilayer.pipeline.authentication import User
    from apilayer.pipeline.request import Headers
    from apilayer.pipeline.request_info import RequestInfo
    from apilayer.registry.options import Query

READ_ONLY = frozenset({"get", "list", "watch", "head", "options"})
LONG_RUNNING = frozenset({"attach", "exec", "log", "portforward", "proxy"})
"""Subresources whose requests last as long as the client likes: they are not counted."""
DEFAULT_READS, DEFAULT_WRITES = 400, 200
MESSAGE = "Too many requests, please try again later."


class Place(msgspec.Struct, eq=False):
    """A request's permission to run, until it leaves."""

    headers: Headers = ()
    """What every answer of the request carries."""
    waited_seconds: float = 0.0
    """How long the request has waited for it."""

    def leave(self) -> None:
        """Gives the place to somebody else."""


class FlowControl(Protocol):
    """Decides who runs. `running` counts read-only and mutating requests that are being handled now."""

    running: list[int]

    def admit(self, user: User, info: RequestInfo, query: Query) -> Place | Awaitable[Place]:
        """The request's place, which it has then to leave; to be awaited where it is not free at once.

        Raises StatusError 429.
        """


def is_uncounted(info: RequestInfo) -> bool:
    """Whether the request is one that lasts and is no watch."""
    return info.subresource in LONG_RUNNING or info.verb == "proxy"


class InFlightLimit:
    """Counts running requests; 0 means no bound. A watch counts until it has begun."""

    def __init__(self, max_read_only: int, max_mutating: int) -> None:
        self._max = (max_read_only, max_mutating)
        self.running = [0, 0]

    def admit(self, user: User, info: RequestInfo, query: Query) -> Place:
        """See `FlowControl.admit`. Raises StatusError 429 when there are too many."""
        del user, query
        if is_uncounted(info):
            return Place()
        kind = 0 if info.verb in READ_ONLY else 1
        limit = self._max[kind]
        if limit and self.running[kind] >= limit:
            raise status.too_many_requests(MESSAGE)
        self.running[kind] += 1
        return _Counted(running=self.running, kind=kind)


class _Counted(Place, kw_only=True):
    running: list[int]
    kind: int

    def leave(self) -> None:
        self.running[self.kind] -= 1
