"""The store: what each command does to the tables, one revision for each command that changes anything."""

from __future__ import annotations

from collections.abc import Generator
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, cast

from kvraft.errors import Compacted, FutureRevision, KeyNotFound, KvraftError, LeaseNotFound, ReadsTooMuch
from kvraft.mvcc.bounds import PIECE_KEYS, WITHOUT_BOUND, Room, are_large, check_reads, whole
from kvraft.mvcc.check import ANY_OPS, check_command, check_range
from kvraft.mvcc.compaction import begin_compaction, compact_step, compaction_pending
from kvraft.mvcc.counts import CountCache
from kvraft.mvcc.late import RecentHeads, find_late
from kvraft.mvcc.puts import begin_key, change_lease, end_of_puts, put_all
from kvraft.mvcc.reading import open_end, read_changes, read_key, read_part, read_previous, read_value
from kvraft.mvcc.records import (
    ANCHOR,
    HEAD,
    LEASE_ID,
    POSITION,
    POSITION_BYTES,
    Change,
    encode_record,
    keys_of_lease,
    lease_key,
)
from kvraft.mvcc.scan import RangeScan, passes, without_value
from kvraft.mvcc.txn import check_path, take_path
from kvraft.storage.errors import StorageError
from kvraft.types import (
    Command,
    CompactRequest,
    CompactResponse,
    DeleteRangeRequest,
    DeleteRangeResponse,
    KeyValue,
    KvCommand,
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
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kvraft.mvcc.bounds import Work
    from kvraft.storage.state import StateEnvironment
    from kvraft.storage.tables import Tables
    from kvraft.types import PlainPut

T = TypeVar("T")


class Store:
    """Commands and reads over the open transaction of ``environment``.

    A command that raises a :class:`~kvraft.errors.KvraftError` has changed nothing. Any other exception leaves the
    transaction half changed: it must not be committed.
    """

    def __init__(self, environment: StateEnvironment) -> None:
        self._environment = environment
        self._counts = CountCache()
        self._changes: list[Change] | None
        self.forget()
        self._main = self._sub = 0
        self._in_pieces = False
        self._piece_left = PIECE_KEYS
        """Deletions until the next rest, if there are rests."""
        self.others: dict[type, Callable[[Any], Response]] = {}
        """Who does the commands of ``execute_all`` that are not the store's own."""
        self.around: Callable[[Command], Response] | None = None
        """What stands between ``execute_all`` and ``dispatch``, if anything does; see ``kvraft.apply.layers``."""
        self.puts = self.put_bytes = self.deletes = self.ranges = self.txns = self.compacted = 0
        """What has been done since the start, parts of transactions included; changes that compactions removed."""

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
        find_late(self._environment.tables, self._environment.meta)

    @property
    def _tables(self) -> Tables:
        """The tables with every head in its place: for whoever looks at heads, or changes what has any."""
        environment = self._environment
        if environment.meta.late_from:
            self._recent.settle(environment.tables, environment.meta)
        return environment.tables

    def prepare_commit(self, *, whole: bool) -> None:
        """``whole``: every head gets to its place; else only those of keys that are not put any more."""
        tables = self._tables if whole else self._environment.tables
        self._recent.age(tables, self._environment.meta)

    def take_changes(self) -> list[Change]:
        """The changes since the last call of this or of ``keep_changes``, in order."""
        taken, self._changes = self._changes, []
        return taken or []

    def keep_changes(self, *, wanted: bool) -> None:
        """Whether the changes from now on are for anybody; until the next ``take_changes``."""
        self._changes = [] if wanted else None

    def execute(self, command: KvCommand) -> Response:
        """Do ``command``. Raises a :class:`~kvraft.errors.KvraftError`, the same on every member.

        For :meth:`execute_in_pieces` a delete or a transaction is checked and begun; its answer is the rest of it.
        """
        check_command(command, ANY_OPS)
        meta = self._environment.meta
        if type(command) is CompactRequest:
            begin_compaction(meta, command.revision)
            return CompactResponse(meta.revision)
        self._main, self._sub = meta.revision + 1, 0
        if type(command) is PutRequest:
            if command.lease or command.ignore_value or command.ignore_lease:
                self.check_put(command)
            response = self._put(command)
            meta.revision, self._sub = self._main, 0
            return response
        work: Work[Any]
        if type(command) is DeleteRangeRequest:
            if command.prev_kv:
                check_reads(self._tables, (command,), Room(), self._at)
            work = self._delete_range(command)
        else:
            assert type(command) is TxnRequest
            work = self._txn(command)
        work = self._to_revision(work)
        answer: Response = self.in_this_piece(work)
        return answer

    def _to_revision(self, work: Work[T]) -> Work[T]:
        """``work``, and the revision for what it has changed."""
        response = yield from work
        if self._sub:
            self._environment.meta.revision = self._main
            self._sub = 0
        return response

    def execute_all(self, commands: Sequence[Command], *, answered: bool = True) -> list[Response | KvraftError]:
        """Do ``commands`` in order: for each its answer, or what it raised, which then has changed nothing.

        Not ``answered``: nobody wants to know, and plain puts leave their answers out.
        """
        answers: list[Response | KvraftError] = []
        start, threshold = 0, self._environment.meta.threshold
        while start < len(commands):
            end = start if self.around else end_of_puts(commands, start, threshold)
            if end - start > 1:
                puts: Sequence[PutRequest] = commands[start:end]  # type: ignore[assignment]
                answers += self.put_all([(2, put.key, put.value) for put in puts], answered=answered)
            else:
                end = start + 1
                answers.append(self._try(commands[start]))
            start = end
        return answers

    def put_all(self, puts: Sequence[PlainPut], *, answered: bool = True) -> Iterable[PutResponse]:
        """The same for plain puts alone, of keys that need no bucket, while nothing is ``around``."""
        environment, first = self._environment, self.revision + 1
        self.puts += len(puts)
        self.put_bytes += put_all(environment.tables, environment.meta, self._recent, self._counts, puts, self._changes)
        return map(PutResponse, range(first, self.revision + 1)) if answered else ()

    def takes_long(self, commands: Sequence[object]) -> bool:
        """Whether ``commands`` are about to delete more than a piece."""
        return are_large(self._tables, commands)

    def execute_in_pieces(self, commands: Sequence[Command]) -> Work[list[Response | KvraftError]]:
        """The same as :meth:`execute_all`, with rests after some ``PIECE_KEYS`` deletions each.

        Meanwhile the state is half changed: whoever else looks at it must be shown another one.
        """
        answers: list[Response | KvraftError] = []
        self._counts.clear()
        self._piece_left = PIECE_KEYS
        for command in commands:
            self._in_pieces = True
            try:
                answer: Any = self._try(command)
            finally:
                self._in_pieces = False
            if isinstance(answer, Generator):
                answer = yield from self._resting(answer)
            answers.append(answer)
            if self._piece_left <= 0:
                yield from self._resting(self._rest())
        return answers

    def _rest(self) -> Work[None]:
        self._piece_left = PIECE_KEYS
        yield

    def _resting(self, work: Work[T]) -> Work[T]:
        """``work``, whose rests leave nothing of it here for those who read meanwhile."""
        while True:
            try:
                next(work)
            except StopIteration as end:
                return cast("T", end.value)
            main, sub, self._sub = self._main, self._sub, 0
            self._counts.clear()
            yield
            self._counts.clear()
            self._main, self._sub = main, sub

    def dispatch(self, command: Command) -> Response:
        """Do ``command``, or have it done by whom it belongs to."""
        other = self.others.get(type(command))
        return self.execute(command) if other is None else other(command)  # type: ignore[arg-type]

    def _try(self, command: Command) -> Response | KvraftError:
        try:
            return self.dispatch(command) if self.around is None else self.around(command)
        except StorageError:
            raise
        except KvraftError as error:
            return error

    def delete_leased(self, lease_id: int) -> Work[None]:
        """Delete the keys that hang on a lease, in order, in one revision of its own; see :meth:`in_this_piece`."""
        self._main, self._sub = self.revision + 1, 0
        return self._to_revision(self._delete_leased(lease_id))

    def in_this_piece(self, work: Work[T]) -> T:
        """The answer of ``work``, done at once; for :meth:`execute_in_pieces` ``work`` itself."""
        return work if self._in_pieces else whole(work)  # type: ignore[return-value]

    def _delete_leased(self, lease_id: int) -> Work[None]:
        after: bytes | None = None
        while True:
            tables = self._tables
            walk = tables.leased.walk(*keys_of_lease(lease_id, after))
            doomed = [leased[LEASE_ID.size :] for leased, _ in islice(walk, PIECE_KEYS)]
            for key in doomed:
                head = tables.cur.get(key)
                if head is not None:
                    self._delete(key, head)
            if self._piece_left <= 0:
                yield from self._rest()
            if len(doomed) < PIECE_KEYS:
                return
            after = doomed[-1]

    def range(self, request: RangeRequest) -> RangeResponse:
        """Read. Raises EmptyKey, InvalidSortOption, Compacted, FutureRevision."""
        answer = self.range_within(request)
        assert answer is not None
        return answer

    def range_within(
        self, request: RangeRequest, max_keys: int = WITHOUT_BOUND, max_bytes: int = WITHOUT_BOUND
    ) -> RangeResponse | None:
        """Read, if that is done within the bounds; None if it is not: see :meth:`scan`. Raises as :meth:`range`."""
        check_range(request)
        if request.revision > 0:
            self.check_revision(request.revision)
        return self._range(request, Room(max_keys, max_bytes))

    def read_txn(self, request: TxnRequest) -> TxnResponse:
        """Do a transaction that only reads, without a revision of its own. Raises what :meth:`execute` does."""
        check_command(request, ANY_OPS)
        return whole(self._txn(request))

    def scan(self, request: RangeRequest, tables: Tables, max_bytes: int | None = None) -> RangeScan:
        """``request`` as something that can be done in pieces and in another thread, over another transaction's
        ``tables`` that has everything which is applied now. :meth:`scanned` makes the answer. Raises as :meth:`range`.
        """
        check_range(request)
        self.check_revision(request.revision)
        known = self._known_count(request)
        return RangeScan(tables, request, self._at(request), lambda: known, max_bytes)

    def scanned(self, request: RangeRequest, scan: RangeScan, revision: int) -> RangeResponse:
        """The answer of a finished ``scan``, begun when the store was at ``revision``."""
        if scan.counting and not self._sub:
            self._remember_count(request, scan, revision)
        return RangeResponse(revision, scan.kvs, scan.count, scan.more)

    def changes(self, low: int, max_changes: int, max_bytes: int) -> tuple[list[Change], int]:
        """Changes from revision ``low`` on, whole revisions until a bound is reached, and the last one covered.

        ``low`` is not below the compacted revision. A revision that is too long for this is left to :meth:`part`; when
        it is ``low`` there are no changes, and ``low - 1`` is covered.
        """
        found, covered = read_changes(self._environment.tables, low, max_changes, max_bytes)
        return found, self.revision if covered is None else covered

    def part(self, revision: int, sub: int, max_changes: int) -> tuple[list[Change], int | None]:
        """Changes of one revision from place ``sub`` on, and where it goes on; None: nowhere."""
        return read_part(self._environment.tables, revision, sub, max_changes)

    def previous(self, change: Change) -> KeyValue | None:
        """The key before ``change``; None for a create, or when a compaction has removed it."""
        return read_previous(self._environment.tables, change)

    @property
    def compacting(self) -> bool:
        """Whether :meth:`compact_step` has something to do."""
        return compaction_pending(self._environment.meta)

    def compact_step(self, limit: int) -> bool:
        """Remove what is compacted, looking at up to ``limit`` changes; True when there is more to do."""
        removed, more = compact_step(self._tables, self._environment.meta, limit)
        self.compacted += removed
        return more

    def check_revision(self, revision: int) -> None:
        """Raises FutureRevision and Compacted for what cannot be read."""
        meta = self._environment.meta
        if revision > meta.revision:
            raise FutureRevision
        if 0 < revision < meta.compacted_revision:
            raise Compacted

    def _reached(self) -> int:
        """The revision as the command under way sees it."""
        return self._main if self._sub else self.revision

    def _at(self, request: RangeRequest) -> int | None:
        """The past revision that is asked for; None for the latest."""
        return None if request.revision <= 0 or request.revision == self._reached() else request.revision

    def _range(self, request: RangeRequest, room: Room) -> RangeResponse | None:
        """None when there is not enough room."""
        self.ranges += 1
        if not request.range_end:
            return self._one(request)
        tables, revision = self._tables, self._reached()
        if self._sub:  # within a transaction that has written: what is remembered is of before it
            scan = RangeScan(tables, request, self._at(request))
        else:
            scan = RangeScan(tables, request, self._at(request), lambda: self._known_count(request))
        if not scan.step(room.keys, room.bytes):
            return None
        room.take(min(scan.work_keys, room.keys), min(scan.work_bytes, room.bytes))
        return self.scanned(request, scan, revision)

    def _one(self, request: RangeRequest) -> RangeResponse:
        """A range of a single key."""
        revision = self._reached()
        kv = read_key(self._tables, request.key, request.revision if request.revision > 0 else None)
        if kv is None:
            return RangeResponse(revision, [], 0)
        if request.count_only or not passes(request, kv):
            return RangeResponse(revision, [], 1)
        return RangeResponse(revision, [without_value(kv) if request.keys_only else kv], 1)

    def _known_count(self, request: RangeRequest) -> int | None:
        key, end, at = request.key, open_end(request.range_end), self._at(request)
        known = self._counts.get(key, end, at)
        if known is None and at is None:
            known = self._counts.get(key, end, self.revision)
            return self._counts.near(self._tables.cur, key, end) if known is None else known
        return known

    def _remember_count(self, request: RangeRequest, scan: RangeScan, revision: int) -> None:
        """For this range, and for the one that asks for the next page at the same revision."""
        key, end = request.key, open_end(request.range_end)
        at = request.revision if request.revision > 0 else revision
        self._counts.put(key, end, at, scan.count)
        if at == self.revision:
            self._counts.put(key, end, None, scan.count)
        if scan.is_page:
            self._counts.put(scan.kvs[-1].key + b"\0", end, at, scan.count - len(scan.kvs))

    def _put(self, request: PutRequest) -> PutResponse:
        tables, main, key = self._tables, self._main, request.key
        self.puts += 1
        self.put_bytes += len(key) + len(request.value)
        head = tables.cur.get(key)
        old_lease = 0
        if head is None:
            create, version = main, 1
            key_id, previous = begin_key(tables, key)
            self._counts.created(key)
        else:
            _, _, create, version, old_lease, key_id = HEAD.unpack(head)
            previous = head[:POSITION_BYTES]
            if version % ANCHOR == 0:
                tables.hist.put(key_id + previous, b"")
            version += 1
        value, lease = request.value, request.lease
        if request.ignore_value or request.ignore_lease:
            known = read_value(tables, previous)
            value = known.value if request.ignore_value else value
            lease = known.lease if request.ignore_lease else lease
        if lease != old_lease:
            change_lease(tables, key, old_lease, lease)
        kv = KeyValue(key, value, create, main, version, lease)
        self._record(kv, key_id, previous)
        self._recent.forget(key)
        tables.cur.put(key, HEAD.pack(main, self._sub - 1, create, version, lease, key_id))
        return PutResponse(main, read_value(tables, previous) if request.prev_kv and version > 1 else None)

    def _delete_range(self, request: DeleteRangeRequest) -> Work[DeleteRangeResponse]:
        self.deletes += 1
        deleted = 0
        prev_kvs: list[KeyValue] = []
        key: bytes | None = request.key
        while key is not None:
            tables = self._tables
            if request.range_end:
                doomed = list(islice(tables.cur.walk(key, open_end(request.range_end)), PIECE_KEYS))
            else:
                head = tables.cur.get(key)
                doomed = [] if head is None else [(key, head)]
            if request.prev_kv:
                prev_kvs += [read_value(tables, head[:POSITION_BYTES]) for _, head in doomed]
            for key, head in doomed:
                self._delete(key, head)
            deleted += len(doomed)
            key = key + b"\0" if len(doomed) == PIECE_KEYS else None
            if self._piece_left <= 0:
                yield from self._rest()
        return DeleteRangeResponse(self._reached(), deleted, prev_kvs)

    def _delete(self, key: bytes, head: bytes) -> None:
        """Remove a key that is there, with its ``head``."""
        tables, main = self._tables, self._main
        _, _, _, version, lease, key_id = HEAD.unpack(head)
        previous = head[:POSITION_BYTES]
        if version % ANCHOR == 0:
            tables.hist.put(key_id + previous, b"")
        self._piece_left -= 1
        self._recent.forget(key)
        self._counts.deleted(key)
        tables.cur.pop(key)
        if lease:
            change_lease(tables, key, lease, 0)
        self._record(KeyValue(key, b"", 0, main, 0), key_id, previous)
        tables.dead.put(key, HEAD.pack(main, self._sub - 1, 0, 0, 0, key_id))

    def _record(self, kv: KeyValue, key_id: bytes, previous: bytes) -> None:
        """Write down one change at the next position."""
        self._tables.rev.put(
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
        """Raises KeyNotFound for a put that keeps something of a key which is not there, then LeaseNotFound."""
        tables = self._tables
        if (request.ignore_value or request.ignore_lease) and tables.cur.get(request.key) is None:
            raise KeyNotFound
        if request.lease and tables.lease.get(lease_key(request.lease)) is None:
            raise LeaseNotFound

    def _txn(self, request: TxnRequest) -> Work[TxnResponse]:
        self.txns += 1
        tables, room = self._tables, Room()
        path = take_path(tables, request, room)
        operations = check_path(request, path, self)
        if any(type(operation) is not RangeRequest for operation in operations):
            check_reads(tables, operations, room, self._at)
            room = Room(WITHOUT_BOUND, WITHOUT_BOUND)
        return self._follow(request, iter(path), room)

    def _follow(self, request: TxnRequest, path: Iterator[bool], room: Room) -> Work[TxnResponse]:
        """Do the branches that ``path`` says, this transaction's first."""
        succeeded = next(path)
        responses: list[OperationResponse] = []
        for operation in request.success if succeeded else request.failure:
            if type(operation) is PutRequest:
                responses.append(self._put(operation))
            elif type(operation) is DeleteRangeRequest:
                responses.append((yield from self._delete_range(operation)))
            elif type(operation) is TxnRequest:
                responses.append((yield from self._follow(operation, path, room)))
            else:
                assert type(operation) is RangeRequest
                answer = self._range(operation, room)
                if answer is None:
                    raise ReadsTooMuch
                responses.append(answer)
        return TxnResponse(self._reached(), succeeded, responses)
