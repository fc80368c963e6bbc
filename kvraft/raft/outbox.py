"""A node's output of one turn, and which of it must wait for the disk.

The only place that knows what of the hard state the disk has. Decides nothing about the protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.raft.messages import HardState, Ready

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvraft.raft.log import RaftLog
    from kvraft.raft.messages import Entry, Message, ReadState, SnapshotMeta


class Outbox:
    """Gathers output between two calls of ``take``.

    ``messages`` leave at once, and are all that most turns have. ``has_others``: there is something of another kind,
    entries apart.
    """

    __slots__ = (
        "_after_persist",
        "_dropped_reads",
        "_hard_state_changed",
        "_log",
        "_reads",
        "_snapshot",
        "_written",
        "_written_seq",
        "has_others",
        "messages",
    )

    def __init__(self, log: RaftLog, written: HardState) -> None:
        self._log = log
        self._written = written
        self._written_seq = 0
        self._hard_state_changed = False
        self._after_persist: list[Message] = []
        self._snapshot: SnapshotMeta | None = None
        self._reads: list[ReadState] = []
        self._dropped_reads: list[int] = []
        self.messages: list[Message] = []
        self.has_others = False

    def is_hard_state_durable(self) -> bool:
        """Whether a crash now would bring back this very term and vote."""
        return not self._hard_state_changed and self._log.persisted_seq >= self._written_seq

    def promise(self, message: Message, up_to: int = 0) -> None:
        """Send a message that holds only once term and vote, and the log up to ``up_to``, are durable."""
        if up_to <= self._log.durable_index and self.is_hard_state_durable():
            self.messages.append(message)
        else:
            self.send_after_persist([message])

    def send_after_persist(self, messages: Sequence[Message]) -> None:
        """Send these with this turn's batch, once that is durable."""
        self._after_persist += messages
        self.has_others |= bool(messages)

    def change_hard_state(self) -> None:
        """The term or the vote is not the one last given to the disk."""
        self._hard_state_changed = self.has_others = True

    def install(self, snapshot: SnapshotMeta) -> None:
        """A received snapshot replaces state and log."""
        self._snapshot = snapshot
        self.has_others = True

    def answer_reads(self, reads: Sequence[ReadState]) -> None:
        """These may be done once their indexes are applied."""
        self._reads += reads
        self.has_others |= bool(reads)

    def drop_reads(self, request_ids: Sequence[int]) -> None:
        """Nobody will confirm these."""
        self._dropped_reads += request_ids
        self.has_others |= bool(request_ids)

    def take(self, term: int, vote: int, max_committed_bytes: int) -> tuple[Ready, int]:
        """Everything gathered, and the bytes of data that it hands out to be applied."""
        log = self._log
        messages, self.messages = self.messages, []
        snapshot: SnapshotMeta | None = None
        after_persist: Sequence[Message] = ()
        reads: Sequence[ReadState] = ()
        dropped_reads: Sequence[int] = ()
        entries: Sequence[Entry] = ()
        committed: Sequence[Entry] = ()
        if self.has_others:
            self.has_others = False
            snapshot, self._snapshot = self._snapshot, None
            after_persist, self._after_persist = self._after_persist, []
            reads, self._reads = self._reads, []
            dropped_reads, self._dropped_reads = self._dropped_reads, []
        if log.handed_index < log.last_index:
            entries = log.take_unstable()
        seq = size = 0
        hard_state = None
        if entries or snapshot or self._hard_state_changed:
            seq = log.open_batch()
            hard_state = self._hard_state_for(seq, term, vote)
        elif after_persist:
            if log.is_writing():
                seq = log.open_batch()
            else:
                messages += after_persist  # what these waited for became durable since
                after_persist = ()
        if log.commit_index > log.applied_index < log.durable_index:
            committed, size = log.take_committed(max_committed_bytes)
        # By position, in the order of its fields: every turn makes one.
        ready = Ready(seq, hard_state, entries, snapshot, messages, after_persist, committed, reads, dropped_reads)
        return ready, size

    def _hard_state_for(self, seq: int, term: int, vote: int) -> HardState | None:
        """What batch ``seq`` writes of it, None if the disk has it all. A new commit index alone rides along."""
        current = HardState(term, vote, self._log.commit_index)
        if current == self._written:
            return None
        if self._hard_state_changed:
            self._written_seq = seq
            self._hard_state_changed = False
        self._written = current
        return current
