"""The replicated state machine: entries in, answers and watch events out, the applied index always with its data.

Everything runs on the loop. Applied changes are visible at once and durable with the next :meth:`StateMachine.commit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import lmdb
import msgspec

from kvraft.apply.command import check_command, decode_command
from kvraft.apply.membership import MAX_REMOVED, apply_change
from kvraft.errors import Corrupt, KvraftError, NoSpace
from kvraft.mvcc.store import Store
from kvraft.raft.messages import Configuration, Entry, EntryKind, SnapshotMeta
from kvraft.storage import failpoint
from kvraft.storage.errors import StorageError, storage_error
from kvraft.storage.keytable import THRESHOLD
from kvraft.storage.state import MAP_BYTES, StateEnvironment
from kvraft.types import Command, PutRequest, RangeRequest, RangeResponse, Response, TxnRequest
from kvraft.watch.hub import WatchHub

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from kvraft.storage.snapshot import SnapshotReader, SnapshotWriter
    from kvraft.types import MemberInfo

QUOTA_BYTES = 2 << 30
MAX_UNCOMMITTED_BYTES = 64 << 20
"""With more than this applied since the last commit, apply commits by itself, to bound the transaction's memory."""


class StateMachine:
    """State, store and watches of one member. ``watch`` is the :class:`~kvraft.watch.hub.WatchHub`."""

    def __init__(self, environment: StateEnvironment, quota_bytes: int) -> None:
        self._environment = environment
        self._store = Store(environment)
        self._quota_bytes = quota_bytes
        self._uncommitted_bytes = 0
        self._measured_bytes = environment.sizes()[1]
        self.uncommitted = 0
        self.watch = WatchHub(self._store)

    @classmethod
    def open(
        cls,
        directory: str | os.PathLike[str],
        *,
        quota_bytes: int = QUOTA_BYTES,
        map_bytes: int = MAP_BYTES,
        sync: bool = True,
        key_threshold: int = THRESHOLD,
    ) -> Self:
        """Open or create the state in ``directory``. Raises :class:`~kvraft.storage.errors.StorageError`.

        ``quota_bytes`` is what :meth:`admit` holds clients to; ``map_bytes`` is the file's own limit, far above it.
        """
        map_bytes = max(map_bytes, 4 * quota_bytes) if map_bytes == MAP_BYTES else map_bytes
        environment = StateEnvironment.open(directory, map_bytes=map_bytes, sync=sync, threshold=key_threshold)
        return cls(environment, quota_bytes)

    # ------------------------------------------------------------------ what it is

    @property
    def applied_index(self) -> int:
        return self._environment.meta.applied_index

    @property
    def applied_term(self) -> int:
        return self._environment.meta.applied_term

    @property
    def configuration(self) -> Configuration | None:
        """Who takes part as of the applied index; None until :meth:`initialise`, or a joining member's first snapshot.

        The same object until it changes, as :attr:`members` is.
        """
        return self._environment.meta.configuration

    @property
    def members(self) -> tuple[MemberInfo, ...]:
        """Everybody who takes part, in the order of their ids."""
        return self._environment.meta.members

    @property
    def removed(self) -> tuple[int, ...]:
        """Ids of members that have been removed."""
        return self._environment.meta.removed

    @property
    def cluster_id(self) -> int:
        return self._environment.meta.cluster_id

    @property
    def member_id(self) -> int:
        return self._environment.meta.member_id

    @property
    def revision(self) -> int:
        return self._environment.meta.revision

    @property
    def compacted_revision(self) -> int:
        return self._environment.meta.compacted_revision

    @property
    def committed_index(self) -> int:
        """The applied index that the end of the process cannot take back."""
        return self._environment.committed_index

    @property
    def durable_index(self) -> int:
        """The applied index that a power loss cannot take back: the log up to here may be discarded.

        It follows one commit behind ``committed_index``, because a commit does not wait for its last page.
        """
        return self._environment.durable_index

    @property
    def db_size(self) -> int:
        """Bytes of the file."""
        return self._environment.sizes()[0]

    @property
    def db_size_in_use(self) -> int:
        """Bytes of it that hold data."""
        return self._environment.sizes()[1]

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
        meta.configuration, meta.cluster_id, meta.member_id, meta.members = (
            configuration,
            cluster_id,
            member_id,
            members,
        )
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

    def admit(self, command: Command) -> None:
        """What a member asks before it proposes: the checks of apply, and the quota of this member.

        Raises what :func:`check_command` raises, and NoSpace for what would add data while the data in use exceeds
        the quota. The quota is never looked at in apply, where members of different fill would come to different
        answers; deletes and compactions go on.
        """
        check_command(command)
        if self._measured_bytes + self._uncommitted_bytes < self._quota_bytes:
            return
        if type(command) is PutRequest:
            raise NoSpace
        if type(command) is TxnRequest and any(
            type(operation) is PutRequest for operation in (*command.success, *command.failure)
        ):
            raise NoSpace

    def apply(self, entries: Sequence[Entry]) -> list[Response | KvraftError | None]:
        """Apply committed entries; one answer for each, None for entries that nobody proposed as a command.

        The entries follow ``applied_index`` without a gap. Watchers have been served on return. Raises
        :class:`~kvraft.storage.errors.StorageError` when the disk fails; nothing can be applied after that.
        """
        if not entries:
            return []
        assert entries[0].index == self.applied_index + 1, (entries[0].index, self.applied_index)
        answers: list[Response | KvraftError | None] = []
        try:
            if failpoint.active:
                failpoint.hit("state.before_apply")
            for entry in entries:
                answers.append(self._apply_one(entry))
                if failpoint.active:
                    failpoint.hit("state.between_entries")
                if self._uncommitted_bytes > MAX_UNCOMMITTED_BYTES:
                    self.commit()
            self.watch.publish(self._store.take_changes())
            if failpoint.active:
                failpoint.hit("state.after_apply")
        except BaseException as error:
            self._environment.poison(repr(error))
            if isinstance(error, (lmdb.Error, OSError)):
                raise storage_error(self._environment.path, error) from error
            raise
        return answers

    def _apply_one(self, entry: Entry) -> Response | KvraftError | None:
        meta = self._environment.meta
        assert entry.index == meta.applied_index + 1, (entry.index, meta.applied_index)
        answer: Response | KvraftError | None = None
        try:
            if entry.kind == EntryKind.CONFIGURATION:
                answer = apply_change(meta, entry.data)
            elif entry.data:
                answer = self._store.execute(decode_command(entry.data))
        except msgspec.MsgspecError:
            answer = Corrupt(f"{Corrupt.text}: entry {entry.index} cannot be decoded")
        except StorageError:
            raise
        except KvraftError as error:
            answer = error
        meta.applied_index, meta.applied_term = entry.index, entry.term
        self.uncommitted += 1
        self._uncommitted_bytes += len(entry.data)
        return answer

    def commit(self) -> None:
        """Make what has been applied durable against the end of the process. Raises StorageError."""
        self._environment.commit()
        self._measured_bytes = self._environment.sizes()[1]
        self.uncommitted = 0
        self._uncommitted_bytes = 0

    def compact_step(self, limit: int) -> bool:
        """Remove what is compacted, looking at up to ``limit`` changes (some 5 µs each); True when more is left."""
        if not self._store.compacting:
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
        return more

    # ------------------------------------------------------------------ reads and snapshots

    def range(self, request: RangeRequest) -> RangeResponse:
        """Read what has been applied. Raises EmptyKey, Compacted, FutureRevision."""
        return self._store.range(request)

    def snapshot(self) -> SnapshotReader:
        """The last commit, to be streamed to a follower; close it."""
        return self._environment.snapshot()

    def incoming(self) -> SnapshotWriter:
        """Where a streamed snapshot is received; one at a time."""
        return self._environment.incoming()

    def install(self, writer: SnapshotWriter) -> SnapshotMeta:
        """Become the state that ``writer`` has received and finished; durable on return. Watchers catch up.

        Raises StorageError; after a failure of the swap itself the machine cannot be used any more.
        """
        meta = self._environment.install(writer)
        self._store.forget()
        self.uncommitted = 0
        self._uncommitted_bytes = 0
        self._measured_bytes = self._environment.sizes()[1]
        self.watch.replaced()
        return meta

    def close(self) -> None:
        """Release the files. What has not been committed is left to the log."""
        self._environment.close()
