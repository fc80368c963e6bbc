"""Whether a request is well-formed: the one function for the leader before it proposes and for every member's apply.

It looks at the request alone, never at state, so that all members come to the same answer. The order of the checks is
etcd's, because clients see the first that fails.
"""

from __future__ import annotations

from kvraft.errors import (
    DuplicateKey,
    EmptyKey,
    InvalidArgument,
    InvalidSortOption,
    LeaseProvided,
    TooManyOps,
    ValueProvided,
)
from kvraft.mvcc.intervals import Intervals
from kvraft.types import (
    AlarmAction,
    AlarmRequest,
    AlarmType,
    CompactRequest,
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRangeRequest,
    KvCommand,
    Operation,
    PutRequest,
    RangeRequest,
    SortOrder,
    SortTarget,
    TxnRequest,
)

MAX_TXN_OPS = 128
"""etcd's ``--max-txn-ops``: the most compares, success operations or failure operations of one transaction."""
MAX_TXN_DEPTH = 128
"""Transactions within transactions, whatever the limit of operations is set to."""
ANY_OPS = 1 << 62
"""The limit of operations when applied: a setting of one member must not decide what an entry does."""

_TARGETS = frozenset(int(target) for target in CompareTarget)
_RESULTS = frozenset(int(result) for result in CompareResult)
_LAST_ORDER = int(max(SortOrder))
_LAST_TARGET = int(max(SortTarget))


def check_command(command: KvCommand | AlarmRequest, max_ops: int = MAX_TXN_OPS) -> None:
    """Raise what is wrong with ``command`` as a :class:`~kvraft.errors.KvraftError`: EmptyKey, ValueProvided,
    LeaseProvided, TooManyOps, DuplicateKey, InvalidSortOption, InvalidArgument."""
    kind = type(command)
    if kind is PutRequest:
        check_put(command)  # type: ignore[arg-type]
    elif kind is DeleteRangeRequest:
        if not command.key:  # type: ignore[union-attr]
            raise EmptyKey
    elif kind is TxnRequest:
        _check_txn(command, max_ops, 1)  # type: ignore[arg-type]
        for branch in (command.success, command.failure):  # type: ignore[union-attr]
            if len(branch) > 1 or (branch and type(branch[0]) is TxnRequest):
                _check_overlap(branch)
    elif kind is AlarmRequest:
        _check_alarm(command)  # type: ignore[arg-type]
    else:
        assert kind is CompactRequest, kind


def check_range(request: RangeRequest) -> None:
    """Raises EmptyKey and InvalidSortOption."""
    if not request.key:
        raise EmptyKey
    if not (0 <= request.sort_order <= _LAST_ORDER and 0 <= request.sort_target <= _LAST_TARGET):
        raise InvalidSortOption


def _check_alarm(request: AlarmRequest) -> None:
    if not 0 <= request.action <= max(AlarmAction):
        raise InvalidArgument(f"etcdserver: invalid argument: alarm action {request.action} is unknown")
    if not 0 <= request.alarm <= max(AlarmType):
        raise InvalidArgument(f"etcdserver: invalid argument: alarm {request.alarm} is unknown")


def check_put(request: PutRequest) -> None:
    """``check_command`` of a put."""
    if not request.key:
        raise EmptyKey
    if request.ignore_value and request.value:
        raise ValueProvided
    if request.ignore_lease and request.lease:
        raise LeaseProvided


def _check_operation(operation: Operation, max_ops: int, depth: int) -> None:
    kind = type(operation)
    if kind is PutRequest:
        check_put(operation)  # type: ignore[arg-type]
    elif kind is RangeRequest:
        check_range(operation)  # type: ignore[arg-type]
    elif kind is TxnRequest:
        _check_txn(operation, max_ops, depth)  # type: ignore[arg-type]
    elif not operation.key:  # type: ignore[union-attr]
        raise EmptyKey


def _check_txn(txn: TxnRequest, max_ops: int, depth: int) -> None:
    """A nested transaction may use what its parent has left of the limit."""
    used = max(len(txn.compare), len(txn.success), len(txn.failure))
    if used > max_ops or depth > MAX_TXN_DEPTH:
        raise TooManyOps
    for compare in txn.compare:
        _check_compare(compare)
    for branch in (txn.success, txn.failure):
        for operation in branch:
            _check_operation(operation, max_ops - used, depth + 1)


def _check_compare(compare: Compare) -> None:
    if not compare.key:
        raise EmptyKey
    if compare.target not in _TARGETS:
        raise InvalidArgument(f"etcdserver: invalid argument: compare target {compare.target} is unknown")
    if compare.result not in _RESULTS:
        raise InvalidArgument(f"etcdserver: invalid argument: compare result {compare.result} is unknown")
    if isinstance(compare.operand, bytes) is not (compare.target == CompareTarget.VALUE):
        raise InvalidArgument("etcdserver: invalid argument: a value is compared with bytes, the rest with integers")


def _check_overlap(branch: tuple[Operation, ...]) -> tuple[set[bytes], Intervals]:
    """One key may be put once, and not be put and deleted, in one branch and what is nested in it, in whatever order.

    Then and else of one nested transaction exclude each other, so they may put the same. As in etcd, a nested
    transaction may put what one that follows it deletes. The result is every put and every deleted range.
    """
    deleted = Intervals()
    for operation in branch:
        # For etcd a delete without end overlaps nothing: everything may be replaced in one transaction.
        if type(operation) is DeleteRangeRequest and operation.range_end != b"\0":
            deleted.add(operation.key, operation.range_end)
    puts: set[bytes] = set()
    for operation in branch:
        if type(operation) is not TxnRequest:
            continue
        puts_then, deleted_then = _check_overlap(operation.success)
        puts_else, deleted_else = _check_overlap(operation.failure)
        below = puts_then | puts_else
        if not puts.isdisjoint(below) or any(key in deleted for key in below):
            raise DuplicateKey
        puts |= below
        deleted.update(deleted_then)
        deleted.update(deleted_else)
    for operation in branch:
        if type(operation) is PutRequest:
            if operation.key in puts or operation.key in deleted:
                raise DuplicateKey
            puts.add(operation.key)
    return puts, deleted
