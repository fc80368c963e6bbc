"""The state machine with a clock beside it: what takes long is counted, and told in the log, at a bounded rate."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from kvraft.durations import format_duration
from kvraft.logs import Throttle, fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvraft.apply.machine import StateMachine
    from kvraft.raft.messages import Entry
    from kvraft.server.observe.counters import Counters

log = logging.getLogger(__name__)

SLOW_SYNC_SECONDS = 1.0
LINES_EVERY_SECONDS = 1.0


class TimedMachine:
    """What the driver drives; see ``contracts.Machine``. What takes no time worth a look is the machine's own."""

    def __init__(self, machine: StateMachine, counters: Counters, slow_apply_seconds: float) -> None:
        self._machine = machine
        self._counters = counters
        self._slow_apply_seconds = slow_apply_seconds
        self._lines = Throttle(LINES_EVERY_SECONDS)

    @property
    def applied_index(self) -> int:
        return self._machine.applied_index

    @property
    def durable_index(self) -> int:
        return self._machine.durable_index

    @property
    def awaited(self) -> bool:
        return self._machine.awaited

    @property
    def uncommitted(self) -> int:
        return self._machine.uncommitted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)

    def foresee(self, entries: Sequence[Entry]) -> Any:
        return self._machine.foresee(entries)

    def apply(self, entries: Sequence[Entry], **how: Any) -> Any:
        """See the machine's. The log names sizes, never keys or values."""
        started = time.perf_counter()
        answers = self._machine.apply(entries, **how)
        seconds = time.perf_counter() - started
        self._counters.apply_seconds.observe(seconds)
        if seconds > self._slow_apply_seconds:
            self._counters.slow_applies += 1
            skipped = self._lines.skipped_since_last()
            if skipped is not None:
                log.warning(
                    "apply request took too long",
                    extra=fields(
                        **{
                            "took": format_duration(seconds),
                            "expected-duration": format_duration(self._slow_apply_seconds),
                        },
                        entries=len(entries),
                        size=sum(len(entry.data) for entry in entries),
                        skipped=skipped,
                    ),
                )
        return answers

    def commit(self, *, whole: bool = True) -> None:
        """See the machine's."""
        started = time.perf_counter()
        self._machine.commit(whole=whole)
        self._counters.backend_commit_seconds.observe(time.perf_counter() - started)

    def install(self, writer: Any) -> object:
        """See the machine's."""
        return self._machine.install(writer)


class SyncWatch:
    """Told by the log's writer, in its thread, how long each synced write took."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._lines = Throttle(LINES_EVERY_SECONDS)

    def written(self, seconds: float) -> None:
        self._counters.wal_fsync_seconds.observe(seconds)
        if seconds > SLOW_SYNC_SECONDS:
            self._counters.slow_syncs += 1
            skipped = self._lines.skipped_since_last()
            if skipped is not None:
                log.warning(
                    "slow fdatasync",
                    extra=fields(
                        **{"took": format_duration(seconds), "expected-duration": format_duration(SLOW_SYNC_SECONDS)},
                        skipped=skipped,
                    ),
                )
