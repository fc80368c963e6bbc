"""Places of a flow control as a context, for tests."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from apilayer.pipeline.flow_control import Place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from apilayer.pipeline.authentication import User
    from apilayer.pipeline.flow_control import FlowControl
    from apilayer.pipeline.request_info import RequestInfo


@asynccontextmanager
async def held(control: FlowControl, user: User, info: RequestInfo) -> AsyncIterator[Place]:
    """The request has its place while the block runs. Raises StatusError 429 on the way in."""
    place = control.admit(user, info, {})
    if not isinstance(place, Place):
        place = await place
    try:
        yield place
    finally:
        place.leave()
