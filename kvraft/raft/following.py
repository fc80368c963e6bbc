"""A follower's side of replication: what it takes from its leader, and what it may tell it about that.

Knows one leader in one term, forgotten as a whole by ``forget``. Builds no messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.raft.log import follows

if TYPE_CHECKING:
    from kvraft.raft.log import RaftLog
    from kvraft.raft.messages import Message, SnapshotMeta


class Following:
    """How far the log is known to match the leader's (``matched``), and what of that the leader was told.

    ``owes_acknowledgement``: the leader is to be told at the end of this turn.
    """

    __slots__ = ("_acknowledged", "_log", "matched", "owes_acknowledgement")

    def __init__(self, log: RaftLog) -> None:
        self._log = log
        self.matched = 0
        self._acknowledged = 0
        self.owes_acknowledgement = False

    def forget(self) -> None:
        """There is another leader, or another term, or none: nothing is known of its log."""
        self.matched = self._acknowledged = 0
        self.owes_acknowledgement = False

    def acknowledge(self) -> int:
        """The leader is being told now: up to which index."""
        self.owes_acknowledgement = False
        self._acknowledged = self.matched
        return self.matched

    def append(self, m: Message, term: int) -> tuple[int, int] | None:
        """Take an APPEND of ``term`` (5.3). A refusal returns where the leader should try next: an index, its term.

        An APPEND that no correct leader sends is ignored.
        """
        log = self._log
        entries = m.entries
        if m.index < log.commit_index:
            self._match(log.commit_index, True)  # the leader has everything committed (5.4): go on from there
            return None
        if not follows(entries, m.index, m.log_term, term):
            return None
        if not log.matches(m.index, m.log_term):
            hint = log.find_conflict_by_term(log.commit_index, min(m.index, log.last_index), m.log_term)
            hint = max(hint, log.commit_index)
            return hint, log.known_term(hint)
        new = log.first_new(entries)
        if new < len(entries):
            if entries[new].index <= self.matched:
                return None  # a leader never contradicts its own log
            log.append(entries[new:] if new else entries)
        last_index = m.index + len(entries)
        commit = m.commit if m.commit < last_index else last_index
        if commit > log.commit_index:
            log.commit_to(commit)
        self._match(last_index, bool(entries))
        return None

    def commit(self, index: int) -> None:
        """A heartbeat's commit index covers only what this node has acknowledged. More means that it lost entries
        since, of which nothing can be said."""
        log = self._log
        if log.commit_index < index <= log.last_index:
            log.commit_to(index)

    def restore(self, meta: SnapshotMeta) -> bool:
        """Take a received snapshot: whether it replaces state and log, or tells nothing new (then it is only
        acknowledged)."""
        log = self._log
        if meta.index <= log.commit_index:
            self._match(log.commit_index, True)
            return False
        if log.matches(meta.index, meta.term):
            log.commit_to(meta.index)
            self._match(meta.index, True)
            return False
        log.restore(meta)
        self._match(meta.index, True)
        return True

    def _match(self, index: int, again: bool) -> None:
        """The log matches up to ``index``; ``again``: say so even if it was said before.

        An acknowledgement that still waits for the disk is not repeated: a stalled disk would gather any number.
        """
        if index > self.matched:
            self.matched = index
        if self.matched > self._acknowledged or (again and self.matched <= self._log.durable_index):
            self.owes_acknowledgement = True
