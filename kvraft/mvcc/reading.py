"""Reads: keys at the latest or an older revision, and the changes from a revision on.

Functions over the tables of any transaction. ``end`` is None for an open range; ``at`` is None for the latest state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.mvcc.records import ID, POSITION, POSITION_BYTES, Change, decode_change, decode_trace, decode_value
from kvraft.storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvraft.storage.tables import Tables
    from kvraft.types import KeyValue


LONG_CHANGES = 4000
"""A revision with more than so many changes is read in parts; some 30 ms."""


def open_end(range_end: bytes) -> bytes | None:
    """The ``end`` of a request's ``range_end``, which is not empty."""
    return None if range_end == b"\0" else range_end


def read_value(tables: Tables, position: bytes) -> KeyValue:
    """The key as of the change at ``position``, which exists."""
    raw = tables.rev.get(position)
    if raw is None:
        raise damaged(position)
    return decode_value(raw)


def damaged(position: bytes, how: str = "is missing") -> StorageError:
    """The error of a record that must be there."""
    return StorageError("the state is damaged: revision {}.{} {}".format(*POSITION.unpack(position), how))


def read_key(tables: Tables, key: bytes, at: int | None) -> KeyValue | None:
    """One key."""
    head = tables.cur.get(key)
    position: bytes | None
    if at is None:
        position = None if head is None else head[:POSITION_BYTES]
    else:
        live = head is not None
        head = head or tables.dead.get(key)
        position = None if head is None else position_at(tables, head, live, at)
    return None if position is None else read_value(tables, position)


def position_at(tables: Tables, head: bytes, live: bool, at: int) -> bytes | None:
    """Where the value as of revision ``at`` is, of a key with ``head`` in ``cur`` (``live``) or ``dead``."""
    if int.from_bytes(head[:8]) <= at:
        return head[:POSITION_BYTES] if live else None
    key_id, position = head[ID], head[:POSITION_BYTES]
    hist, rev = tables.hist, tables.rev
    if hist.set_range(key_id + POSITION.pack(at + 1, 0)) and (anchor := hist.key()).startswith(key_id):
        position = anchor[len(key_id) :]  # the first anchor behind ``at``: the walk starts there
    while int.from_bytes(position[:8]) > at:
        raw = rev.get(position)
        position = b"" if raw is None else decode_trace(raw).previous
        if not position:
            return None
    raw = rev.get(position)
    # What is missing here has been compacted, and a reader that is allowed to ask need not know what it was.
    return None if raw is None or decode_trace(raw).version == 0 else position


def walk_positions(tables: Tables, key: bytes, end: bytes | None, at: int | None) -> Iterator[tuple[bytes, bytes]]:
    """Keys of ``[key, end)`` that exist at ``at``, each with something that starts with the position of its value."""
    if at is None:
        yield from tables.cur.walk(key, end)
        return
    for found, head, live in _merge(tables.cur.walk(key, end), tables.dead.walk(key, end)):
        position = position_at(tables, head, live, at)
        if position is not None:
            yield found, position


def _merge(
    live: Iterator[tuple[bytes, bytes]], dead: Iterator[tuple[bytes, bytes]]
) -> Iterator[tuple[bytes, bytes, bool]]:
    """Two ordered walks without common keys as one; True marks the first one's."""
    left, right = next(live, None), next(dead, None)
    while left is not None:
        if right is None or left[0] < right[0]:
            yield left[0], left[1], True
            left = next(live, None)
        else:
            yield right[0], right[1], False
            right = next(dead, None)
    while right is not None:
        yield right[0], right[1], False
        right = next(dead, None)


def read_changes(tables: Tables, low: int, max_changes: int, max_bytes: int) -> tuple[list[Change], int | None]:
    """Changes from revision ``low`` on, whole revisions, until one of the bounds is reached.

    Also the last revision that was read as a whole; None when everything there is was read. A revision with more than
    ``LONG_CHANGES`` ends it as well, and is not read: see :func:`read_part`.
    """
    found: list[Change] = []
    room = max_bytes
    last = begin = 0
    cursor = tables.rev
    more = cursor.set_range(POSITION.pack(low, 0))
    while more:
        position, raw = cursor.item()
        main = int.from_bytes(position[:8])
        if main != last:
            if found and (len(found) >= max_changes or room <= 0):
                return found, last
            begin = len(found)
        elif len(found) - begin >= LONG_CHANGES:
            return found[:begin], main - 1
        found.append(decode_change(raw))
        room -= len(raw)
        last = main
        more = cursor.next()
    return found, None


def read_part(tables: Tables, revision: int, sub: int, max_changes: int) -> tuple[list[Change], int | None]:
    """Some changes of ``revision``, from place ``sub`` on, and the place where it goes on, if it does."""
    found: list[Change] = []
    cursor = tables.rev
    more = cursor.set_range(POSITION.pack(revision, sub))
    while more:
        position, raw = cursor.item()
        main, place = POSITION.unpack(position)
        if main != revision:
            break
        if len(found) >= max_changes:
            return found, place
        found.append(decode_change(raw))
        more = cursor.next()
    return found, None


def read_previous(tables: Tables, change: Change) -> KeyValue | None:
    """The key before ``change``; None for a create, or when a compaction has removed it."""
    position = change.previous
    if not position or change.kv.version == 1:
        return None
    get, main = tables.rev.get, change.kv.mod_revision
    while int.from_bytes(position[:8]) == main:  # changed twice in one revision: what it was before that
        raw = get(position)
        position = b"" if raw is None else decode_trace(raw).previous
        if not position:
            return None
    raw = get(position)
    kv = None if raw is None else decode_value(raw)
    return kv if kv is not None and kv.version else None
