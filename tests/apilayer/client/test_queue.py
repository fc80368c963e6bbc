"""The queue of work: each key once, one worker at a time, later after each failure."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from apilayer.api import status
from apilayer.client.queue import FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, WorkQueue, work


async def test_a_key_is_in_it_once(autojump_clock) -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("a", "b", "a"):
        queue.add(key)
    assert len(queue) == 2
    assert [await queue.take(), await queue.take()] == ["a", "b"]
    assert queue.idle is False, "somebody works"
    queue.done("a")
    queue.done("b")
    assert queue.idle


async def test_what_changes_while_it_is_worked_on_comes_again(autojump_clock) -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    key = await queue.take()
    queue.add("a")
    assert len(queue) == 0, "not to a second worker"
    queue.done(key)
    assert await queue.take() == "a"


async def test_later(autojump_clock) -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("b", 10)
    queue.add_after("a", 5)
    start = trio.current_time()
    assert await queue.take() == "a"
    assert trio.current_time() == pytest.approx(start + 5)
    assert await queue.take() == "b"
    assert trio.current_time() == pytest.approx(start + 10)


async def test_every_worker_that_waits_is_woken(autojump_clock, nursery: trio.Nursery) -> None:
    queue: WorkQueue[str] = WorkQueue()
    found: list[str] = []

    async def one() -> None:
        found.append(await queue.take())

    nursery.start_soon(one)
    nursery.start_soon(one)
    await trio.testing.wait_all_tasks_blocked()
    queue.add("a")
    queue.add("b")
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(found) == ["a", "b"]


def test_failures_wait_longer_and_longer_until_forgiven() -> None:
    queue: WorkQueue[str] = WorkQueue(lambda: 0.0)
    waits = [queue.retry("a") for _ in range(15)]
    assert waits[:3] == pytest.approx([FIRST_RETRY_SECONDS, 2 * FIRST_RETRY_SECONDS, 4 * FIRST_RETRY_SECONDS])
    assert waits[-1] == MAX_RETRY_SECONDS
    queue.forget("a")
    assert queue.retry("a") < 1


def test_many_that_fail_are_spread_out() -> None:
    queue: WorkQueue[int] = WorkQueue(lambda: 0.0)
    waits = [queue.retry(key) for key in range(1000)]
    assert waits == sorted(waits)
    assert waits[-1] >= 15


async def test_work_is_repeated_until_it_succeeds(autojump_clock, nursery: trio.Nursery) -> None:
    queue: WorkQueue[str] = WorkQueue()
    tried: list[float] = []
    finished = trio.Event()

    async def sync(key: str) -> None:
        await trio.lowlevel.checkpoint()
        tried.append(trio.current_time())
        if len(tried) == 1:
            raise status.internal_error("not now")
        if len(tried) == 2:
            raise KeyError(key)
        finished.set()

    nursery.start_soon(work, queue, sync, "test")
    queue.add("a")
    with trio.fail_after(60):
        await finished.wait()
    assert len(tried) == 3
    nursery.cancel_scope.cancel()
