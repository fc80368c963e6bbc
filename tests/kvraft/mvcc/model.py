"""What the store must do, in the plainest way: every key's whole history in a list."""

from __future__ import annotations

import operator

from kvraft.errors import Compacted, FutureRevision, KeyNotFound
from kvraft.types import (
    CompactRequest,
    CompactResponse,
    CompareTarget,
    DeleteRangeRequest,
    DeleteRangeResponse,
    KeyValue,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    SortOrder,
    SortTarget,
    TxnRequest,
    TxnResponse,
)

TARGETS = ("version", "create_revision", "mod_revision", "value", "lease")
SORT_TARGETS = ("key", "version", "create_revision", "mod_revision", "value")
RESULTS = (operator.eq, operator.gt, operator.lt, operator.ne)


def inside(key: bytes, start: bytes, range_end: bytes) -> bool:
    if not range_end:
        return key == start
    return key >= start and (range_end == b"\0" or key < range_end)


class Model:
    """``history[key]``: the key as of each change, tombstones (version 0) included. ``log``: changes in order."""

    def __init__(self) -> None:
        self.revision = 1
        self.compacted = 0
        self.history: dict[bytes, list[KeyValue]] = {}
        self.log: list[tuple[KeyValue, KeyValue | None]] = []
        self.changed = 0

    def at(self, key: bytes, revision: int | None = None) -> KeyValue | None:
        for kv in reversed(self.history.get(key, [])):
            if revision is None or kv.mod_revision <= revision:
                return kv if kv.version else None
        return None

    def live(self, start: bytes, range_end: bytes, revision: int | None = None) -> list[KeyValue]:
        found = [self.at(key, revision) for key in sorted(self.history) if inside(key, start, range_end)]
        return [kv for kv in found if kv is not None]

    def record(self, kv: KeyValue, previous: KeyValue | None) -> None:
        """``previous`` is what the change replaced; a watcher sees the key of the revision before instead."""
        if previous is not None:
            previous = self.at(kv.key, self.revision) if kv.version != 1 else None
        self.history.setdefault(kv.key, []).append(kv)
        self.log.append((kv, previous))
        self.changed += 1

    def execute(self, command):
        if isinstance(command, CompactRequest):
            if command.revision <= self.compacted:
                raise Compacted
            if command.revision > self.revision:
                raise FutureRevision
            self.compacted = command.revision
            return CompactResponse(self.revision)
        self.changed = 0
        if isinstance(command, TxnRequest):
            response = self.txn(command)
        else:
            self.check(command)
            response = self.operate(command)
        self.revision += self.changed > 0
        return response

    def now(self) -> int:
        return self.revision + (self.changed > 0)

    def operate(self, operation):
        if isinstance(operation, PutRequest):
            previous = self.at(operation.key)
            create, version = (previous.create_revision, previous.version) if previous else (self.revision + 1, 0)
            value = previous.value if operation.ignore_value else operation.value
            self.record(KeyValue(operation.key, value, create, self.revision + 1, version + 1), previous)
            return PutResponse(self.now(), previous if operation.prev_kv else None)
        if isinstance(operation, DeleteRangeRequest):
            doomed = self.live(operation.key, operation.range_end)
            for kv in doomed:
                self.record(KeyValue(kv.key, b"", 0, self.revision + 1, 0), kv)
            return DeleteRangeResponse(self.now(), len(doomed), doomed if operation.prev_kv else [])
        return self.range(operation)

    def txn(self, request: TxnRequest) -> TxnResponse:
        taken = self.branches(request)
        flat = list(flatten(request, taken))
        for place, operation in enumerate(flat):
            if isinstance(operation, PutRequest):
                if (operation.ignore_value or operation.ignore_lease) and self.is_gone(operation.key, flat[:place]):
                    raise KeyNotFound
                self.check(operation)
        for operation in flat:
            if isinstance(operation, RangeRequest):
                self.check(operation)
        return self.run(request, taken)

    @staticmethod
    def is_gone(key: bytes, before: list) -> bool:
        """Whether the same transaction has deleted the key: of deletions, those to the end may come before a put."""
        deletions = [operation for operation in before if isinstance(operation, DeleteRangeRequest)]
        return any(deletion.range_end == b"\0" and deletion.key <= key for deletion in deletions)

    def branches(self, request: TxnRequest) -> dict[int, bool]:
        """Every transaction, by its id, with the branch that its compares choose now."""
        taken = {id(request): all(self.holds(compare) for compare in request.compare)}
        for operation in (*request.success, *request.failure):
            if isinstance(operation, TxnRequest):
                taken.update(self.branches(operation))
        return taken

    def run(self, request: TxnRequest, taken: dict[int, bool]) -> TxnResponse:
        responses = [
            self.run(operation, taken) if isinstance(operation, TxnRequest) else self.operate(operation)
            for operation in (request.success if taken[id(request)] else request.failure)
        ]
        return TxnResponse(self.now(), taken[id(request)], responses)

    def check(self, operation) -> None:
        if isinstance(operation, PutRequest):
            if (operation.ignore_value or operation.ignore_lease) and self.at(operation.key) is None:
                raise KeyNotFound
        elif isinstance(operation, RangeRequest):
            if operation.revision < 0:
                raise Compacted
            self.check_revision(operation)

    def holds(self, compare) -> bool:
        found = self.live(compare.key, compare.range_end)
        if not found:
            return compare.target != CompareTarget.VALUE and RESULTS[compare.result](0, compare.operand)
        return all(RESULTS[compare.result](getattr(kv, TARGETS[compare.target]), compare.operand) for kv in found)

    def check_revision(self, request: RangeRequest) -> None:
        if request.revision > self.revision:
            raise FutureRevision
        if 0 < request.revision < self.compacted:
            raise Compacted

    def range(self, request: RangeRequest) -> RangeResponse:
        found = self.live(request.key, request.range_end, request.revision if request.revision > 0 else None)
        if request.count_only:
            return RangeResponse(self.now(), [], len(found))
        limit = max(0, request.limit)
        order, target = request.sort_order, request.sort_target
        bounds = (
            (request.min_mod_revision, request.max_mod_revision, "mod_revision"),
            (request.min_create_revision, request.max_create_revision, "create_revision"),
        )
        shown = found
        if limit and order == SortOrder.NONE and not any(low or high for low, high, _ in bounds):
            shown = shown[: limit + 1]
        for low, high, name in bounds:
            shown = [kv for kv in shown if getattr(kv, name) >= low and (not high or getattr(kv, name) <= high)]
        if order != SortOrder.NONE or target != SortTarget.KEY:
            shown = sorted(shown, key=operator.attrgetter(SORT_TARGETS[target]), reverse=order == SortOrder.DESCEND)
        more = 0 < limit < len(shown)
        shown = shown[:limit] if limit else shown
        if request.keys_only:
            shown = [KeyValue(kv.key, b"", kv.create_revision, kv.mod_revision, kv.version, kv.lease) for kv in shown]
        return RangeResponse(self.now(), shown, len(found), more)


def flatten(request: TxnRequest, taken: dict[int, bool]):
    """The operations that run, those of nested transactions in their place."""
    for operation in request.success if taken[id(request)] else request.failure:
        if isinstance(operation, TxnRequest):
            yield from flatten(operation, taken)
        else:
            yield operation
