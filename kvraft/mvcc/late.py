"""What ``cur`` says of keys that were put lately, and the heads that it is told of later.

A key that is put again and again needs its head in ``cur`` only when somebody looks there, or once it is not put any
more. Until then it is known here, and after a crash it is found in ``rev``: from ``meta.late_from`` on there is nothing
there but plain puts, because whoever changes or reads anything else has the late heads written first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kvraft.mvcc.reading import damaged
from kvraft.mvcc.records import FIRST_POSITION, PLACED_HEAD, decode_trace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvraft.storage.tables import StateMeta, Tables

    Known = tuple[int, int, bytes, bytes]
    """A key's create revision, its version, its id, and the position of its newest change."""

REMEMBERED_KEYS = 16_384
LATE_PUTS = 16_384
"""Puts of a generation. A restart finds the heads of two, and of what came until the next commit."""


class RecentHeads:
    """The heads of keys that were put lately, without a lease. Whoever else changes a key's head forgets it here.

    The late ones among them are in two generations: a key of the older one is written unless it has been put again.
    """

    __slots__ = ("_older", "_since", "known", "late")

    def __init__(self) -> None:
        self.known: dict[bytes, Known] = {}
        self.late: list[bytes] = []
        """The keys of the younger generation, again and again."""
        self._older: set[bytes] = set()
        self._since = 0
        """The first revision of the younger generation."""

    def forget(self, key: bytes) -> None:
        self.known.pop(key, None)

    def begin(self, meta: StateMeta) -> None:
        """From the next revision on there are late heads."""
        meta.late_from = self._since = meta.revision + 1

    def settle(self, tables: Tables, meta: StateMeta) -> None:
        """Write all that are late."""
        self._write(tables, self._older.union(self.late))
        self._older, self.late = set(), []
        meta.late_from = 0

    def age(self, tables: Tables, meta: StateMeta) -> None:
        """Begin a generation when this one is full: those that were not put in this one are written."""
        if len(self.late) >= LATE_PUTS:
            younger = set(self.late)
            self._write(tables, self._older - younger)
            self._older, self.late = younger, []
            meta.late_from, self._since = self._since, meta.revision + 1

    def trim(self, tables: Tables, meta: StateMeta) -> None:
        """Back within bounds, a quarter at a time so that it is seldom."""
        if len(self.known) > REMEMBERED_KEYS:
            if meta.late_from:
                self.settle(tables, meta)
            for key in list(self.known)[: REMEMBERED_KEYS // 4]:
                del self.known[key]

    def _write(self, tables: Tables, keys: Iterable[bytes]) -> None:
        tables.cur.put_short({key: plain_head(self.known[key]) for key in sorted(keys)})


def plain_head(known: Known) -> bytes:
    """The head of a key that a plain put has changed last."""
    create, version, key_id, position = known
    return PLACED_HEAD.pack(position, create, version, 0, key_id)


def find_late(tables: Tables, meta: StateMeta) -> None:
    """After a restart, or a change of the whole state: write what the commit lacks.

    Raises StorageError where that cannot be read.
    """
    if not meta.late_from:
        return
    heads: dict[bytes, bytes] = {}
    with tables.txn.cursor(tables.databases.rev) as cursor:
        if cursor.set_range(FIRST_POSITION.pack(meta.late_from)):
            for position, raw in cursor.iternext(keys=True, values=True):
                try:
                    put = decode_trace(raw)
                except msgspec.MsgspecError as error:
                    raise damaged(position, "is unreadable") from error
                heads[put.key] = plain_head((put.create_revision, put.version, put.key_id, position))
    tables.cur.put_short(dict(sorted(heads.items())))
    meta.late_from = 0
