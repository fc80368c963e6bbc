"""Plain puts that were committed together: the same as one ``Store.execute`` after the other, in a few calls to LMDB.

Most of what a store is asked is to put one key. For a run of such puts the records are appended with one call, and what
was put lately is remembered, so that most keys are neither looked up nor set in ``cur`` each time; see
docs/explanation/write-path.md for what that saves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.mvcc.late import plain_head
from kvraft.mvcc.records import (
    ANCHOR,
    FIRST_POSITION,
    HEAD,
    ID,
    LEASE_ID,
    POSITION_BYTES,
    Change,
    encode_record,
)
from kvraft.types import KeyValue, PutRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvraft.mvcc.counts import CountCache
    from kvraft.mvcc.late import Known, RecentHeads
    from kvraft.storage.tables import StateMeta, Tables
    from kvraft.types import PlainPut

ID_BYTES = 8


def end_of_puts(commands: Sequence[object], start: int, threshold: int) -> int:
    """Where the run of plain puts from ``start`` on ends: puts that ask for nothing else, of keys without a bucket."""
    place = start
    for put in commands[start:] if start else commands:
        if type(put) is not PutRequest or put.lease or put.prev_kv or put.ignore_value or put.ignore_lease:
            break
        key = put.key
        if not key or len(key) > threshold:
            break
        place += 1
    return place


def put_all(
    tables: Tables,
    meta: StateMeta,
    recent: RecentHeads,
    counts: CountCache,
    puts: Sequence[PlainPut],
    changes: list[Change] | None,
) -> int:
    """Do plain ``puts`` in order, a revision each; ``changes``, if anybody wants them, gets what they change.

    How many bytes their keys and values have.
    """
    known, pack_position, encode = recent.known, FIRST_POSITION.pack, encode_record
    records: list[tuple[bytes, bytes]] = []
    fresh: list[bytes] = []
    late = recent.late.append
    main, size = meta.revision, 0
    for _, key, value in puts:
        main += 1
        size += len(key) + len(value)
        found = known.get(key)
        if found is None:
            found = _look_up(tables, key, main)
            if not found[1]:
                counts.created(key)
            fresh.append(key)
        else:
            late(key)
        create, version, key_id, previous = found
        if version % ANCHOR == 0 and version:
            tables.hist.put(key_id + previous, b"")
        version += 1
        position = pack_position(main)
        known[key] = (create, version, key_id, position)
        records.append((position, encode((key, value, create, main, version, 0, key_id, previous))))
        if changes is not None:
            changes.append(Change(KeyValue(key, value, create, main, version), previous))
    tables.rev.putmulti(records, append=True)
    if fresh:
        tables.cur.put_short({key: plain_head(known[key]) for key in fresh})
    if recent.late and not meta.late_from:
        recent.begin(meta)
    meta.revision = main
    recent.trim(tables, meta)
    return size


def _look_up(tables: Tables, key: bytes, main: int) -> Known:
    """The key before a plain put at revision ``main``, off its lease; with version 0 if it does not exist."""
    head = tables.cur.get(key)
    if head is None:
        return (main, 0, *begin_key(tables, key))
    _, _, create, version, lease, key_id = HEAD.unpack(head)
    if lease:
        change_lease(tables, key, lease, 0)
    return create, version, key_id, head[:POSITION_BYTES]


def begin_key(tables: Tables, key: bytes) -> tuple[bytes, bytes]:
    """For a key that is about to exist: its id, and where it was deleted, if it has existed before."""
    gone = tables.dead.pop(key)
    if gone is None:
        return tables.allocate().to_bytes(ID_BYTES), b""
    key_id, previous = gone[ID], gone[:POSITION_BYTES]
    tables.hist.put(key_id + previous, b"")
    return key_id, previous


def change_lease(tables: Tables, key: bytes, old: int, new: int) -> None:
    """Take ``key`` off one lease and hang it on another; 0 is none."""
    if old:
        tables.leased.pop(LEASE_ID.pack(old) + key)
    if new:
        tables.leased.put(LEASE_ID.pack(new) + key, b"")
