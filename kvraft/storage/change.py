"""What is written to the log: the batches that come, and what a group of them comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import msgspec

from kvraft.raft.messages import Entry, HardState, SnapshotMeta
from kvraft.storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence


class LogMeta(msgspec.Struct, frozen=True, array_like=True):
    """What the log knows beside its entries; whole in each record that changes any of it."""

    hard_state: HardState = HardState()
    compacted_index: int = 0
    compacted_term: int = 0
    cluster_id: int = 0
    member_id: int = 0


class LogBatch(msgspec.Struct, frozen=True, gc=False):
    """One durable step, done in the order reset, entries, discard.

    ``entries`` are contiguous; a first index at or below the last replaces everything from it on. ``reset`` empties
    the log as a snapshot install does. ``discard_to`` (0: nothing) forgets entries at or below it. Batches become
    durable in the order of ``seq``.
    """

    seq: int
    hard_state: HardState | None = None
    entries: Sequence[Entry] = ()
    reset: SnapshotMeta | None = None
    discard_to: int = 0

    def empty(self) -> bool:
        return self.hard_state is None and not self.entries and self.reset is None and not self.discard_to


@attrs.define
class Change:
    """What a group comes to: from ``first`` on the log is ``entries``. ``reset``: and nothing before them."""

    first: int
    entries: list[Entry]
    meta: LogMeta
    reset: bool = False

    @property
    def last(self) -> int:
        return self.first + len(self.entries) - 1

    def append(self, entries: Sequence[Entry], path: str) -> None:
        """``entries`` take the place of everything from the first of them on."""
        first, compacted = entries[0].index, self.meta.compacted_index
        if not compacted < first <= self.last + 1:
            raise StorageError(f"{path}: entry {first} does not follow {compacted}..{self.last}")
        for expected, entry in enumerate(entries, first):
            if entry.index != expected:
                raise StorageError(f"{path}: entry {entry.index} where {expected} was due")
        if first < self.first:
            self.first, self.entries = first, list(entries)
        else:
            self.entries[first - self.first :] = entries
