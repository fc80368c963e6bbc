"""Entries that are nothing but plain puts, while nothing stands around the store: most of what a member applies.

What such a put answers is certain once it is committed: it cannot be refused, and each takes the next revision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.apply.command import decode_plain_puts
from kvraft.raft.messages import EntryKind
from kvraft.types import PutResponse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvraft.mvcc.store import Store
    from kvraft.raft.messages import Entry
    from kvraft.storage.state import StateEnvironment
    from kvraft.types import PlainPut


class PlainEntries:
    """Knows them, for one state."""

    __slots__ = ("_environment", "_foreseen", "_store")

    def __init__(self, environment: StateEnvironment, store: Store) -> None:
        self._environment = environment
        self._store = store
        self._foreseen: dict[int, list[PlainPut]] = {}  # what entries put whose answers are known, by index

    def puts(self, entry: Entry) -> list[PlainPut] | None:
        """What ``entry``, which is applied now, puts. None: it is no such entry, or there is something around."""
        foreseen = self._foreseen.pop(entry.index, None)
        return foreseen if foreseen is not None else self._decode(entry)

    def foresee(self, entries: Sequence[Entry]) -> list[list[PutResponse]] | None:
        """What applying ``entries`` is going to answer; None unless that is certain of all of them.

        They are committed, and the next to be applied.
        """
        decoded: dict[int, list[PlainPut]] = {}
        for entry in entries:
            puts = None if entry.kind == EntryKind.CONFIGURATION else self._decode(entry)
            if puts is None:
                return None
            decoded[entry.index] = puts
        answers, revision = [], self._store.revision + 1
        for puts in decoded.values():
            answers.append(list(map(PutResponse, range(revision, revision + len(puts)))))
            revision += len(puts)
        self._foreseen = decoded
        return answers

    def _decode(self, entry: Entry) -> list[PlainPut] | None:
        if self._store.around:
            return None
        return decode_plain_puts(entry.data, self._environment.meta.threshold) or None
