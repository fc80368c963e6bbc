"""Transactions before they run: which branches are taken, and whether everything in them can be done.

All compares, those of nested transactions too, look at the state before anything has run.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Protocol

from kvraft.errors import Compacted, KeyNotFound
from kvraft.mvcc.reading import open_end, read_value
from kvraft.mvcc.records import HEAD, POSITION_BYTES
from kvraft.types import Compare, CompareTarget, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvraft.mvcc.bounds import Room
    from kvraft.storage.tables import Tables
    from kvraft.types import Operation

_MISSING = HEAD.pack(0, 0, 0, 0, 0, b"")
# In the order of ``CompareResult``.
_RESULTS: tuple[Callable[[int | bytes, int | bytes], bool], ...] = (operator.eq, operator.gt, operator.lt, operator.ne)


class State(Protocol):
    """What a transaction's operations are checked against."""

    def check_revision(self, revision: int) -> None:
        """Raises FutureRevision and Compacted."""
        ...

    def check_put(self, request: PutRequest) -> None:
        """Raises what stands against the put."""
        ...


def only_reads(request: TxnRequest) -> bool:
    """Whether neither branch could change anything: then nothing need be replicated."""
    return not any(
        type(operation) is not RangeRequest and not (type(operation) is TxnRequest and only_reads(operation))
        for operation in (*request.success, *request.failure)
    )


def is_serializable(request: TxnRequest) -> bool:
    """Whether every read in it takes the local state."""
    return all(
        operation.serializable if type(operation) is RangeRequest else is_serializable(operation)  # type: ignore[arg-type]
        for operation in (*request.success, *request.failure)
    )


def writes_data(command: object) -> bool:
    """Whether it may add data: what a full store refuses."""
    if type(command) is TxnRequest:
        return any(writes_data(operation) for operation in (*command.success, *command.failure))
    return type(command) is PutRequest


def take_path(tables: Tables, request: TxnRequest, room: Room) -> list[bool]:
    """Which branch each transaction takes: ``request``, then those nested in its branch, in order, depth first.

    Raises ReadsTooMuch for more compared keys than there is ``room`` for.
    """
    succeeded = all(_holds(tables, compare, room) for compare in request.compare)
    path = [succeeded]
    for operation in request.success if succeeded else request.failure:
        if type(operation) is TxnRequest:
            path += take_path(tables, operation, room)
    return path


def check_path(request: TxnRequest, path: list[bool], state: State) -> list[Operation]:
    """Raise what stands against an operation on the path, puts first, as etcd has it; then all of it can run.

    The operations on the path, without the transactions around them.
    """
    operations = list(_on_path(request, iter(path)))
    gone: bytes | None = None  # deleted from here to the end; no other deletion before a put may overlap it
    for operation in operations:
        if type(operation) is PutRequest:
            keeps = operation.ignore_value or operation.ignore_lease
            if keeps and gone is not None and operation.key >= gone:
                raise KeyNotFound
            state.check_put(operation)
        elif type(operation) is DeleteRangeRequest and operation.range_end == b"\0":
            gone = operation.key if gone is None else min(gone, operation.key)
    for operation in operations:
        if type(operation) is RangeRequest:
            if operation.revision < 0:
                raise Compacted
            state.check_revision(operation.revision)
    return operations


def _on_path(request: TxnRequest, path: Iterator[bool]) -> Iterator[Operation]:
    for operation in request.success if next(path) else request.failure:
        if type(operation) is TxnRequest:
            yield from _on_path(operation, path)
        else:
            yield operation


def _holds(tables: Tables, compare: Compare, room: Room) -> bool:
    """Whether the guard holds, for every key of a range. A missing key, or an empty range, has zeros, and no value
    that anything compares with."""
    if not compare.range_end:
        return _passes(tables, compare, tables.cur.get(compare.key))
    empty = True
    for _, head in tables.cur.walk(compare.key, open_end(compare.range_end)):
        empty = False
        room.take(1, 0)
        if not _passes(tables, compare, head):
            return False
    return _passes(tables, compare, None) if empty else True


def _passes(tables: Tables, compare: Compare, head: bytes | None) -> bool:
    mod, _, create, version, lease, _ = HEAD.unpack(head or _MISSING)
    actual: int | bytes
    if compare.target == CompareTarget.VALUE:
        if head is None:
            return False
        actual = read_value(tables, head[:POSITION_BYTES]).value
    elif compare.target == CompareTarget.VERSION:
        actual = version
    elif compare.target == CompareTarget.CREATE:
        actual = create
    elif compare.target == CompareTarget.MOD:
        actual = mod
    else:
        actual = lease
    return _RESULTS[compare.result](actual, compare.operand)
