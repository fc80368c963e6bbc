"""What the store must do, in the plainest way: every key's whole history in a list."""

from __future__ import annotations

import operator

from kvraft.errors import Compacted, FutureRevision
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
    TxnRequest,
    TxnResponse,
)

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
        response = self.txn(command) if isinstance(command, TxnRequest) else self.operate(command)
        self.revision += self.changed > 0
        return response

    def now(self) -> int:
        return self.revision + (self.changed > 0)

    def operate(self, operation):
        if isinstance(operation, PutRequest):
            previous = self.at(operation.key)
            create, version = (previous.create_revision, previous.version) if previous else (self.revision + 1, 0)
            self.record(KeyValue(operation.key, operation.value, create, self.revision + 1, version + 1), previous)
            return PutResponse(self.now(), previous if operation.prev_kv else None)
        if isinstance(operation, DeleteRangeRequest):
            doomed = self.live(operation.key, operation.range_end)
            for kv in doomed:
                self.record(KeyValue(kv.key, b"", 0, self.revision + 1, 0), kv)
            return DeleteRangeResponse(self.now(), len(doomed), doomed if operation.prev_kv else [])
        return self.range(operation)

    def txn(self, request: TxnRequest) -> TxnResponse:
        succeeded = all(self.holds(compare) for compare in request.compare)
        branch = request.success if succeeded else request.failure
        for operation in branch:
            if isinstance(operation, RangeRequest):
                if operation.revision < 0:
                    raise Compacted
                self.check_revision(operation)
        responses = [self.operate(operation) for operation in branch]
        return TxnResponse(self.now(), succeeded, responses)

    def holds(self, compare) -> bool:
        kv = self.at(compare.key)
        if compare.target == CompareTarget.VALUE:
            return kv is not None and RESULTS[compare.result](kv.value, compare.operand)
        name = ("version", "create_revision", "mod_revision", "value", "lease")[compare.target]
        return RESULTS[compare.result](getattr(kv, name) if kv else 0, compare.operand)

    def check_revision(self, request: RangeRequest) -> None:
        if request.revision > self.revision:
            raise FutureRevision
        if 0 < request.revision < self.compacted:
            raise Compacted

    def range(self, request: RangeRequest) -> RangeResponse:
        found = self.live(request.key, request.range_end, request.revision if request.revision > 0 else None)
        shown = found[: request.limit] if request.limit > 0 and request.range_end else found
        if request.count_only:
            return RangeResponse(self.now(), [], len(found))
        if request.keys_only:
            shown = [KeyValue(kv.key, b"", kv.create_revision, kv.mod_revision, kv.version, kv.lease) for kv in shown]
        return RangeResponse(self.now(), shown, len(found), len(shown) < len(found))
