"""Reads that are too long for the loop: in pieces, in a thread, over a read transaction of what had been applied."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from kvraft.errors import KvraftError, TooManyRequests, Unavailable
from kvraft.mvcc.scan import MAX_ANSWER_BYTES
from kvraft.storage.errors import SnapshotClosed

if TYPE_CHECKING:
    from kvraft.apply.machine import StateMachine
    from kvraft.server.service import Answer
    from kvraft.types import RangeRequest, RangeResponse

QUICK_KEYS = 1100
QUICK_BYTES = 512 << 10
"""What is read on the loop at once: some 2 ms, a page of 1,000 keys and the key behind it. A range that needs more
starts again in a thread."""
PIECE_KEYS = 4000
PIECE_BYTES = 2 << 20
"""What is read between two looks at whether anybody still wants it."""
MAX_AT_ONCE = 4
"""Long reads that go on beside each other; they share one interpreter with everything else."""
MAX_LONG_READS = 64
"""Those under way and those that wait for their turn; past it: TooManyRequests."""
ATTEMPTS = 3


class LongReads:
    """Ranges of one member that take their time."""

    def __init__(self, machine: StateMachine) -> None:
        self._machine = machine
        self._under_way = 0
        self._turns = trio.CapacityLimiter(MAX_AT_ONCE)
        self._threads = trio.CapacityLimiter(MAX_AT_ONCE)

    def admit(self) -> None:
        """Raises TooManyRequests. A read that is admitted must be given to :meth:`run`."""
        if self._under_way >= MAX_LONG_READS:
            raise TooManyRequests
        self._under_way += 1

    async def run(self, request: RangeRequest, answer: Answer) -> None:
        """Answer ``request``, from a state that is not older than the one at this call."""
        try:
            async with self._turns:
                found = await self._read(request)
        except KvraftError as error:
            answer(error)
        else:
            answer(found)
        finally:
            self._under_way -= 1

    async def _read(self, request: RangeRequest) -> RangeResponse:
        for _ in range(ATTEMPTS):
            try:
                return await self._scan(request)
            except SnapshotClosed:
                continue  # the state has been replaced by a newer one, or by its copy: start again
        raise Unavailable("etcdserver: the state was replaced while it was read")

    async def _scan(self, request: RangeRequest) -> RangeResponse:
        view = self._machine.view()
        try:
            revision = self._machine.revision
            scan = self._machine.scan(request, view, MAX_ANSWER_BYTES)
            step = partial(view.run, partial(scan.step, PIECE_KEYS, PIECE_BYTES))
            while not await trio.to_thread.run_sync(step, limiter=self._threads):
                pass
        finally:
            view.close()
        return self._machine.scanned(request, scan, revision)
