"""Compaction: forgetting what only revisions below the compacted one could show, a bounded piece at a time.

The walk goes through ``rev`` up to the compacted revision C in order. Each change removes the one that it superseded,
so that of every key only the newest change at or below C is left; and a tombstone goes itself, unless it stands at C:
a watch from C must still see it. The next compaction starts at C again and takes those along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.errors import Compacted, FutureRevision
from kvraft.mvcc.records import POSITION, POSITION_BYTES, Trace, decode_trace

if TYPE_CHECKING:
    from kvraft.storage.tables import StateMeta, Tables


def begin_compaction(meta: StateMeta, revision: int) -> None:
    """Refuse reads below ``revision`` from now on. Raises Compacted and FutureRevision."""
    if revision <= meta.compacted_revision:
        raise Compacted
    if revision > meta.revision:
        raise FutureRevision
    if meta.compact_main == meta.compacted_revision:
        meta.compact_sub = 0  # tombstones at the old target were kept; they are not at the target any more
    meta.compacted_revision = revision


def compaction_pending(meta: StateMeta) -> bool:
    """Whether there is something left to remove."""
    return meta.compact_done < meta.compacted_revision


def compact_step(tables: Tables, meta: StateMeta, limit: int) -> tuple[int, bool]:
    """Look at up to ``limit`` changes: how many others have been removed, and whether there are more to look at."""
    if not compaction_pending(meta):
        return 0, False
    removed = 0
    target, rev = meta.compacted_revision, tables.rev
    main, sub = meta.compact_main, meta.compact_sub
    for _ in range(limit):
        found = rev.set_range(POSITION.pack(main, sub))
        position = rev.key() if found else b""
        if found:
            main, sub = POSITION.unpack(position)
        if not found or main > target:
            meta.compact_main, meta.compact_sub, meta.compact_done = target, 0, target
            return removed, False
        removed += _visit(tables, position, decode_trace(rev.value()), main < target)
        sub += 1
    meta.compact_main, meta.compact_sub = main, sub
    return removed, True


def _visit(tables: Tables, position: bytes, change: Trace, below_target: bool) -> int:
    """How many changes it removes."""
    removed = 0
    if change.previous:
        removed = 1
        tables.rev.pop(change.previous)
        tables.hist.pop(change.key_id + change.previous)
    if change.version == 0 and below_target:
        removed += 1
        tables.rev.pop(position)
        head = tables.dead.get(change.key)
        if head is not None and head[:POSITION_BYTES] == position:
            tables.dead.pop(change.key)
        else:
            tables.hist.pop(change.key_id + position)
    return removed
