"""When the applied state is committed: what is not in it is in the log, and a start applies that again.

Under load a commit takes tens of milliseconds of the loop. With little to do it takes two or three, but the log's syncs
wait for its own, on every member that shares the disk: few operations are not worth that twice a second.
"""

from __future__ import annotations

COMMIT_SECONDS = 0.5
FEW_OPERATIONS = 1000
FEW_BYTES = 1 << 20
"""Applied again in some ten milliseconds."""
FEW_COMMIT_SECONDS = 5.0


class CommitClock:
    """Says when a commit is due, to one who asks often. Times are in seconds, of any clock."""

    def __init__(self, now: float) -> None:
        self._committed = now

    def due(self, now: float, operations: int, size_bytes: int = 0) -> bool:
        """Whether to commit now, with so many operations of this size since the last time that this was said."""
        few = operations < FEW_OPERATIONS and size_bytes < FEW_BYTES
        if not operations or now - self._committed < (FEW_COMMIT_SECONDS if few else COMMIT_SECONDS):
            return False
        self._committed = now
        return True
