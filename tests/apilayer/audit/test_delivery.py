"""Blocking and batched delivery: what is bounded, dropped, counted, refused, and written at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from apilayer.audit import delivery
from apilayer.audit.counts import AuditCounts
from apilayer.audit.delivery import Batched, BatchOptions, Blocking, TokenBucket, WriteError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Shelf:
    """A writer into memory, with the time of each batch; `broken` says why it fails, `door` holds it up."""

    name = "shelf"

    def __init__(self, *, parallel: bool = False, immediate: bool = False) -> None:
        self.parallel = parallel
        self.immediate = immediate
        self.batches: list[list[bytes]] = []
        self.times: list[float] = []
        self.broken = ""
        self.door = trio.Event()
        self.door.set()
        self.under_way = 0
        self.most = 0

    def write_now(self, parts: Sequence[bytes]) -> bool:
        if self.immediate:
            self._put(parts)
        return self.immediate

    async def write(self, parts: Sequence[bytes]) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.door.wait()
        finally:
            self.under_way -= 1
        self._put(parts)

    def _put(self, parts: Sequence[bytes]) -> None:
        if self.broken:
            raise WriteError(self.broken)
        self.batches.append(list(parts))
        self.times.append(trio.current_time())

    async def run(self) -> None:
        await trio.sleep_forever()

    async def aclose(self) -> None:
        pass


def batched(shelf: Shelf, counts: AuditCounts, **options: float) -> Batched:
    chosen = {"buffer_size": 10, "max_size": 3, "max_wait": 30.0} | options
    return Batched(shelf, BatchOptions(**chosen), counts)  # type: ignore[arg-type]


@pytest.fixture
def counts() -> AuditCounts:
    return AuditCounts()


@pytest.mark.parametrize("immediate", [True, False])
@pytest.mark.parametrize("strict", [True, False])
async def test_a_request_waits_for_its_event(counts: AuditCounts, immediate: bool, strict: bool) -> None:
    shelf = Shelf(immediate=immediate)
    blocking = Blocking(shelf, counts, strict=strict)
    assert await blocking.take(b"a")
    shelf.broken = "No space left on device"
    assert await blocking.take(b"b") is not strict
    assert shelf.batches == [[b"a"]]
    assert counts.errors == {"shelf": 1}


async def test_what_nobody_waits_for_is_written_beside(counts: AuditCounts, monkeypatch) -> None:
    monkeypatch.setattr(delivery, "MAX_UNAWAITED", 2)
    shelf = Shelf()
    blocking = Blocking(shelf, counts, strict=True)
    for part in (b"a", b"b", b"c"):
        blocking.take_soon(part)
    assert counts.errors == {"shelf": 1}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(blocking.run)
        await wait_all_tasks_blocked()
        assert shelf.batches == [[b"a"], [b"b"]]
        blocking.take_soon(b"d")
        nursery.cancel_scope.cancel()
    assert shelf.batches[-1] == [b"d"]


async def test_an_event_whose_request_is_over_is_counted(counts: AuditCounts, autojump_clock) -> None:
    shelf = Shelf()
    shelf.door = trio.Event()
    with trio.move_on_after(1):
        await Blocking(shelf, counts, strict=False).take(b"a")
    assert counts.errors == {"shelf": 1}


async def test_batches_by_size_and_by_time(counts: AuditCounts, autojump_clock) -> None:
    shelf = Shelf()
    queue = batched(shelf, counts)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        start = trio.current_time()
        for part in (b"1", b"2", b"3", b"4"):
            assert await queue.take(part)
        await wait_all_tasks_blocked()
        assert shelf.batches == [[b"1", b"2", b"3"]]
        await trio.sleep(31)  # by the mock clock
        assert shelf.batches[1:] == [[b"4"]]
        assert shelf.times[1] == pytest.approx(start + 30)
        nursery.cancel_scope.cancel()


async def test_a_batch_is_bounded_in_bytes(counts: AuditCounts, autojump_clock) -> None:
    shelf = Shelf()
    queue = batched(shelf, counts, max_bytes=5, max_wait=0.0)
    async with trio.open_nursery() as nursery:
        for part in (b"111", b"22", b"3", b"4444444"):
            queue.take_soon(part)
        nursery.start_soon(queue.run)
        await wait_all_tasks_blocked()
        assert shelf.batches == [[b"111", b"22"], [b"3"], [b"4444444"]]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("parts", "lost"), [([b"x"] * 13, 3), ([b"x" * 60] * 3, 2)])
async def test_a_full_queue_drops_and_counts(counts: AuditCounts, monkeypatch, parts: list[bytes], lost: int) -> None:
    monkeypatch.setattr(delivery, "MAX_BUFFER_BYTES", 100)
    queue = batched(Shelf(), counts)
    for part in parts:
        assert await queue.take(part)
    assert counts.errors == {"buffered": lost}


async def test_batches_are_limited_in_their_rate(counts: AuditCounts, autojump_clock) -> None:
    shelf = Shelf()
    queue = batched(shelf, counts, max_size=1, max_wait=0.0, per_second=2.0, burst=2)
    for _ in range(4):
        queue.take_soon(b"x")
    async with trio.open_nursery() as nursery:
        start = trio.current_time()
        nursery.start_soon(queue.run)
        await trio.sleep(3)  # by the mock clock
        assert [round(at - start, 3) for at in shelf.times] == [0.0, 0.0, 0.5, 1.0]
        nursery.cancel_scope.cancel()


def test_tokens_are_kept_up_to_the_burst() -> None:
    bucket = TokenBucket(10.0, 2, 0.0)
    assert [bucket.take(100.0) for _ in range(4)] == pytest.approx([0.0, 0.0, 0.1, 0.2])
    assert bucket.take(101.0) == 0.0


async def test_batches_under_way_are_bounded(counts: AuditCounts, monkeypatch, autojump_clock) -> None:
    monkeypatch.setattr(delivery, "MAX_BATCHES_UNDER_WAY", 2)
    shelf = Shelf(parallel=True)
    shelf.door = trio.Event()
    queue = batched(shelf, counts, max_size=1, max_wait=0.0)
    for _ in range(5):
        queue.take_soon(b"x")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        await wait_all_tasks_blocked()
        shelf.door.set()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert (shelf.most, len(shelf.batches)) == (2, 5)


async def test_a_writer_that_fails_is_counted_and_asked_again(counts: AuditCounts, autojump_clock) -> None:
    shelf = Shelf()
    shelf.broken = "refused"
    queue = batched(shelf, counts)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        for _ in range(3):
            queue.take_soon(b"x")
        await wait_all_tasks_blocked()
        assert counts.errors == {"shelf": 3}
        shelf.broken = ""
        queue.take_soon(b"y")
        await trio.sleep(31)  # by the mock clock
        assert shelf.batches == [[b"y"]]
        nursery.cancel_scope.cancel()


async def test_the_end_writes_what_is_left_once(counts: AuditCounts, autojump_clock) -> None:
    shelf = Shelf(parallel=True)
    shelf.door = trio.Event()
    queue = batched(shelf, counts)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        for part in (b"1", b"2", b"3", b"4"):
            queue.take_soon(part)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        shelf.door.set()
    assert [part for batch in shelf.batches for part in batch] == [b"1", b"2", b"3", b"4"]
    assert counts.errors == {}


async def test_the_end_does_not_wait_for_ever(counts: AuditCounts, autojump_clock) -> None:
    shelf = Shelf()
    shelf.door = trio.Event()
    queue = batched(shelf, counts)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        for part in (b"1", b"2", b"3", b"4"):
            queue.take_soon(part)
        await wait_all_tasks_blocked()
        before = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - before == pytest.approx(delivery.FLUSH_SECONDS)
    assert counts.errors == {"buffered": 4}
