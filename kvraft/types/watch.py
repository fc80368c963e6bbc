"""Watches: what is asked for, and the events that come."""

from __future__ import annotations

import enum

import msgspec

from kvraft.types.kv import KeyValue  # noqa: TC001 (msgspec reads the annotations)


class EventKind(enum.IntEnum):
    PUT = 0
    DELETE = 1


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One change of one key. For DELETE, ``kv`` has only ``key`` and ``mod_revision`` set.

    ``prev_kv`` is the key before the change: None for a create, when it was not asked for, or once compacted.
    """

    kind: int
    kv: KeyValue
    prev_kv: KeyValue | None = None


class WatchRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=6):
    """Watch ``[key, range_end)`` from ``start_revision`` on (<= 0: from the next change).

    ``no_put`` and ``no_delete`` leave events of that kind out. ``progress_notify`` asks for a batch without events
    now and then while nothing happens.
    """

    key: bytes
    range_end: bytes = b""
    start_revision: int = 0
    prev_kv: bool = False
    no_put: bool = False
    no_delete: bool = False
    progress_notify: bool = False


class WatchBatch(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=6):
    """Whole revisions in order: every event up to and including ``revision`` has now been sent.

    No events: progress, nothing up to ``revision`` is outstanding. ``compact_revision`` > 0: the watch is over,
    what it needed has been compacted.
    """

    revision: int
    events: list[Event]
    compact_revision: int = 0
