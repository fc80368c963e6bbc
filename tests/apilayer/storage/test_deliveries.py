"""Events that are sent without a task switch: whoever sends them, each goes once and in order."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from apilayer.api.resources import find
from apilayer.api.selectors import parse_field_selector, parse_label_selector
from apilayer.storage import watcher as watcher_module
from apilayer.storage.codec import Codec
from apilayer.storage.deliveries import AT_ONCE, Deliveries
from apilayer.storage.watcher import CachedEvent, Selection, Watcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from apilayer.storage.watcher import Item

PODS = find("", "v1", "pods")
assert PODS is not None
CODEC = Codec(PODS)
EVERYTHING = Selection(parse_label_selector(""), parse_field_selector("", PODS))


def item(revision: int, size: int = 0) -> Item:
    value = CODEC.encode({"metadata": {"name": "a"}, "data": "x" * size})
    return "MODIFIED", CachedEvent(b"/a", revision, CODEC.entry(b"/a", value, revision), None)


class Reader:
    """A task that waits, and a function that sends for it; `by` says who has sent which revision."""

    def __init__(self, deliveries: Deliveries) -> None:
        self.watcher = Watcher(EVERYTHING, (), 0)
        self.watcher.deliver_by(deliveries, self.deliver)
        self.sent: list[int] = []
        self.by: list[str] = []
        self.rests = 0
        self.takes_all = True
        self.fails = False
        self.busy = trio.Event()
        self.busy.set()

    def offer(self, item: Item) -> None:
        Watcher.offer(item, [self.watcher])

    def deliver(self, batch: list[Item]) -> bool:
        if self.fails:
            raise ValueError
        self._send("function", batch)
        return self.takes_all

    def _send(self, who: str, batch: list[Item]) -> None:
        self.sent += [event.revision for _, event in batch]
        self.by += [who] * len(batch)

    async def run(self) -> None:
        while not self.watcher.finished:
            await self.watcher.wait()
            self.rests += self.watcher.held_up
            await self.busy.wait()
            self._send("task", self.watcher.take(3))


@pytest.fixture
async def deliveries() -> AsyncIterator[Deliveries]:
    found = Deliveries()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.run)
        yield found
        nursery.cancel_scope.cancel()


@pytest.fixture
async def reader(deliveries: Deliveries, nursery: trio.Nursery) -> Reader:
    found = Reader(deliveries)
    nursery.start_soon(found.run)
    await trio.testing.wait_all_tasks_blocked()
    return found


async def test_the_task_sleeps_while_events_are_sent(reader: Reader) -> None:
    for revision in range(1, 6):
        reader.offer(item(revision))
        await trio.testing.wait_all_tasks_blocked()
    assert (reader.sent, set(reader.by)) == ([1, 2, 3, 4, 5], {"function"})


async def test_what_comes_together_is_sent_together(deliveries: Deliveries, reader: Reader) -> None:
    batches: list[int] = []

    def deliver(batch: list[Item]) -> bool:
        batches.append(len(batch))
        return True

    reader.watcher.deliver_by(deliveries, deliver)
    for revision in range(1, 6):
        reader.offer(item(revision))
    await trio.testing.wait_all_tasks_blocked()
    assert batches == [5]


async def test_much_is_left_to_the_task(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "MAX_DELIVERED_EVENTS", 2)
    reader.offer(item(1, watcher_module.MAX_DELIVERED_BYTES))
    await trio.testing.wait_all_tasks_blocked()
    for revision in (2, 3, 4):
        reader.offer(item(revision))
    await trio.testing.wait_all_tasks_blocked()
    assert (reader.sent, set(reader.by)) == ([1, 2, 3, 4], {"task"})


async def test_a_task_that_is_sending_takes_the_next_events_itself(reader: Reader) -> None:
    reader.busy = trio.Event()
    reader.watcher.wake()
    await trio.testing.wait_all_tasks_blocked()
    reader.offer(item(1))
    await trio.testing.wait_all_tasks_blocked()
    assert reader.sent == []
    reader.busy.set()
    await trio.testing.wait_all_tasks_blocked()
    assert (reader.sent, reader.by) == ([1], ["task"])


async def test_what_fails_fails_in_the_task_alone(reader: Reader) -> None:
    reader.fails = True
    reader.offer(item(1))
    await trio.testing.wait_all_tasks_blocked()
    reader.fails = False
    reader.offer(item(2))
    await trio.testing.wait_all_tasks_blocked()
    assert (reader.sent, reader.by) == ([1, 2], ["task", "function"])


async def test_the_task_sees_to_what_could_not_be_sent_whole(reader: Reader) -> None:
    reader.takes_all = False
    reader.offer(item(1))
    await trio.testing.wait_all_tasks_blocked()
    assert (reader.sent, reader.by, reader.rests) == ([1], ["function"], 1)


async def test_a_reader_that_leaves_is_sent_nothing_more(deliveries: Deliveries) -> None:
    reader = Reader(deliveries)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.run)
        await trio.testing.wait_all_tasks_blocked()
        reader.offer(item(1))
        nursery.cancel_scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert reader.sent == []


async def test_others_have_their_turn_between_many(deliveries: Deliveries, nursery: trio.Nursery) -> None:
    readers = [Reader(deliveries) for _ in range(2 * AT_ONCE + 1)]
    for reader in readers:
        nursery.start_soon(reader.run)
    await trio.testing.wait_all_tasks_blocked()
    for reader in readers:
        reader.offer(item(1))
    steps = []
    while len(served := [reader for reader in readers if reader.sent]) < len(readers):
        steps.append(len(served))
        await trio.lowlevel.checkpoint()
    assert any(0 < step < len(readers) for step in steps)


@pytest.mark.parametrize("seed", range(20))
async def test_each_event_goes_once_and_in_order(deliveries: Deliveries, nursery: trio.Nursery, seed: int) -> None:
    rnd = random.Random(seed)
    readers = [Reader(deliveries) for _ in range(4)]
    for reader in readers:
        nursery.start_soon(reader.run)
    for revision in range(1, 120):
        for reader in readers:
            reader.offer(item(revision, rnd.choice((0, 0, 30_000))))
            reader.takes_all, reader.fails = rnd.random() < 0.8, rnd.random() < 0.2
            if rnd.random() < 0.1:
                reader.watcher.wake()
            if reader.busy.is_set() and rnd.random() < 0.2:
                reader.busy = trio.Event()
            elif rnd.random() < 0.5:
                reader.busy.set()
        if rnd.random() < 0.5:
            await trio.lowlevel.checkpoint()
    for reader in readers:
        reader.busy.set()
        reader.watcher.close()
    await trio.testing.wait_all_tasks_blocked()
    assert [reader.sent for reader in readers] == [list(range(1, 120))] * 4
    assert {who for reader in readers for who in reader.by} == {"function", "task"}
