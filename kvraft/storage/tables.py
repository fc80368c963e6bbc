"""The tables of the state file, and the record that says what state it is.

``rev``: (main, sub) -> one put or delete, in the order in which they happened. ``cur``: key -> head of a live key.
``dead``: key -> head of a deleted key that still has history. ``long``: what of both has long keys. ``hist``: (key
id, main, sub) of some superseded changes, from where older ones are found. ``lease`` and ``leased``: leases, and the
keys of each. ``auth``: users and roles. ``meta``: the format version and one :class:`StateMeta`. What is inside the
records belongs to ``kvraft.mvcc``, ``kvraft.lease`` and ``kvraft.auth``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kvraft.raft.messages import Configuration  # noqa: TC001 - msgspec reads the annotation
from kvraft.storage.errors import StorageError
from kvraft.storage.keytable import THRESHOLD, KeyTable
from kvraft.types.cluster import MemberInfo  # noqa: TC001 - msgspec reads the annotation

if TYPE_CHECKING:
    import lmdb

FORMAT = 2
"""Of the state file. 1 had no ``late_from``: every commit had all heads."""
STREAM_FORMAT = 1
"""Of a snapshot, which has all heads."""
META_KEY = b"meta"
TABLES = (b"rev", b"cur", b"dead", b"long", b"hist", b"lease", b"leased", b"auth")
"""The data tables, in the order in which a snapshot carries them. Their places are its numbers: only append."""
MAX_TABLES = 32
"""What an environment has room for."""
INITIAL_REVISION = 1
"""What a store has before its first change."""


class StateMeta(msgspec.Struct, array_like=True):
    """What the state knows beside its data; changed in memory, written with each commit of the data."""

    cluster_id: int = 0
    member_id: int = 0
    applied_index: int = 0
    applied_term: int = 0
    configuration: Configuration | None = None
    revision: int = INITIAL_REVISION
    compacted_revision: int = 0
    compact_main: int = 0
    """Where the removal of compacted revisions goes on: (compact_main, compact_sub) is the next to look at."""
    compact_sub: int = 0
    compact_done: int = 0
    """The compacted revision up to which the removal is complete."""
    next_id: int = 1
    """The next id of a key or bucket."""
    threshold: int = THRESHOLD
    """The longest key that is stored without a bucket, in bytes; fixed when the state is created."""
    alarms: tuple[tuple[int, int], ...] = ()
    """(member, type) of what is wrong, in order."""
    members: tuple[MemberInfo, ...] = ()
    """Who the members of the configuration are, in the order of their ids. While ``configuration`` is None: who could
    tell them, as of when this member joined."""
    removed: tuple[int, ...] = ()
    """The ids of former members, the latest last; see ``kvraft.apply.membership``."""
    lease_clock_ms: int = 0
    """What leaders have measured while there were leases; see ``kvraft.lease.lessor``."""
    late_from: int = 0
    """The first revision whose heads ``cur`` may lack, if there are such; see ``kvraft.mvcc.late``."""


encode = msgspec.msgpack.Encoder().encode
_decode_meta = msgspec.msgpack.Decoder(StateMeta).decode


class Databases:
    """The handles of one open environment."""

    __slots__ = ("auth", "by_name", "cur", "dead", "hist", "lease", "leased", "long", "meta", "rev")

    def __init__(self, environment: lmdb.Environment) -> None:
        self.by_name = {name: environment.open_db(name) for name in TABLES}
        handles = self.by_name.values()
        self.rev, self.cur, self.dead, self.long, self.hist, self.lease, self.leased, self.auth = handles
        self.meta = environment.open_db(b"meta")


class Tables:
    """The tables within one transaction: a cursor or an ordered map for each. Dies with the transaction."""

    __slots__ = ("auth", "cur", "databases", "dead", "hist", "lease", "leased", "meta", "rev", "txn")

    def __init__(self, txn: lmdb.Transaction[bytes], databases: Databases, meta: StateMeta) -> None:
        self.txn = txn
        self.databases = databases
        self.meta = meta
        self.rev = txn.cursor(databases.rev)
        self.hist = txn.cursor(databases.hist)
        self.cur = KeyTable(txn, databases.cur, databases.long, meta.threshold, self.allocate)
        self.dead = KeyTable(txn, databases.dead, databases.long, meta.threshold, self.allocate)
        self.auth = txn.cursor(databases.auth)
        self.lease = txn.cursor(databases.lease)
        self.leased = KeyTable(txn, databases.leased, databases.long, meta.threshold, self.allocate)

    def allocate(self) -> int:
        """An id that no key and no bucket of this state has had."""
        allocated = self.meta.next_id
        self.meta.next_id = allocated + 1
        return allocated


def read_meta(path: str, txn: lmdb.Transaction[bytes], databases: Databases) -> StateMeta | None:
    """The stored record, None in a new file. Raises :class:`StorageError` where it is unreadable."""
    raw = txn.get(META_KEY, db=databases.meta)
    if raw is None:
        return None
    try:
        return _decode_meta(raw)
    except msgspec.MsgspecError as error:
        raise StorageError(f"{path}: its description is unreadable") from error
