"""Keys, values, reads, writes and transactions.

Revisions, versions and lease ids are 64-bit integers, keys and values are bytes. A ``range_end`` of ``b""`` means
the one key; ``b"\\0"`` means every key at or after ``key``; otherwise the half-open range ``[key, range_end)``.
"""

from __future__ import annotations

import enum
from typing import Annotated, Literal

import msgspec


class KeyValue(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A key at one revision. ``version`` counts the puts since the key was created, from 1; 0 on a tombstone."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0


class SortOrder(enum.IntEnum):
    NONE = 0
    ASCEND = 1
    DESCEND = 2


class SortTarget(enum.IntEnum):
    KEY = 0
    VERSION = 1
    CREATE = 2
    MOD = 3
    VALUE = 4


class RangeRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """A read. The ``min_*`` and ``max_*`` bounds are inclusive, 0 is none; they do not change ``count``."""

    key: bytes
    range_end: bytes = b""
    limit: int = 0
    revision: int = 0
    """<= 0 is the latest."""
    keys_only: bool = False
    count_only: bool = False
    serializable: bool = False
    sort_order: int = 0
    sort_target: int = 0
    min_mod_revision: int = 0
    max_mod_revision: int = 0
    min_create_revision: int = 0
    max_create_revision: int = 0


class PutRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    """Set a key. ``ignore_value`` and ``ignore_lease`` keep what the key has, which must exist."""

    key: bytes
    value: bytes
    lease: int = 0
    prev_kv: bool = False
    ignore_value: bool = False
    ignore_lease: bool = False


class PlainPutRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    """What is sent in the place of a ``PutRequest`` that only puts a value; who receives it makes a ``PlainPut`` of it,
    or a ``PutRequest``."""

    key: bytes
    value: bytes


PlainPut = tuple[Literal[2], Annotated[bytes, msgspec.Meta(min_length=1)], bytes]
"""A ``PutRequest`` that only puts a value, as it is sent: its tag, a key and the value, without the rest of its fields.

Most of what a store is asked is that, and what is decoded as this needs no further look at what else it might be.
"""
PLAIN_PUT_HEAD = b"\x93\x02"
"""What it begins with."""


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
    """A guard of a transaction. ``operand`` is bytes for VALUE, an integer for the others.

    With a ``range_end`` it holds when every key of the range passes.
    """

    key: bytes
    target: int
    result: int
    operand: int | bytes
    range_end: bytes = b""


class TxnRequest(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """If every compare holds ``success``, else ``failure``. Operations may be transactions themselves."""

    compare: tuple[Compare, ...] = ()
    success: tuple[RangeRequest | PutRequest | DeleteRangeRequest | TxnRequest, ...] = ()
    failure: tuple[RangeRequest | PutRequest | DeleteRangeRequest | TxnRequest, ...] = ()


Operation = RangeRequest | PutRequest | DeleteRangeRequest | TxnRequest


class CompactRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=5):
    """Forget what was superseded up to ``revision``; ``physical``: answer once the space has been freed."""

    revision: int
    physical: bool = False


class RangeResponse(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """``revision`` is the store's at the time of the read. ``count`` is the whole range's, whatever the limit."""

    revision: int
    kvs: list[KeyValue]
    count: int
    more: bool = False


class PutResponse(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    revision: int
    prev_kv: KeyValue | None = None


class DeleteRangeResponse(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=3):
    revision: int
    deleted: int
    prev_kvs: list[KeyValue] = []


class TxnResponse(msgspec.Struct, frozen=True, array_like=True, tag=4):
    revision: int
    succeeded: bool
    responses: list[RangeResponse | PutResponse | DeleteRangeResponse | TxnResponse]


OperationResponse = RangeResponse | PutResponse | DeleteRangeResponse | TxnResponse


class CompactResponse(msgspec.Struct, frozen=True, array_like=True, tag=5):
    revision: int


def prefix_end(prefix: bytes) -> bytes:
    """The ``range_end`` that makes ``[prefix, range_end)`` hold exactly the keys with this prefix."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return b"\0"
    return stripped[:-1] + bytes((stripped[-1] + 1,))
