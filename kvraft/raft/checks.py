"""What settings and what start a core accepts: pure checks that raise ``ValueError`` with the field and the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.raft.messages import NO_NODE

if TYPE_CHECKING:
    from kvraft.raft.messages import RaftConfig, RaftStart

_POSITIVE = (
    "heartbeat_ticks",
    "max_append_bytes",
    "max_inflight_messages",
    "max_inflight_bytes",
    "max_uncommitted_bytes",
    "max_pending_reads",
    "max_committed_bytes",
    "cached_bytes",
)


def check_config(config: RaftConfig) -> None:
    """Raise ``ValueError`` for settings that cannot work."""
    if config.node_id == NO_NODE:
        raise ValueError(f"node_id must not be {NO_NODE}: that means nobody")
    for name in _POSITIVE:
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be at least 1, not {getattr(config, name)}")
    if config.election_ticks <= config.heartbeat_ticks:
        raise ValueError(
            f"election_ticks {config.election_ticks} must be above heartbeat_ticks {config.heartbeat_ticks}"
        )


def check_start(start: RaftStart) -> None:
    """Raise ``ValueError`` if the indexes that a node starts from contradict each other."""
    compacted, applied, last = start.compacted_index, start.applied_index, start.last_index
    if compacted > applied:
        raise ValueError(f"compacted_index {compacted} is above applied_index {applied}: the state lost entries")
    if applied > last:
        raise ValueError(f"applied_index {applied} is above last_index {last}: the log lost entries")
    if start.hard_state.commit > last:
        raise ValueError(f"commit {start.hard_state.commit} is above last_index {last}: the log lost entries")
