"""One timer wakes every watcher at its time."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import trio
import trio.testing

from apilayer.api.resources import find
from apilayer.api.selectors import parse_field_selector, parse_label_selector
from apilayer.storage.alarms import Alarms
from apilayer.storage.watcher import Selection, Watcher

if TYPE_CHECKING:
    from trio.testing import MockClock

PODS = find("", "v1", "pods")
assert PODS is not None


def watcher() -> Watcher:
    assert PODS is not None
    return Watcher(Selection(parse_label_selector(""), parse_field_selector("", PODS)), (), 0)


async def test_each_is_woken_at_its_time(autojump_clock: MockClock) -> None:
    alarms, woken = Alarms(), []
    begun = trio.current_time()

    async def wait(name: str, seconds: float) -> None:
        waiting = watcher()
        alarms.at(begun + seconds, waiting)
        await waiting.wait()
        woken.append((name, round(trio.current_time() - begun, 3)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarms.run)
        await trio.testing.wait_all_tasks_blocked()
        for name, seconds in (("late", 50.0), ("soon", 2.0), ("between", 7.5)):
            nursery.start_soon(wait, name, seconds)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert woken == [("soon", 2.0), ("between", 7.5), ("late", 50.0)]


async def test_watchers_that_are_gone_are_forgotten(autojump_clock: MockClock) -> None:
    alarms = Alarms()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarms.run)
        alarms.at(trio.current_time() + 1, watcher())
        gc.collect()
        stays = watcher()
        alarms.at(trio.current_time() + 2, stays)
        await stays.wait()
        nursery.cancel_scope.cancel()
