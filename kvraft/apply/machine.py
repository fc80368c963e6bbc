"""The replicated state machine: entries in, answers and watch events out, the applied index always with its data.

Everything runs on the loop. Applied changes are visible at once and durable with the next :meth:`StateMachine.commit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import lmdb
import msgspec

from kvraft.apply.alarms import Alarms
from kvraft.apply.auth import Envelopes
from kvraft.apply.command import (
    MAX_TXN_OPS,
    Authorized,
    check_command,
    decode_commands,
    join_commands,
)
from kvraft.apply.defragment import Defragmentation
from kvraft.apply.described import Described
from kvraft.apply.layers import capped, corrupt, takes_space
from kvraft.apply.membership import MAX_REMOVED, apply_change
from kvraft.apply.pieces import Pieces
from kvraft.apply.plain import PlainEntries
from kvraft.auth.access import Access
from kvraft.auth.store import AUTH_COMMANDS, AuthStore
from kvraft.errors import Corrupt, KvraftError, NoSpace, TooManyRequests
from kvraft.lease.table import LEASE_COMMANDS, LeaseTable, check_lease_command
from kvraft.mvcc.store import Store
from kvraft.raft.messages import Configuration, Entry, EntryKind, SnapshotMeta
from kvraft.storage import failpoint
from kvraft.storage.errors import StorageError, storage_error
from kvraft.storage.keytable import THRESHOLD
from kvraft.storage.state import MAP_BYTES, StateEnvironment
from kvraft.types import (
    AlarmRequest,
    AlarmType,
    Command,
    RangeRequest,
    RangeResponse,
    Response,
    TxnRequest,
    TxnResponse,
)
from kvraft.watch.hub import WatchHub
from kvraft.watch.progress import INTERVAL_SECONDS

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from kvraft.apply.layers import Layer
    from kvraft.mvcc.scan import RangeScan
    from kvraft.storage.snapshot import SnapshotReader, SnapshotWriter
    from kvraft.storage.view import StateView
    from kvraft.types import AuthCommand, LeaseCommand, MemberInfo

QUOTA_BYTES = 2 << 30
MAX_UNCOMMITTED_BYTES = 64 << 20
"""With more than this applied since the last commit, apply commits by itself, to bound the transaction's memory."""


