"""Defragmentation of a running member: copying in a thread, catching up between turns, one short swap."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import trio

from kvraft.errors import TooManyRequests, Unavailable
from kvraft.logs import fields
from kvraft.types import DefragmentResponse

if TYPE_CHECKING:
    from kvraft.apply.defragment import Defragmentation
    from kvraft.apply.machine import StateMachine
    from kvraft.server.observe.counters import Counters
    from kvraft.storage.log import LogStore

log = logging.getLogger(__name__)

MAX_WAITING = 8
REST_SHARE = 1.0
"""The copy rests so much of the time that its pieces took: clients come first."""
PIECE_BYTES = 32 << 10
"""Entries given to the copy at once: some 2 ms. So little is left for the swap, too."""
LOOK_SECONDS = 0.01
READERS_SECONDS = 60.0
"""For so long a copy that has caught up waits for those who read a snapshot of the state: a swap ends them."""
MAX_SECONDS = 3600.0
"""A copy that has not caught up by then never will."""


class Defragmenter:
    """One run after the other."""

    def __init__(self, machine: StateMachine, log_store: LogStore, counters: Counters) -> None:
        self._machine = machine
        self._counters = counters
        self._log_store = log_store
        self._turn = trio.Lock()
        self._thread = trio.CapacityLimiter(1)
        self._waiting = 0

    @property
    def under_way(self) -> bool:
        """Whether one goes on."""
        return self._turn.locked()

    async def run(self) -> DefragmentResponse:
        """Give the free space of the state's file back. Raises TooManyRequests, StorageError, Unavailable."""
        if self._waiting >= MAX_WAITING:
            raise TooManyRequests
        self._waiting += 1
        try:
            async with self._turn:
                await self._defragment()
        finally:
            self._waiting -= 1
        return DefragmentResponse(self._machine.revision)

    async def _defragment(self) -> None:
        began, machine = time.monotonic(), self._machine
        before = machine.db_size
        copy = machine.begin_defragmentation()
        try:
            with trio.move_on_after(MAX_SECONDS) as scope:
                await self._copy(copy)
            if scope.cancelled_caught:
                raise Unavailable("etcdserver: the defragmentation does not catch up with what is written")
        finally:
            copy.abort()
        seconds = time.monotonic() - began
        self._counters.defragment_seconds.observe(seconds)
        log.info(
            "defragmented",
            extra=fields(before_bytes=before, after_bytes=machine.db_size, seconds=round(seconds, 3)),
        )

    async def _copy(self, copy: Defragmentation) -> None:
        while True:
            piece_began = time.perf_counter()
            if await trio.to_thread.run_sync(copy.copy_step, limiter=self._thread):
                break
            await trio.sleep(REST_SHARE * (time.perf_counter() - piece_began))
        copy.open()
        while not self._catch_up(copy):
            await trio.lowlevel.checkpoint()
        copy.flush()
        await trio.to_thread.run_sync(copy.sync, limiter=self._thread)  # so that the swap has little to write
        patient_until = trio.current_time() + READERS_SECONDS
        while True:
            complete = self._catch_up(copy)
            if complete and (not self._machine.readers or trio.current_time() > patient_until):
                break
            await trio.sleep(LOOK_SECONDS if complete else 0)
        self._machine.finish_defragmentation(copy)

    def _catch_up(self, copy: Defragmentation) -> bool:
        """Give the copy some of what it lacks; True when it has everything."""
        applied = self._machine.applied_index
        if copy.applied_index < applied:
            copy.catch_up(self._log_store.entries(copy.applied_index + 1, applied + 1, PIECE_BYTES))
        return copy.applied_index == applied
