"""The log as the core sees it: a tail in memory over the durable log, and the five indexes that matter.

``compacted <= applied <= commit <= last``, and ``durable <= last``: entries above ``durable`` exist in memory only.
What is in memory is a run that ends at ``last``; below it the log is read through ``LogReader``. No I/O of its own.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvraft.raft.messages import Entry, LogReader, RaftStart, SnapshotMeta

ENTRY_OVERHEAD_BYTES = 128
"""What a cached entry costs besides its data, so that a cache of tiny entries stays bounded too."""


class RaftLog:
    """One node's log. Indexes are absolute; the first possible entry has index 1."""

    __slots__ = (
        "_base",
        "_batches",
        "_cached_bytes",
        "_ends",
        "_entries",
        "_offset",
        "_reader",
        "_seq",
        "applied_index",
        "commit_index",
        "compacted_index",
        "compacted_term",
        "durable_index",
        "handed_index",
        "last_index",
        "last_term",
        "persisted_seq",
    )

    def __init__(self, start: RaftStart, reader: LogReader, cached_bytes: int) -> None:
        """``start`` must have passed ``check_start``; raises ``ValueError`` if the last term is not credible."""
        self._reader = reader
        self._cached_bytes = cached_bytes
        self.compacted_index = start.compacted_index
        self.compacted_term = start.compacted_term
        self.last_index = start.last_index
        self.last_term = (
            reader.term(start.last_index) if start.last_index > start.compacted_index else start.compacted_term
        )
        if self.last_term > start.hard_state.term:
            raise ValueError(f"the last entry has term {self.last_term}, the hard state {start.hard_state.term}")
        self.durable_index = self.last_index
        self.applied_index = start.applied_index
        self.commit_index = max(start.hard_state.commit, start.applied_index)
        # _entries[i] has index _offset + i; _ends[i] counts the data bytes up to and including it, from _base on.
        self._entries: list[Entry] = []
        self._ends: list[int] = []
        self._offset = self.last_index + 1
        self._base = 0
        self.handed_index = self.last_index
        self._batches: deque[tuple[int, int]] = deque()
        self._seq = 0
        self.persisted_seq = 0

    # -- looking things up

    def term(self, index: int) -> int | None:
        """The term of an entry; None where the log has none (compacted away, or past the end)."""
        if index == self.last_index:
            return self.last_term
        if index > self.last_index or index < self.compacted_index:
            return None
        if index >= self._offset:
            return self._entries[index - self._offset].term
        if index == self.compacted_index:
            return self.compacted_term
        return self._reader.term(index)

    def matches(self, index: int, term: int) -> bool:
        """Whether the log holds this very entry (or was compacted up to it)."""
        return self.term(index) == term

    def is_up_to_date(self, index: int, term: int) -> bool:
        """Whether a log that ends so is at least as complete as this one (Raft, section 5.4.1)."""
        return (term, index) >= (self.last_term, self.last_index)

    def find_conflict_by_term(self, low: int, high: int, term: int) -> int:
        """The last index of ``[low, high]`` whose term is at most ``term``; ``low - 1`` if there is none.

        Terms never fall along a log, hence a binary search: a few lookups however long the log is.
        """
        return low - 1 + bisect_right(range(low, high + 1), term, key=self.known_term)

    def known_term(self, index: int) -> int:
        """The term of an entry that the log has, or was compacted up to."""
        term = self.term(index)
        assert term is not None, f"no term at {index}"
        return term

    def first_new(self, entries: Sequence[Entry]) -> int:
        """The position of the first of ``entries`` that the log lacks or contradicts; their number if it has all."""
        if not entries or entries[0].index > self.last_index:
            return 0
        for position, entry in enumerate(entries):
            if not self.matches(entry.index, entry.term):
                return position
        return len(entries)

    def read(self, low: int, high: int, max_bytes: int) -> tuple[list[Entry], int]:
        """Entries from ``low``, below ``high``, at least one and as many as fit; and the bytes of their data.

        A read that starts on disk may end where the memory begins.
        """
        assert self.compacted_index < low < high <= self.last_index + 1, f"no entries [{low}, {high})"
        if low < self._offset:
            found = self._reader.entries(low, min(high, self._offset), max_bytes)
            return found, sum([len(entry.data) for entry in found])
        start = low - self._offset
        before = self._ends[start - 1] if start else self._base
        stop = bisect_right(self._ends, before + max_bytes, start, high - self._offset)
        if stop == start:
            stop += 1  # one, however large
        return self._entries[start:stop], self._ends[stop - 1] - before

    # -- changing the log

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries; where the first stands within the log, everything from there on is replaced."""
        first = entries[0].index
        if first <= self.last_index:
            self._truncate(first)
        assert first == self.last_index + 1, f"a gap between {self.last_index} and {first}"
        self._entries.extend(entries)
        end = self._ends[-1] if self._ends else self._base
        for entry in entries:
            end += len(entry.data)
            self._ends.append(end)
        self.last_index = entries[-1].index
        self.last_term = entries[-1].term

    def _truncate(self, index: int) -> None:
        """Drop what stands at ``index`` and above. No batch on its way to the disk may vouch for that any more."""
        assert index > self.commit_index, f"truncation at {index} below commit {self.commit_index}"
        assert index > self.applied_index, f"truncation at {index} below applied {self.applied_index}"
        keep = max(index - self._offset, 0)
        del self._entries[keep:]
        del self._ends[keep:]
        self._offset = min(self._offset, index)
        self.last_index = index - 1
        self.handed_index = min(self.handed_index, index - 1)
        self._cut_claims(index - 1)

    def _cut_claims(self, index: int) -> None:
        self.durable_index = min(self.durable_index, index)
        self._batches = deque([(seq, min(claim, index)) for seq, claim in self._batches])

    def commit_to(self, index: int) -> bool:
        """Raise the commit index; it never falls. Whether it rose."""
        if index <= self.commit_index:
            return False
        assert index <= self.last_index, f"commit {index} past the last entry {self.last_index}"
        self.commit_index = index
        return True

    def restore(self, meta: SnapshotMeta) -> None:
        """Replace the whole log by a snapshot. It counts as durable once its batch is."""
        assert meta.index > self.commit_index, f"snapshot {meta.index} at or below commit {self.commit_index}"
        self._cut_claims(self.commit_index)
        self._forget_entries(meta.index)
        self.compacted_index = self.last_index = self.handed_index = meta.index
        self.compacted_term = self.last_term = meta.term
        self.commit_index = self.applied_index = meta.index

    def compact(self, index: int) -> None:
        """Remember the term of ``index``, and never read it or anything below again."""
        assert index <= self.applied_index, f"compaction at {index} above applied {self.applied_index}"
        if index <= self.compacted_index:
            return
        self.compacted_term = self.known_term(index)
        self.compacted_index = index
        self._drop_cached(index + 1 - self._offset)

    def _forget_entries(self, last_index: int) -> None:
        self._entries.clear()
        self._ends.clear()
        self._offset = last_index + 1

    def _drop_cached(self, count: int) -> None:
        if count <= 0:
            return
        self._base = self._ends[count - 1]
        del self._entries[:count]
        del self._ends[:count]
        self._offset += count

    # -- to the disk and to the state machine

    def has_unstable(self) -> bool:
        """Whether there are entries that the disk was not given yet."""
        return self.handed_index < self.last_index

    def take_unstable(self) -> list[Entry]:
        """The entries that the disk was not given yet; they count as given."""
        if self.handed_index == self.last_index:
            return []
        entries = self._entries[self.handed_index + 1 - self._offset :]
        self.handed_index = self.last_index
        return entries

    def open_batch(self) -> int:
        """Number the batch that carries everything up to ``last_index``."""
        assert not self.has_unstable(), "a batch opened before its entries were taken"
        self._seq += 1
        self._batches.append((self._seq, self.last_index))
        return self._seq

    def is_writing(self) -> bool:
        """Whether the disk still has a batch to report."""
        return bool(self._batches)

    def persisted(self, seq: int) -> None:
        """Batch ``seq`` and all before it are durable. Raises ``ValueError`` for one that is not outstanding."""
        if not self.persisted_seq < seq <= self._seq:
            raise ValueError(f"batch {seq} is not outstanding: last persisted {self.persisted_seq}")
        while self._batches and self._batches[0][0] <= seq:
            _, claim = self._batches.popleft()
            if claim > self.durable_index:
                self.durable_index = claim
        assert self.durable_index <= self.handed_index, "durable before it was handed over"
        self.persisted_seq = seq

    def take_committed(self, max_bytes: int) -> tuple[list[Entry], int]:
        """The next entries to apply and the bytes of their data; they count as applied."""
        if not self.commit_index > self.applied_index < self.durable_index:
            return [], 0
        commit_index, durable_index = self.commit_index, self.durable_index
        high = (commit_index if commit_index < durable_index else durable_index) + 1
        entries, size = self.read(self.applied_index + 1, high, max_bytes)
        assert entries[0].index == self.applied_index + 1, "the log reader skipped an entry"
        self.applied_index = entries[-1].index
        self._evict()
        return entries, size

    def give_back(self, index: int) -> None:
        """Entries from ``index`` on, which ``take_committed`` gave last, have not been applied: it gives them again."""
        assert self.compacted_index < index <= self.applied_index, f"{index} given back of {self.applied_index}"
        self.applied_index = index - 1

    def _evict(self) -> None:
        """Keep the cache within bounds; dropping a quarter at a time spares shifting the list each turn.

        What is not durable or not applied is the working set and stays; other limits bound that.
        """
        size = self._size_below(len(self._entries))
        durable, applied = self.durable_index, self.applied_index
        evictable = (durable if durable < applied else applied) + 1 - self._offset
        if size <= self._cached_bytes or evictable <= 0:
            return
        surplus = size - self._cached_bytes * 3 // 4
        if self._size_below(evictable) > surplus:
            evictable = bisect_left(range(evictable + 1), surplus, key=self._size_below)
        self._drop_cached(evictable)

    def _size_below(self, count: int) -> int:
        """What the first ``count`` cached entries occupy."""
        return (self._ends[count - 1] - self._base if count else 0) + count * ENTRY_OVERHEAD_BYTES


def follows(entries: Sequence[Entry], index: int, term: int, max_term: int) -> bool:
    """Whether entries are a proper run behind ``(index, term)``: consecutive, terms never falling or too high."""
    for entry in entries:
        index += 1
        if entry.index != index or entry.term < term:
            return False
        term = entry.term
    return term <= max_term
