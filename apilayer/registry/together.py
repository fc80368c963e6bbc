"""Many writes at a time, so that the store commits them together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

AT_ONCE = 128


async def together(writes: Sequence[Callable[[], Awaitable[object]]]) -> None:
    """Runs all of them, at most AT_ONCE at a time, begun in the order given. All are done when it returns.

    Raises the first error that there was, as it is; the others are done all the same.
    """
    waiting = iter(writes)
    failures: list[Exception] = []

    async def work() -> None:
        for write in waiting:
            try:
                await write()
            except Exception as error:
                failures.append(error)

    async with trio.open_nursery() as nursery:
        for _ in range(min(AT_ONCE, len(writes))):
            nursery.start_soon(work)
    if failures:
        raise failures[0]
