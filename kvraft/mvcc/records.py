"""What the tables' records look like.

A *position* is (main, sub), 12 bytes big-endian: the revision and the place of one change within it; it is the key
in ``rev``. A record there is the msgpack array of a :class:`KeyValue`, then the key's id and the position of the
key's change before (empty for the first); a tombstone has version 0. A *head*, in ``cur`` and ``dead``, has a fixed
width so that a range finds the position by slicing.

A key's past is the chain of those positions. ``hist`` has id + position of every change on it whose version is a
multiple of :data:`ANCHOR`, tombstones among them, once it is superseded: so that a read of the past enters the chain
close to where it wants to be, however often the key has changed since, and most writes have no third table to touch.
"""

from __future__ import annotations

import struct

import msgspec

from kvraft.errors import LeaseNotFound
from kvraft.types import Event, EventKind, KeyValue

HEAD = struct.Struct(">QIQQq8s")
"""main, sub, create revision, version, lease, key id."""
POSITION = struct.Struct(">QI")
POSITION_BYTES = POSITION.size
FIRST_POSITION = struct.Struct(">Q4x")
"""The position of a revision's first change, which most have no other than."""
PLACED_HEAD = struct.Struct(f">{POSITION_BYTES}sQQq8s")
"""A head whose position is packed already."""
LEASE_ID = struct.Struct(">q")
"""A lease, as the key of its record and at the front of each of its keys in ``leased``."""
ID = slice(HEAD.size - 8, HEAD.size)
"""The id within a head."""
ANCHOR = 32
"""The most steps along a key's chain that a read of the past takes."""


def lease_key(lease_id: int) -> bytes:
    """A lease's ``LEASE_ID``. Raises LeaseNotFound for a number that no lease can have, which requests may name."""
    try:
        return LEASE_ID.pack(lease_id)
    except struct.error:
        raise LeaseNotFound from None


def fits_lease(lease_id: int) -> bool:
    """Whether it is a number that a lease can have."""
    return -(1 << 63) <= lease_id < 1 << 63


def keys_of_lease(lease_id: int, after: bytes | None = None) -> tuple[bytes, bytes | None]:
    """Where the keys of a lease are in ``leased``, from the first or from behind the key ``after`` on, and where they
    end (None: with the table). Raises as :func:`lease_key`."""
    low = lease_key(lease_id)
    end = int.from_bytes(low) + 1
    return low if after is None else low + after + b"\0", end.to_bytes(len(low)) if end < 1 << 64 else None


encode_record = msgspec.msgpack.Encoder().encode
decode_value = msgspec.msgpack.Decoder(KeyValue).decode
"""The :class:`KeyValue` at the front of a record."""


class Change(msgspec.Struct, frozen=True, gc=False):
    """One applied put or delete: the key as of it, and where its previous change is (empty: there was none)."""

    kv: KeyValue
    previous: bytes

    def event(self, prev_kv: KeyValue | None = None) -> Event:
        """What a watcher sees of it."""
        return Event(EventKind.PUT if self.kv.version else EventKind.DELETE, self.kv, prev_kv)


class Trace(msgspec.Struct, frozen=True, array_like=True):
    """A record without its value, for the compaction."""

    key: bytes
    value: msgspec.Raw
    create_revision: int
    mod_revision: int
    version: int
    lease: int
    key_id: bytes
    previous: bytes


class _Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int
    key_id: bytes
    previous: bytes


decode_trace = msgspec.msgpack.Decoder(Trace).decode
_decode_record = msgspec.msgpack.Decoder(_Record).decode


def decode_change(raw: bytes) -> Change:
    """The change that a record of ``rev`` is; a deleted key has only ``key`` and ``mod_revision``."""
    found = _decode_record(raw)
    kv = KeyValue(found.key, found.value, found.create_revision, found.mod_revision, found.version, found.lease)
    return Change(kv, found.previous)