class StateMachine(Described):
    """State, store, leases and watches of one member.

    ``watch`` is the :class:`~kvraft.watch.hub.WatchHub`, ``leases`` the :class:`~kvraft.lease.table.LeaseTable`,
    ``auth`` the :class:`~kvraft.auth.store.AuthStore`, and ``access`` what checks by it.
    """

    def __init__(
        self, environment: StateEnvironment, quota_bytes: int, watch_progress_seconds: float = INTERVAL_SECONDS
    ) -> None:
        self._environment = environment
        self._store = Store(environment)
        self.leases = LeaseTable(environment, self._store)
        self._store.others = {
            **dict.fromkeys(LEASE_COMMANDS, self._lease_command),
            AlarmRequest: self._alarm_command,
            **dict.fromkeys(AUTH_COMMANDS, self._auth_command),
            Authorized: self._opened_command,
        }
        self.auth = AuthStore(environment)
        self.access = Access(self.auth, self.leases.keys)
        self._envelopes = Envelopes(self.access)
        self._entry_term = 0
        self._quota_bytes = quota_bytes
        self.uncommitted_bytes = 0
        self._measured_bytes = environment.sizes()[1]
        self.uncommitted = 0
        self.watch = WatchHub(self._store, watch_progress_seconds)
        self.alarms = Alarms(environment)
        self._defragmentation: Defragmentation | None = None
        self._until_compacted: list[tuple[int, Callable[[], None]]] = []
        self.compactions = 0
        """How many have come to their end since the start."""
        self.in_pieces = False
        """Whether :meth:`apply` may come back with an entry half done."""
        self._pieces = Pieces(environment, self._store)
        self._plain = PlainEntries(environment, self._store)
        self.foresee = self._plain.foresee  # see contracts.Machine
        self._stack_layers()

    @classmethod
    def open(
        cls,
        directory: str | os.PathLike[str],
        *,
        quota_bytes: int = QUOTA_BYTES,
        watch_progress_seconds: float = INTERVAL_SECONDS,
        map_bytes: int = MAP_BYTES,
        sync: bool = True,
        key_threshold: int = THRESHOLD,
    ) -> Self:
        """Open or create the state in ``directory``. Raises :class:`~kvraft.storage.errors.StorageError`.

        ``quota_bytes`` is what :meth:`admit` holds clients to; ``map_bytes`` is the file's own limit, far above it.
        """
        map_bytes = max(map_bytes, 4 * quota_bytes) if map_bytes == MAP_BYTES else map_bytes
        environment = StateEnvironment.open(directory, map_bytes=map_bytes, sync=sync, threshold=key_threshold)
        return cls(environment, quota_bytes, watch_progress_seconds)

    # ------------------------------------------------------------------ what it is

    @property
    def durable_index(self) -> int:
        """The applied index that a power loss cannot take back: the log up to here may be discarded.

        It follows one commit behind ``committed_index``, because a commit does not wait for its last page.
        """
        durable, copying = self._environment.durable_index, self._defragmentation
        return durable if copying is None or copying.over else min(durable, copying.index)

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for what is applied next."""
        return self.watch.has_synced

    @property
    def quota_bytes(self) -> int:
        """What :meth:`admit` holds clients to."""
        return self._quota_bytes

    @property
    def used_bytes(self) -> int:
        """What the quota is compared with: the data in use at the last commit, and what has been applied since."""
        return self._measured_bytes + self.uncommitted_bytes

    def statistics(self) -> dict[str, int]:
        """What has been done since the start, by what etcd's metrics call it, and how many keys there are."""
        store = self._store
        return {
            "put": store.puts,
            "delete": store.deletes,
            "range": store.ranges,
            "txn": store.txns,
            "put_bytes": store.put_bytes,
            "compacted": store.compacted,
            "keys": self._environment.key_count(),
        }

    # ------------------------------------------------------------------ writes

    def initialise(
        self,
        configuration: Configuration | None,
        cluster_id: int,
        member_id: int,
        members: tuple[MemberInfo, ...] = (),
        index: int = 0,
    ) -> None:
        """Make this the first state of a member, durably. Raises StorageError when it is somebody's already.

        A cluster's founders begin at an ``index`` above 0, in term 1. Who joins later begins at 0 and without a
        ``configuration``: no log reaches back that far, so it is sent a snapshot, and with it what the founders knew.
        """
        meta = self._environment.meta
        if meta.member_id or meta.configuration is not None:
            raise StorageError(f"{self._environment.path}: is the state of member {meta.member_id:x} already")
        meta.configuration, meta.members = configuration, members
        meta.cluster_id, meta.member_id = cluster_id, member_id
        meta.applied_index, meta.applied_term = index, int(index > 0)
        self.commit()

    def stand_alone(self) -> None:
        """Make this member the only one, durably: the others are lost for good (``--force-new-cluster``)."""
        meta = self._environment.meta
        others = tuple(member.member_id for member in meta.members if member.member_id != meta.member_id)
        alone = [member for member in meta.members if member.member_id == meta.member_id]
        meta.configuration = Configuration((meta.member_id,))
        meta.members = tuple(msgspec.structs.replace(member, is_learner=False) for member in alone)
        meta.removed = (*meta.removed, *others)[-MAX_REMOVED:]
        self.commit()
        self.commit()

    def _stack_layers(self) -> None:
        """What stands around the store at present; see ``kvraft.apply.layers``."""
        around: Layer | None = None
        if self.auth.enabled:
            around = self._envelopes.authorized(self._store.dispatch)
        if self.alarms.active(AlarmType.NOSPACE):
            around = capped(around or self._store.dispatch)
        if self.alarms.active(AlarmType.CORRUPT):
            around = corrupt(around or self._store.dispatch)
        if self.auth.enabled and around is not None:
            around = self._envelopes.opened(around)
        self._store.around = around

    def _alarm_command(self, command: AlarmRequest) -> Response:
        answer = self.alarms.execute(command)
        self._stack_layers()
        return answer

    def _auth_command(self, command: AuthCommand) -> Response:
        answer = self.auth.execute(command)
        self._stack_layers()
        return answer

    def _opened_command(self, command: Authorized) -> Response:
        """Proposed while authentication was on; now it is off, and everybody may."""
        return (self._store.around or self._store.dispatch)(command.command)

    def check(self, command: Command, max_ops: int = MAX_TXN_OPS) -> None:
        """Raises what is wrong with the command itself, whatever the state is."""
        if type(command) in LEASE_COMMANDS:
            check_lease_command(command)  # type: ignore[arg-type]
        else:
            check_command(command, max_ops)  # type: ignore[arg-type]

    def admit(self, command: Command, max_ops: int = MAX_TXN_OPS) -> None:
        """What a member asks before it proposes: the checks of apply, and the quota of this member.

        Raises what :func:`check_command` raises, and NoSpace for what would add data while the data in use exceeds
        the quota. The quota is never looked at in apply, where members of different fill would come to different
        answers; deletes and compactions go on.
        """
        self.check(command, max_ops)
        if not self.has_room and takes_space(command):
            raise NoSpace

    @property
    def has_room(self) -> bool:
        """Whether the quota allows what adds data; :meth:`admit` refuses it otherwise."""
        return self._measured_bytes + self.uncommitted_bytes < self._quota_bytes

    @staticmethod
    def join(proposals: Sequence[bytes]) -> bytes:
        """The data of an entry that carries these encoded commands, in order."""
        return join_commands(proposals)

    def apply(self, entries: Sequence[Entry], *, answered: bool = True) -> list[list[Response | KvraftError]]:
        """Apply committed entries; for each its commands' answers, in order. Not ``answered``: they may be missing.

        The entries follow ``applied_index`` without a gap. Watchers have been served on return. With ``in_pieces``
        there may be no answers of the last entries: they are to be given again, to go on with the first. Raises
        :class:`~kvraft.storage.errors.StorageError` when the disk fails; nothing can be applied after that.
        """
        if not entries:
            return []
        assert entries[0].index == self.applied_index + 1, (entries[0].index, self.applied_index)
        answers: list[list[Response | KvraftError]] = []
        try:
            if failpoint.active:
                failpoint.hit("state.before_apply")
            if not self._pieces.under_way:
                self._store.keep_changes(wanted=self.watch.has_synced)
            for entry in entries:
                given = self._apply_one(entry, answered)
                if given is None:
                    return answers
                answers.append(given)
                if failpoint.active:
                    failpoint.hit("state.between_entries")
                if self.uncommitted_bytes > MAX_UNCOMMITTED_BYTES:
                    self.commit(whole=False)
            self.watch.publish(self._store.take_changes())
            if failpoint.active:
                failpoint.hit("state.after_apply")
        except BaseException as error:
            self._environment.poison(repr(error))
            if isinstance(error, (lmdb.Error, OSError)):
                raise storage_error(self._environment.path, error) from error
            raise
        return answers

    def _apply_one(self, entry: Entry, answered: bool) -> list[Response | KvraftError] | None:
        """None: in pieces, and there are more."""
        assert entry.index == self.applied_index + 1, (entry.index, self.applied_index)
        answers: list[Response | KvraftError] | None = []
        operations, environment = 1, self._environment
        try:
            if entry.kind == EntryKind.CONFIGURATION:
                answers = self._change(entry.data)
            elif puts := self._plain.puts(entry):
                operations = len(puts)
                answers = list(self._store.put_all(puts, answered=answered))
            elif entry.data:
                commands = decode_commands(entry.data)
                operations = len(commands)
                self._entry_term = entry.term
                if self.in_pieces and self._pieces.takes_long(commands):
                    answers = self._apply_piece(commands)  # type: ignore[arg-type]
                else:
                    answers = self._store.execute_all(commands, answered=answered)  # type: ignore[arg-type]
        except msgspec.MsgspecError:
            answers = [Corrupt(f"{Corrupt.text}: entry {entry.index} cannot be decoded")]
        if answers is None:
            return None
        meta = environment.meta
        meta.applied_index, meta.applied_term = entry.index, entry.term
        self.uncommitted += operations
        self.uncommitted_bytes += len(entry.data)
        return answers

    def _apply_piece(self, commands: Sequence[Command]) -> list[Response | KvraftError] | None:
        if not self._pieces.under_way:
            self.watch.publish(self._store.take_changes())
            self._store.keep_changes(wanted=False)
            self.commit()
            self._pieces.begin(commands)
        answers = self._pieces.go_on()
        if answers is not None:
            self.watch.replaced()  # all of them read what has changed from the state, as after a snapshot
        return answers

    def _change(self, data: bytes) -> list[Response | KvraftError]:
        try:
            answer = apply_change(self._environment.meta, data)
        except KvraftError as refusal:
            return [refusal]
        self._stack_layers()  # the alarms of who has left are gone
        return [] if answer is None else [answer]

    def _lease_command(self, command: LeaseCommand) -> Response:
        return self.leases.execute(command, self._entry_term)

    def commit(self, *, whole: bool = True) -> None:
        """Make what has been applied durable against the end of the process. Raises StorageError.

        Not ``whole``: nobody is to read this commit but a restart, which finds the late heads. Nothing happens while
        an entry is half done: everything before it has been committed.
        """
        if self._pieces.under_way:
            return
        self._store.prepare_commit(whole=whole)
        self._environment.commit()
        self._measured_bytes = self._environment.sizes()[1]
        self.uncommitted = 0
        self.uncommitted_bytes = 0

    def _commit_for_readers(self) -> None:
        if self.uncommitted or not self._environment.is_whole:
            self.commit()

    @property
    def compacting(self) -> bool:
        """Whether :meth:`compact_step` has something to do."""
        return self._store.compacting or bool(self._until_compacted)

    def compact_step(self, limit: int) -> bool:
        """Remove what is compacted, looking at up to ``limit`` changes (some 5 µs each); True when more is left."""
        if self._pieces.under_way or not self._store.compacting:
            if self._until_compacted and not self._pieces.under_way:
                self._tell_compacted()
            return False
        try:
            more = self._store.compact_step(limit)
            if failpoint.active:
                failpoint.hit("state.after_compact_step")
        except BaseException as error:
            self._environment.poison(repr(error))
            if isinstance(error, (lmdb.Error, OSError)):
                raise storage_error(self._environment.path, error) from error
            raise
        self.uncommitted += 1
        self.compactions += not more
        if not more and self._until_compacted:
            self._tell_compacted()
        return more

    def when_compacted(self, revision: int, tell: Callable[[], None]) -> None:
        """Have :meth:`compact_step` call ``tell`` once what the compaction to ``revision`` frees has been freed."""
        self._until_compacted.append((revision, tell))

    def _tell_compacted(self) -> None:
        self.commit()  # LMDB has its pages back with this
        waiting, self._until_compacted = self._until_compacted, []
        for revision, tell in waiting:
            if revision <= self.compacted_revision:
                tell()
            else:
                self._until_compacted.append((revision, tell))

    # ------------------------------------------------------------------ reads and snapshots

    def range(self, request: RangeRequest) -> RangeResponse:
        """Read what has been applied. Raises EmptyKey, Compacted, FutureRevision."""
        return self._store.range(request)

    def range_within(self, request: RangeRequest, max_keys: int, max_bytes: int) -> RangeResponse | None:
        """The same, or None when it takes more than that: then :meth:`scan` a :meth:`view`."""
        return self._store.range_within(request, max_keys, max_bytes)

    def read_txn(self, request: TxnRequest) -> TxnResponse:
        """A transaction that only reads, of what has been applied. Raises what ``Store.execute`` does."""
        return self._store.read_txn(request)

    def view(self) -> StateView:
        """What has been applied until now, to be read in any thread; close it. Raises StorageError."""
        self._commit_for_readers()
        return self._environment.view()

    def scan(self, request: RangeRequest, view: StateView, max_bytes: int) -> RangeScan:
        """A range over a view that has just been opened, to be done in steps within ``view.run``.

        Raises what :meth:`range` does.
        """
        return self._store.scan(request, view.tables, max_bytes)

    def scanned(self, request: RangeRequest, scan: RangeScan, revision: int) -> RangeResponse:
        """The answer of a finished scan that began at ``revision``."""
        return self._store.scanned(request, scan, revision)

    def snapshot(self) -> SnapshotReader:
        """What has been applied until now, to be streamed to a follower; close it. Raises StorageError."""
        self._commit_for_readers()
        return self._environment.snapshot()

    def incoming(self) -> SnapshotWriter:
        """Where a streamed snapshot is received; one at a time."""
        return self._environment.incoming()

    def begin_defragmentation(self) -> Defragmentation:
        """A copy of the last commit, to be caught up and given to :meth:`finish_defragmentation`; see there.

        The log keeps what the copy will need. Raises TooManyRequests while one is going on, StorageError.
        """
        if self._defragmentation is not None and not self._defragmentation.over:
            raise TooManyRequests
        self._commit_for_readers()
        self._defragmentation = Defragmentation.begin(self._environment, self._open_copy)
        return self._defragmentation

    def _open_copy(self, directory: str) -> StateMachine:
        """Not synced at each commit: that is done once, at the end."""
        return StateMachine.open(directory, quota_bytes=self._quota_bytes, sync=False)

    def finish_defragmentation(self, copy: Defragmentation) -> None:
        """Put ``copy``, which has caught up, in the state's place, durably. Nobody notices but for the size.

        Raises StorageError; after a failure of the swap itself the machine cannot be used any more.
        """
        assert copy is self._defragmentation
        assert copy.applied_index == self.applied_index
        copy.finish()
        self._environment.adopt(copy.directory)
        self._defragmentation = None
        self._replaced()

    def _replaced(self) -> None:
        self._pieces.forget()
        self._store.forget()
        self.auth.forget()
        self.uncommitted = 0
        self.uncommitted_bytes = 0
        self._measured_bytes = self._environment.sizes()[1]

    @property
    def readers(self) -> int:
        """How many snapshots and views are being read, which a swap of the state would end."""
        return self._environment.readers

    def sync(self) -> None:
        """Make every commit durable as a whole; in any thread."""
        self._environment.sync()

    def install(self, writer: SnapshotWriter) -> SnapshotMeta:
        """Become the state that ``writer`` has received and finished; durable on return. Watchers catch up.

        Raises StorageError; after a failure of the swap itself the machine cannot be used any more.
        """
        self._end_defragmentation()
        meta = self._environment.install(writer)
        self._replaced()
        self.watch.replaced()
        self._stack_layers()
        return meta

    def _end_defragmentation(self) -> None:
        if self._defragmentation is not None:
            self._defragmentation.abort()
            self._defragmentation = None

    def close(self) -> None:
        """Release the files. What has not been committed is left to the log."""
        self._end_defragmentation()
        self._environment.close()
