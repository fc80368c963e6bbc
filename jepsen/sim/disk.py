"""A simulated log disk: batches become durable in order and in groups; a crash keeps a prefix of what was under way.

It is the driver's ``Disk`` and the core's ``LogReader``. No decisions of its own beyond those of a real log store.
"""

from __future__ import annotations

from collections import deque
from math import floor
from typing import TYPE_CHECKING

from jepsen.sim.world import SECOND, Violation
from kvraft.raft.messages import NO_NODE, Entry, HardState, SnapshotMeta

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jepsen.sim.options import Options
    from jepsen.sim.world import World
    from kvraft.storage.log import LogBatch


class Image:
    """What a log holds: entries behind ``(base, base_term)``, and the hard state."""

    __slots__ = ("base", "base_term", "entries", "hard_state")

    def __init__(self) -> None:
        self.base = 0
        self.base_term = 0
        self.entries: list[Entry] = []
        self.hard_state = HardState()

    @property
    def last_index(self) -> int:
        return self.base + len(self.entries)

    def copy(self) -> Image:
        """The same, sharing nothing that changes."""
        other = Image()
        other.base, other.base_term, other.hard_state = self.base, self.base_term, self.hard_state
        other.entries = self.entries.copy()
        return other

    def holds(self, index: int, term: int) -> bool:
        """Whether this very entry stands in the log."""
        place = index - self.base
        return 0 < place <= len(self.entries) and self.entries[place - 1].term == term

    def term(self, index: int) -> int:
        """The term of an entry or of the base; raises ``KeyError`` where there is none."""
        place = index - self.base
        if place == 0:
            return self.base_term
        if not 0 < place <= len(self.entries):
            raise KeyError(index)
        return self.entries[place - 1].term

    def write(self, batch: LogBatch) -> int:
        """One batch: reset, hard state, entries, discard. Returns the term of the entry before the batch's first."""
        previous_term = 0
        if batch.reset is not None:
            self.base, self.base_term = batch.reset.index, batch.reset.term
            self.entries = []
        if batch.hard_state is not None:
            self.hard_state = batch.hard_state
        if batch.entries:
            place = batch.entries[0].index - self.base - 1
            if not 0 <= place <= len(self.entries):
                raise Violation("log", f"entry {batch.entries[0].index} does not follow {self.base}..{self.last_index}")
            previous_term = self.entries[place - 1].term if place else self.base_term
            del self.entries[place:]
            self.entries += batch.entries
        if batch.discard_to:
            self._discard(min(batch.discard_to, self.last_index) - self.base)
        return previous_term

    def _discard(self, count: int) -> None:
        if count > 0:
            self.base_term = self.entries[count - 1].term
            self.base += count
            del self.entries[:count]


