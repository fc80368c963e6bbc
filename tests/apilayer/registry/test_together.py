"""Many writes at a time: bounded, all done, the first failure told as it is."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from apilayer.registry.together import AT_ONCE, together


async def test_all_are_done_and_few_at_a_time() -> None:
    running, most, done = 0, 0, []

    async def write(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.lowlevel.checkpoint()
        running -= 1
        done.append(number)
        if number in (3, 7):
            raise ValueError(number)

    with pytest.raises(ValueError, match=r"[37]"):
        await together([partial(write, number) for number in range(2 * AT_ONCE)])
    assert sorted(done) == list(range(2 * AT_ONCE))
    assert most == AT_ONCE
    await together([])
