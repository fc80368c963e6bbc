"""The store's vocabulary: requests, answers and events, as the client, the wire and the state machine share it.

Revisions, versions and lease ids are 64-bit integers, keys and values are bytes. A ``range_end`` of ``b""`` means
the one key; ``b"\\0"`` means every key at or after ``key``; otherwise the half-open range ``[key, range_end)``.
The structs are array-like: their field order is the native wire format; only ever append fields, with defaults.
"""

from __future__ import annotations

import enum

import msgspec


class KeyValue(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A key at one revision. ``version`` counts the puts since the key was created, from 1; 0 on a tombstone."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0


class EventKind(enum.IntEnum):
    PUT = 0
    DELETE = 1


class Event(msgspec.Struct, frozen=True, array_like=True):
    """One change of one key. For DELETE, ``kv`` has only ``key`` and ``mod_revision`` set.

    ``prev_kv`` is the key before the change: None for a create, when it was not asked for, or once compacted.
    """

    kind: int
    kv: KeyValue
    prev_kv: KeyValue | None = None


class RangeRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    key: bytes
    range_end: bytes = b""
    limit: int = 0
    revision: int = 0
    """<= 0 is the latest."""
    keys_only: bool = False
    count_only: bool = False
    serializable: bool = False


class PutRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    key: bytes
    value: bytes
    lease: int = 0
    prev_kv: bool = False


class DeleteRangeRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=3):
    key: bytes
    range_end: bytes = b""
    prev_kv: bool = False


class CompareTarget(enum.IntEnum):
    VERSION = 0
    CREATE = 1
    MOD = 2
    VALUE = 3
    LEASE = 4


class CompareResult(enum.IntEnum):
    EQUAL = 0
    GREATER = 1
    LESS = 2
    NOT_EQUAL = 3


class Compare(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A guard of a transaction. ``operand`` is bytes for VALUE, an integer for the others."""

    key: bytes
    target: int
    result: int
    operand: int | bytes


Operation = RangeRequest | PutRequest | DeleteRangeRequest


class TxnRequest(msgspec.Struct, frozen=True, array_like=True, tag=4):
    compare: tuple[Compare, ...] = ()
    success: tuple[Operation, ...] = ()
    failure: tuple[Operation, ...] = ()


class CompactRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=5):
    revision: int


Command = PutRequest | DeleteRangeRequest | TxnRequest | CompactRequest
"""What is replicated: a log entry's data is one of these, encoded."""


class RangeResponse(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """``revision`` is the store's at the time of the read. ``count`` is the whole range's, whatever the limit."""

    revision: int
    kvs: list[KeyValue]
    count: int
    more: bool = False


class PutResponse(msgspec.Struct, frozen=True, array_like=True, tag=2):
    revision: int
    prev_kv: KeyValue | None = None


class DeleteRangeResponse(msgspec.Struct, frozen=True, array_like=True, tag=3):
    revision: int
    deleted: int
    prev_kvs: list[KeyValue] = []


OperationResponse = RangeResponse | PutResponse | DeleteRangeResponse


class TxnResponse(msgspec.Struct, frozen=True, array_like=True, tag=4):
    revision: int
    succeeded: bool
    responses: list[OperationResponse]


class CompactResponse(msgspec.Struct, frozen=True, array_like=True, tag=5):
    revision: int


class WatchRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=6):
    """Watch ``[key, range_end)`` from ``start_revision`` on (<= 0: from the next change)."""

    key: bytes
    range_end: bytes = b""
    start_revision: int = 0
    prev_kv: bool = False


class WatchBatch(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Whole revisions in order: every event up to and including ``revision`` has now been sent.

    No events: progress, nothing up to ``revision`` is outstanding. ``compact_revision`` > 0: the watch is over,
    what it needed has been compacted.
    """

    revision: int
    events: list[Event]
    compact_revision: int = 0


class Status(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """One member's view of itself. Ids are 64-bit; sizes are bytes; ``leader`` is 0 when there is none."""

    version: str
    cluster_id: int
    member_id: int
    name: str
    leader: int
    term: int
    raft_index: int
    applied_index: int
    revision: int
    db_size: int
    db_size_in_use: int


Response = RangeResponse | PutResponse | DeleteRangeResponse | TxnResponse | CompactResponse | WatchBatch | Status


def prefix_end(prefix: bytes) -> bytes:
    """The ``range_end`` that makes ``[prefix, range_end)`` hold exactly the keys with this prefix."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return b"\0"
    return stripped[:-1] + bytes((stripped[-1] + 1,))