class SimDisk:
    """One node's log, over all of its lives.

    ``on_written(previous_term, entries)`` hears of entries as they become durable, ``on_durable(generation, seq)`` of
    batches that the process of that generation may be told of.
    """

    __slots__ = (
        "_base",
        "_last",
        "_on_durable",
        "_on_written",
        "_options",
        "_queue",
        "_stalled_until",
        "_world",
        "_writing",
        "generation",
        "image",
        "slowness",
    )

    def __init__(
        self,
        world: World,
        options: Options,
        on_written: Callable[[int, Sequence[Entry]], None],
        on_durable: Callable[[int, int], None],
    ) -> None:
        self.image = Image()
        """What is durable."""
        self._base = self._last = 0  # of what will be durable once everything submitted is
        self.generation = 0
        self.slowness = 1
        self._world = world
        self._options = options
        self._on_written = on_written
        self._on_durable = on_durable
        self._queue: deque[tuple[int, LogBatch]] = deque()
        self._writing = 0
        self._stalled_until = 0

    @property
    def view(self) -> Image:
        """What will be durable once everything submitted is."""
        view = self.image.copy()
        for _, batch in self._queue:
            view.write(batch)
        return view

    # ------------------------------------------------------------------ the driver's Disk

    def submit(self, batch: LogBatch, *, leads: bool) -> bool:
        """Queue a batch; it is durable some time later, together with what has queued up by then."""
        self._look_at(batch)
        self._queue.append((self._world.now, batch))
        if not self._writing:
            self._start()
        return False

    def _look_at(self, batch: LogBatch) -> None:
        """What the driver submits has to follow what it submitted before; ``Image.write`` would say so too late."""
        if batch.reset is not None:
            self._base = self._last = batch.reset.index
        if batch.entries:
            first = batch.entries[0].index
            if not self._base < first <= self._last + 1:
                raise Violation("log", f"entry {first} does not follow {self._base}..{self._last}")
            self._last = first + len(batch.entries) - 1
        if batch.discard_to > self._base:
            self._base = min(batch.discard_to, self._last)

    def oldest_pending_seconds(self) -> float:
        """How long the oldest batch has waited."""
        return (self._world.now - self._queue[0][0]) / SECOND if self._queue else 0.0

    def first_of_last(self, size_bytes: int) -> int:
        """The log here has no files, and what it keeps is counted in entries."""
        return 0

    def _start(self) -> None:
        world, options = self._world, self._options
        self._writing = len(self._queue)
        delay = (options.sync + floor(options.sync_jitter * world.random())) * self.slowness
        if self._stalled_until > world.now + delay:
            delay = self._stalled_until - world.now
        world.plan(delay, self._finish, self.generation)

    def _finish(self, generation: int) -> None:
        if generation != self.generation:
            return  # that process is gone
        if self._stalled_until > self._world.now:
            self._world.plan(self._stalled_until - self._world.now, self._finish, generation)
            return
        last = 0
        for _ in range(self._writing):
            last = self._write_next().seq or last
        self._writing = 0
        if self._queue:
            self._start()
        if last:
            self._on_durable(generation, last)

    def _write_next(self) -> LogBatch:
        batch = self._queue.popleft()[1]
        previous_term = self.image.write(batch)
        if batch.entries:
            self._on_written(previous_term, batch.entries)
        return batch

    # ------------------------------------------------------------------ the core's LogReader

    def term(self, index: int) -> int:
        """See ``LogReader``."""
        return self.image.term(index)

    def entries(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        """See ``LogReader``; raises ``KeyError`` when the log lacks ``low``."""
        image = self.image
        if not image.base < low <= image.last_index:
            raise KeyError(low)
        found: list[Entry] = []
        for entry in image.entries[low - image.base - 1 : high - image.base - 1]:
            max_bytes -= len(entry.data)
            if found and max_bytes < 0:
                break
            found.append(entry)
        return found

    # ------------------------------------------------------------------ what befalls it

    def stall(self, duration: int) -> None:
        """Nothing becomes durable for ``duration`` microseconds."""
        self._stalled_until = max(self._stalled_until, self._world.now + duration)

    def recover(self) -> None:
        """End every disturbance; what is stalled at the moment goes on."""
        self.slowness = 1
        if self._stalled_until > self._world.now:
            self._stalled_until = 0
            if self._writing:
                self._world.plan(0, self._finish, self.generation)

    def crash(self) -> None:
        """The process ends: of the batches under way a random number, in order, has made it to the disk."""
        self.generation += 1
        for _ in range(self._world.between(0, len(self._queue) + 1)):
            self._write_next()
        self._queue.clear()
        self._writing = 0
        self._base, self._last = self.image.base, self.image.last_index

    def close(self) -> None:
        """The process ends in good order: what is queued is written first."""
        self.generation += 1
        while self._queue:
            self._write_next()
        self._writing = 0

    def align(self, applied: SnapshotMeta) -> None:
        """What the log store does at start when a crash came between a snapshot's install and the log's reset."""
        image = self.image
        if applied.index < image.base:
            raise Violation("log", f"starts after {image.base}, but the state ends at {applied.index}")
        if applied.index <= image.last_index and image.term(applied.index) == applied.term:
            return
        image.base, image.base_term, image.entries = applied.index, applied.term, []
        if image.hard_state.term < applied.term:
            image.hard_state = HardState(applied.term, NO_NODE, image.hard_state.commit)
        self._base, self._last = image.base, image.last_index
