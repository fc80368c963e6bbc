"""What one command may read, and which commands are done in pieces: nobody's command may hold a member's loop for long.

A transaction is done at once, on every member, so what it reads is bounded: every member counts the same, from the
state and the command alone. What a command deletes has no bound, as in etcd; much of it is done in pieces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from kvraft.errors import ReadsTooMuch
from kvraft.mvcc.reading import open_end
from kvraft.mvcc.scan import RangeScan
from kvraft.types import DeleteRangeRequest, RangeRequest, TxnRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

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


def deletions(commands: Sequence[object]) -> Iterator[DeleteRangeRequest]:
    """The deletes of ranges among ``commands``, those in transactions included, on either branch."""
    for command in commands:
        if type(command) is TxnRequest:
            yield from deletions((*command.success, *command.failure))
        elif type(command) is DeleteRangeRequest and command.range_end:
            yield command


def is_large(tables: Tables, request: DeleteRangeRequest) -> bool:
    """Whether the range has more keys than are deleted at once."""
    found = 0
    for counted in tables.cur.counts(request.key, open_end(request.range_end), PIECE_KEYS):
        found += counted
        if found > PIECE_KEYS:
            return True
    return False
