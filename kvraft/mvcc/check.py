"""Whether a request is well-formed: the one function for the leader before it proposes and for every member's apply.

It looks at the request alone, never at state, so that all members come to the same answer. The order of the checks is
etcd's, because clients see the first that fails.
"""

from __future__ import annotations

from bisect import bisect_left

from kvraft.errors import DuplicateKey, EmptyKey, InvalidArgument, TooManyOps
from kvraft.types import (
    CompactRequest,
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRangeRequest,
    KvCommand,
    Operation,
    PutRequest,
    TxnRequest,
)

MAX_TXN_OPS = 128
"""etcd's ``--max-txn-ops``: the most compares, success operations or failure operations of one transaction."""

_TARGETS = frozenset(int(target) for target in CompareTarget)
_RESULTS = frozenset(int(result) for result in CompareResult)


def check_command(command: KvCommand, max_ops: int = MAX_TXN_OPS) -> None:
    """Raise what is wrong with ``command`` as a :class:`~kvraft.errors.KvraftError`: EmptyKey, TooManyOps,
    DuplicateKey, InvalidArgument."""
    kind = type(command)
    if kind is PutRequest or kind is DeleteRangeRequest:
        _check_operation(command)  # type: ignore[arg-type]
    elif kind is TxnRequest:
        _check_txn(command, max_ops)  # type: ignore[arg-type]
    else:
        assert kind is CompactRequest, kind


def _check_operation(operation: Operation) -> None:
    assert not isinstance(operation, TxnRequest)  # the caller has refused it
    if not operation.key:
        raise EmptyKey


def _check_txn(txn: TxnRequest, max_ops: int) -> None:
    if max(len(txn.compare), len(txn.success), len(txn.failure)) > max_ops:
        raise TooManyOps
    for compare in txn.compare:
        _check_compare(compare)
    for branch in (txn.success, txn.failure):
        for operation in branch:
            if type(operation) is TxnRequest:
                raise InvalidArgument(
                    "etcdserver: invalid argument: transactions within transactions are not known yet"
                )
            _check_operation(operation)
    for branch in (txn.success, txn.failure):
        if len(branch) > 1:
            _check_overlap(branch)


def _check_compare(compare: Compare) -> None:
    if not compare.key:
        raise EmptyKey
    if compare.target not in _TARGETS:
        raise InvalidArgument(f"etcdserver: invalid argument: compare target {compare.target} is unknown")
    if compare.result not in _RESULTS:
        raise InvalidArgument(f"etcdserver: invalid argument: compare result {compare.result} is unknown")
    if isinstance(compare.operand, bytes) is not (compare.target == CompareTarget.VALUE):
        raise InvalidArgument("etcdserver: invalid argument: a value is compared with bytes, the rest with integers")


def _check_overlap(branch: tuple[Operation, ...]) -> None:
    """One key may be put once, and not be put and deleted, in one branch; in whatever order."""
    puts = [operation.key for operation in branch if type(operation) is PutRequest]
    known = set(puts)
    if len(known) != len(puts):
        raise DuplicateKey
    ordered = sorted(known)
    for operation in branch:
        if type(operation) is not DeleteRangeRequest:
            continue
        if not operation.range_end:
            overlaps = operation.key in known
        else:
            at = bisect_left(ordered, operation.key)
            overlaps = at < len(ordered) and (operation.range_end == b"\0" or ordered[at] < operation.range_end)
        if overlaps:
            raise DuplicateKey
