"""Answers that list many objects, made in pieces so that nobody waits long for the loop."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import trio

from apilayer.pipeline.turns import turn

if TYPE_CHECKING:
    from apilayer.pipeline.request import Response
    from apilayer.registry.listing import Listing
    from apilayer.server.forms import Form

MAX_OBJECTS_AT_ONCE = 20


@cache
def _encoder() -> trio.CapacityLimiter:
    """One thread: several would take the interpreter from the loop more often, and finish no sooner."""
    return trio.CapacityLimiter(1)


async def list_answer(form: Form, listing: Listing) -> Response:
    """The answer; its items are put together only as they are sent."""
    entries = listing.entries
    if len(entries) <= MAX_OBJECTS_AT_ONCE:
        return form.listing(listing)
    if not form.joinable:
        return await trio.to_thread.run_sync(form.listing, listing, limiter=_encoder())
    at_once = form.items_at_once
    items: list[bytes] = []
    for start in range(0, len(entries), at_once):
        if start:
            await turn()
        items += form.items(entries[start : start + at_once])
    return form.answer(listing, items)
