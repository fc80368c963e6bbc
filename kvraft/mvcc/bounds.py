"""What one command may read, and which commands are done in pieces: nobody's command may hold a member's loop for long.

A transaction is done at once, on every member, so what it reads is bounded: every member counts the same, from the
state and the command alone. What a command deletes has no bound, as in etcd; much of it is done in pieces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from kvraft.errors import ReadsTooMuch
from kvraft.mvcc.reading import open_end
from kvraft.mvcc.records import fits_lease, keys_of_lease
from kvraft.mvcc.scan import RangeScan
from kvraft.types import DeleteRangeRequest, LeaseRevokeRequest, RangeRequest, TxnRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from kvraft.storage.keytable import KeyTable
    from kvraft.storage.tables import Tables
    from kvraft.types import Operation

    Work = Generator[None, None, "T"]
    """Something that can rest on the way; its value is the answer."""

T = TypeVar("T")

WITHOUT_BOUND = 1 << 62
TXN_READ_KEYS = 131_072
"""So many keys one transaction may read, those that are compared included; a counted key is an eighth. About 0.7 s."""
TXN_READ_BYTES = 64 << 20
"""So many bytes of keys and values; each key counts some more."""
PIECE_KEYS = 2000
"""So many deletions are done at once: some 20 ms."""


class Room:
    """What may still be read."""

    __slots__ = ("bytes", "keys")

    def __init__(self, keys: int = TXN_READ_KEYS, size: int = TXN_READ_BYTES) -> None:
        self.keys = keys
        self.bytes = size

    def take(self, keys: int, size: int) -> None:
        """So much has been read. Raises ReadsTooMuch."""
        self.keys -= keys
        self.bytes -= size
        if self.keys < 0 or self.bytes < 0:
            raise ReadsTooMuch


def check_reads(
    tables: Tables, operations: Iterable[Operation], room: Room, at: Callable[[RangeRequest], int | None]
) -> None:
    """Raises ReadsTooMuch if ``operations`` read, or give back of what they delete, more than there is room for.

    For a transaction that changes something: halfway through it is too late. Counts that only this member remembers
    are not used.
    """
    for operation in operations:
        if type(operation) is DeleteRangeRequest and operation.prev_kv:
            operation = RangeRequest(operation.key, operation.range_end)
        if type(operation) is RangeRequest and operation.range_end:
            scan = RangeScan(tables, operation, at(operation))
            if not scan.step(room.keys, room.bytes):
                raise ReadsTooMuch
            room.take(scan.work_keys, scan.work_bytes)


def whole(work: Work[T]) -> T:
    """The answer of ``work``, done without a rest."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            answer: T = end.value
            return answer


def ranges_deleted(tables: Tables, commands: Sequence[object]) -> Iterator[tuple[KeyTable, bytes, bytes | None]]:
    """What ``commands`` may delete, those in transactions included, on either branch: keys of ``cur``, or of leases."""
    for command in commands:
        if type(command) is TxnRequest:
            yield from ranges_deleted(tables, (*command.success, *command.failure))
        elif type(command) is DeleteRangeRequest and command.range_end:
            yield tables.cur, command.key, open_end(command.range_end)
        elif type(command) is LeaseRevokeRequest and fits_lease(command.lease_id):
            yield tables.leased, *keys_of_lease(command.lease_id)


def are_large(tables: Tables, commands: Sequence[object]) -> bool:
    """Whether ``commands`` taken together have more keys to delete than are deleted at once."""
    found = 0
    for table, key, end in ranges_deleted(tables, commands):
        for counted in table.counts(key, end, PIECE_KEYS):
            found += counted
            if found > PIECE_KEYS:
                return True
    return False
