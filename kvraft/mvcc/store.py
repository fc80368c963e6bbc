"""The store: what each command does to the tables, one revision for each command that changes anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvraft.errors import Compacted, EmptyKey, FutureRevision, KvraftError, LeaseNotFound
from kvraft.mvcc.check import check_command
from kvraft.mvcc.compaction import begin_compaction, compact_step, compaction_pending
from kvraft.mvcc.puts import RecentHeads, begin_key, change_lease, end_of_puts, put_all
from kvraft.mvcc.reading import CountCache, count_range, open_end, read_changes, read_key, read_range, read_value
from kvraft.mvcc.records import (
    ANCHOR,
    HEAD,
    LEASE_ID,
    POSITION,
    POSITION_BYTES,
    Change,
    decode_value,
    encode_record,
)
from kvraft.storage.errors import StorageError
from kvraft.types import (
    Command,
    CompactRequest,
    CompactResponse,
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRangeRequest,
    DeleteRangeResponse,
    KeyValue,
    KvCommand,
    Operation,
    OperationResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    Response,
    TxnRequest,
    TxnResponse,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvraft.storage.state import StateEnvironment


class Store:
    """Commands and reads over the open transaction of ``environment``.

    A command that raises a :class:`~kvraft.errors.KvraftError` has changed nothing. Any other exception leaves the
    transaction half changed: it must not be committed.
    """

    def __init__(self, environment: StateEnvironment) -> None:
        self._environment = environment
        self._counts = CountCache()
        self._recent = RecentHeads()
        self._changes: list[Change] | None = []
        self._main = 0
        self._sub = 0
        self.others: dict[type, Callable[[Any], Response]] = {}
        """Who does the commands of ``execute_all`` that are not the store's own."""

    @property
    def revision(self) -> int:
        return self._environment.meta.revision

    @property
    def compacted_revision(self) -> int:
        """Reads below it are refused; 0 when nothing has been compacted."""
        return self._environment.meta.compacted_revision

    def forget(self) -> None:
        """The state has been replaced: drop what was remembered of the old one."""
        self._counts.clear()
        self._recent = RecentHeads()
        self._changes = []

    def take_changes(self) -> list[Change]:
        """The changes since the last call of this or of ``keep_changes``, in order."""
        taken, self._changes = self._changes, []
        return taken or []

    def keep_changes(self, *, wanted: bool) -> None:
        """Whether the changes from now on are for anybody; until the next ``take_changes``."""
        self._changes = [] if wanted else None

    def execute(self, command: KvCommand) -> PutResponse | DeleteRangeResponse | TxnResponse | CompactResponse:
        """Do ``command``. Raises a :class:`~kvraft.errors.KvraftError`, the same on every member."""
        check_command(command)
        meta = self._environment.meta
        if type(command) is CompactRequest:
            begin_compaction(meta, command.revision)
            return CompactResponse(meta.revision)
        self._main, self._sub = meta.revision + 1, 0
        response: PutResponse | DeleteRangeResponse | TxnResponse
        if type(command) is PutRequest:
            if command.lease:
                self.check_put(command)
            response = self._put(command)
        elif type(command) is DeleteRangeRequest:
            response = self._delete_range(command)
        else:
            assert type(command) is TxnRequest
            response = self._txn(command)
        if self._sub:
            meta.revision = self._main
            self._sub = 0
        return response

    def execute_all(self, commands: Sequence[Command], *, answered: bool = True) -> list[Response | KvraftError]:
        """Do ``commands`` in order: for each its answer, or what it raised, which then has changed nothing.

        Not ``answered``: nobody wants to know, and plain puts leave their answers out.
        """
        environment = self._environment
        answers: list[Response | KvraftError] = []
        start = 0
        while start < len(commands):
            end = end_of_puts(commands, start, environment.meta.threshold)
            if end - start > 1:
                first = self.revision + 1
                puts: list[PutRequest] = commands[start:end]  # type: ignore[assignment]
                put_all(environment.tables, environment.meta, self._recent, puts, self._changes)
                if answered:
                    answers += [PutResponse(revision) for revision in range(first, self.revision + 1)]
            else:
                end = start + 1
                answers.append(self._try(commands[start]))
            start = end
        return answers

    def _try(self, command: Command) -> Response | KvraftError:
        try:
            other = self.others.get(type(command))
            return self.execute(command) if other is None else other(command)  # type: ignore[arg-type]
        except StorageError:
            raise
        except KvraftError as error:
            return error

    def delete_keys(self, keys: Sequence[bytes]) -> None:
        """Delete what is there of ``keys``, in one revision of its own."""
        meta, cur = self._environment.meta, self._environment.tables.cur
        self._main, self._sub = meta.revision + 1, 0
        for key in keys:
            head = cur.get(key)
            if head is not None:
                self._delete(key, head)
        if self._sub:
            meta.revision = self._main
            self._sub = 0

    def range(self, request: RangeRequest) -> RangeResponse:
        """Read. Raises EmptyKey, Compacted, FutureRevision."""
        if not request.key:
            raise EmptyKey
        self._check_revision(request.revision)
        return self._range(request)

    def changes(self, low: int, max_changes: int, max_bytes: int) -> tuple[list[Change], int]:
        """Changes from revision ``low`` on, whole revisions until a bound is reached, and the last one covered.

        ``low`` is not below the compacted revision.
        """
        found, covered = read_changes(self._environment.tables, low, max_changes, max_bytes)
        return found, self.revision if covered is None else covered

    def previous(self, change: Change) -> KeyValue | None:
        """The key before ``change``; None for a create, or when a compaction has removed it."""
        if not change.previous or change.kv.version == 1:
            return None
        raw = self._environment.tables.rev.get(change.previous)
        return None if raw is None else decode_value(raw)

    @property
    def compacting(self) -> bool:
        """Whether :meth:`compact_step` has something to do."""
        return compaction_pending(self._environment.meta)

    def compact_step(self, limit: int) -> bool:
        """Remove what is compacted, looking at up to ``limit`` changes; True when there is more to do."""
        return compact_step(self._environment.tables, self._environment.meta, limit)

    def _check_revision(self, revision: int) -> None:
        meta = self._environment.meta
        if revision > meta.revision:
            raise FutureRevision
        if 0 < revision < meta.compacted_revision:
            raise Compacted

    def _reached(self) -> int:
        """The revision as the command under way sees it."""
        return self._main if self._sub else self.revision

    def _range(self, request: RangeRequest) -> RangeResponse:
        tables, revision = self._environment.tables, self._reached()
        at = None if request.revision <= 0 or request.revision == revision else request.revision
        if not request.range_end:
            kv = read_key(tables, request.key, at)
            if kv is None:
                return RangeResponse(revision, [], 0)
            if request.keys_only:
                kv = KeyValue(kv.key, b"", kv.create_revision, kv.mod_revision, kv.version, kv.lease)
            return RangeResponse(revision, [] if request.count_only else [kv], 1)
        key, end = request.key, open_end(request.range_end)
        if request.count_only:
            return RangeResponse(revision, [], self._count(key, end, at, [], key))
        kvs, following = read_range(tables, key, end, at, max(0, request.limit), request.keys_only)
        if following is None:
            return RangeResponse(revision, kvs, len(kvs))
        return RangeResponse(revision, kvs, self._count(key, end, at, kvs, following), True)

    def _count(self, key: bytes, end: bytes | None, at: int | None, page: list[KeyValue], following: bytes) -> int:
        """The count of ``[key, end)``, which starts with ``page`` and goes on at ``following``.

        Remembered for this range and for the one that asks for the next page.
        """
        tables = self._environment.tables
        if self._sub:
            return len(page) + count_range(tables, following, end, at)
        revision = self.revision if at is None else at
        count = self._counts.get(key, end, revision)
        if count is None:
            count = len(page) + count_range(tables, following, end, at)
            self._counts.put(key, end, revision, count)
        if page:
            self._counts.put(page[-1].key + b"\0", end, revision, count - len(page))
        return count

    def _put(self, request: PutRequest) -> PutResponse:
        tables, main, key = self._environment.tables, self._main, request.key
        head = tables.cur.get(key)
        old_lease = 0
        if head is None:
            create, version = main, 1
            key_id, previous = begin_key(tables, key)
        else:
            _, _, create, version, old_lease, key_id = HEAD.unpack(head)
            previous = head[:POSITION_BYTES]
            if version % ANCHOR == 0:
                tables.hist.put(key_id + previous, b"")
            version += 1
        if request.lease != old_lease:
            change_lease(tables, key, old_lease, request.lease)
        kv = KeyValue(key, request.value, create, main, version, request.lease)
        self._record(kv, key_id, previous)
        self._recent.forget(key)
        tables.cur.put(key, HEAD.pack(main, self._sub - 1, create, version, request.lease, key_id))
        return PutResponse(main, read_value(tables, previous) if request.prev_kv and version > 1 else None)

    def _delete_range(self, request: DeleteRangeRequest) -> DeleteRangeResponse:
        tables = self._environment.tables
        if request.range_end:
            doomed = list(tables.cur.walk(request.key, open_end(request.range_end)))
        else:
            head = tables.cur.get(request.key)
            doomed = [] if head is None else [(request.key, head)]
        prev_kvs = [read_value(tables, head[:POSITION_BYTES]) for _, head in doomed] if request.prev_kv else []
        for key, head in doomed:
            self._delete(key, head)
        return DeleteRangeResponse(self._reached(), len(doomed), prev_kvs)

    def _delete(self, key: bytes, head: bytes) -> None:
        """Remove a key that is there, with its ``head``."""
        tables, main = self._environment.tables, self._main
        _, _, _, version, lease, key_id = HEAD.unpack(head)
        previous = head[:POSITION_BYTES]
        if version % ANCHOR == 0:
            tables.hist.put(key_id + previous, b"")
        self._recent.forget(key)
        tables.cur.pop(key)
        if lease:
            change_lease(tables, key, lease, 0)
        self._record(KeyValue(key, b"", 0, main, 0), key_id, previous)
        tables.dead.put(key, HEAD.pack(main, self._sub - 1, 0, 0, 0, key_id))

    def _record(self, kv: KeyValue, key_id: bytes, previous: bytes) -> None:
        """Write down one change at the next position."""
        self._environment.tables.rev.put(
            POSITION.pack(self._main, self._sub),
            encode_record(
                (kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease, key_id, previous)
            ),
            append=True,
        )
        self._sub += 1
        if self._changes is not None:
            self._changes.append(Change(kv, previous))

    def check_put(self, request: PutRequest) -> None:
        """Raises LeaseNotFound for a put on a lease that there is not."""
        if request.lease and self._environment.tables.lease.get(LEASE_ID.pack(request.lease)) is None:
            raise LeaseNotFound

    def _txn(self, request: TxnRequest) -> TxnResponse:
        succeeded = all(self._holds(compare) for compare in request.compare)
        branch = request.success if succeeded else request.failure
        for operation in branch:
            if type(operation) is RangeRequest:
                if operation.revision < 0:
                    raise Compacted
                self._check_revision(operation.revision)
            elif type(operation) is PutRequest:
                self.check_put(operation)
        responses = [self._operate(operation) for operation in branch]
        return TxnResponse(self._reached(), succeeded, responses)

    def _operate(self, operation: Operation) -> OperationResponse:
        if type(operation) is PutRequest:
            return self._put(operation)
        if type(operation) is DeleteRangeRequest:
            return self._delete_range(operation)
        assert type(operation) is RangeRequest
        return self._range(operation)

    def _holds(self, compare: Compare) -> bool:
        """Whether the guard holds. A missing key has zeros, and no value that anything compares with."""
        tables = self._environment.tables
        head = tables.cur.get(compare.key)
        mod, _, create, version, lease, _ = HEAD.unpack(head) if head is not None else (0, 0, 0, 0, 0, b"")
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
        operand = compare.operand
        if compare.result == CompareResult.EQUAL:
            return actual == operand
        if compare.result == CompareResult.NOT_EQUAL:
            return actual != operand
        if compare.result == CompareResult.GREATER:
            return actual > operand  # type: ignore[operator]
        return actual < operand  # type: ignore[operator]
