"""A node's state as metrics and tests see it: one immutable copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from kvraft.raft.messages import Role
    from kvraft.raft.progress import ProgressStatus


class Status(msgspec.Struct, frozen=True):
    """``progress`` is by peer id, in order, and empty unless the node leads. ``transferee`` is 0 for nobody.

    ``step_down_reason`` says why the node last gave leadership up, or is empty.
    """

    node_id: int
    role: Role
    term: int
    vote: int
    leader: int
    compacted_index: int
    applied_index: int
    commit_index: int
    durable_index: int
    last_index: int
    transferee: int
    step_down_reason: str
    progress: dict[int, ProgressStatus]
