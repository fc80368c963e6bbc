"""Which entries of the log a member may discard, and which some follower is about to need."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvraft.raft.core import Raft
    from kvraft.server.contracts import DriverConfig


class Retention:
    """``promised``: peer to the index of the snapshot that it is being sent, until it has that."""

    def __init__(self) -> None:
        self.promised: dict[int, int] = {}

    def discard_to(self, raft: Raft, durable_index: int, config: DriverConfig, first_kept: int) -> int:
        """The entry up to which the log is to be compacted now; 0: not worth it.

        ``first_kept`` is where the last ``config.keep_bytes`` of the log begin.
        """
        compacted, by_size = raft.compacted_index, min(first_kept - 1, durable_index)
        keep_from = durable_index - config.keep_entries
        if keep_from - compacted < config.snapshot_entries:
            return by_size if by_size > compacted and by_size <= self._needed(raft) else 0
        keep_from = max(min(keep_from, self._needed(raft)), keep_from - config.max_held_entries)
        return keep_from if keep_from - compacted >= config.snapshot_entries else 0

    def _needed(self, raft: Raft) -> int:
        """The last entry that no follower who is there still needs: what follows would cost it a snapshot."""
        progress = raft.status().progress
        self.promised = {
            peer: index for peer, index in self.promised.items() if peer in progress and progress[peer].match < index
        }
        matches = [known.match for known in progress.values() if known.active and known.match]
        return min([raft.last_index, *matches, *self.promised.values()])
