"""The paths that operators ask for, whichever listener they come to. All of them are for GET alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.server.observe.health import CHECKS, checks, health, version

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kvraft.server.member import Member
    from kvraft.server.observe.health import Query, Reply

    Handler = Callable[[str, Query, Member], Awaitable[Reply]]


async def metrics(path: str, query: Query, member: Member) -> Reply:
    """``/metrics``; what makes them is only imported when somebody asks."""
    from kvraft.server.observe.metrics import CONTENT_TYPE, exposition

    return 200, CONTENT_TYPE, exposition(member)


ROUTES: dict[str, Handler] = {
    "/health": health,
    "/version": version,
    "/metrics": metrics,
    **dict.fromkeys(CHECKS, checks),
    **{f"{root}/{name}": checks for root, names in CHECKS.items() for name in names},
}
"""By the whole path."""
