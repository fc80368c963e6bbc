"""When the state is committed."""

from __future__ import annotations

from kvraft.server.commits import COMMIT_SECONDS, FEW_BYTES, FEW_COMMIT_SECONDS, FEW_OPERATIONS, CommitClock


def test_many_operations_are_committed_soon() -> None:
    clock = CommitClock(100.0)
    assert not clock.due(100.0 + COMMIT_SECONDS / 2, FEW_OPERATIONS)
    assert clock.due(100.0 + COMMIT_SECONDS, FEW_OPERATIONS)
    assert not clock.due(100.1 + COMMIT_SECONDS, FEW_OPERATIONS), "that was a moment ago"
    assert clock.due(100.0 + 2 * COMMIT_SECONDS, 1, FEW_BYTES), "or much"


def test_few_operations_wait_for_others_but_not_for_long() -> None:
    clock = CommitClock(100.0)
    assert not clock.due(100.0 + FEW_COMMIT_SECONDS / 2, 1, FEW_BYTES - 1)
    assert clock.due(100.0 + FEW_COMMIT_SECONDS, 1)
    assert not clock.due(100.0 + 2 * FEW_COMMIT_SECONDS, 0), "there is nothing"
    assert clock.due(100.0 + 2 * FEW_COMMIT_SECONDS, FEW_OPERATIONS - 1)
