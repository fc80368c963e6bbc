"""What a member does for those who ask, whichever protocol they speak: one request in, one answer out.

The native protocol, gRPC and the JSON gateway turn what they receive into the requests of ``kvraft.types``, hand them
to ``Service.start``, and turn the answer into their own words. Nothing here knows a protocol.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from kvraft.auth.identity import ALWAYS, ROOT, Identity
from kvraft.errors import KvraftError, NotSupported, NotSupportedForLearner, RequestTooLarge, TooManyRequests
from kvraft.mvcc.check import check_range
from kvraft.mvcc.txn import is_serializable, only_reads
from kvraft.server.leases import LeaseService
from kvraft.server.maintenance import Maintenance
from kvraft.server.reads import QUICK_BYTES, QUICK_KEYS, LongReads
from kvraft.server.waiting import of_task
from kvraft.types import (
    Command,
    CompactRequest,
    CompactResponse,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    Response,
    SnapshotRequest,
    StatusRequest,
    TxnRequest,
    WatchRequest,
)
from kvraft.wire.native import decode_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kvraft.auth.identity import Credentials
    from kvraft.raft.messages import Configuration
    from kvraft.server.member import Member
    from kvraft.storage.snapshot import SnapshotReader
    from kvraft.watch.watcher import Sink, Watcher
    from kvraft.wire.native import Request

    Answer = Callable[[Response | KvraftError], None]
    """Called once, from the loop, perhaps before ``start`` returns. It must not raise."""
    Handler = Callable[[Any, bytes, "Caller", Answer], None]


MAX_SNAPSHOTS = 2
"""Streams of the whole state at once: while one lasts, no page that it may read is used again."""


class Caller(Protocol):
    """A connection, or one of its streams, on whose behalf something is asked."""

    @property
    def congested(self) -> bool:
        """Whether so much is waiting to be read by it that a large answer must not be made now."""
        ...

    def hold(self, retry: Callable[[], None]) -> None:
        """Call ``retry`` once it is no longer congested; drop it when the connection ends."""
        ...

    @property
    def credentials(self) -> Credentials | Identity:
        """What it shows; or who it is, when that needs no proof."""
        ...

    @property
    def forwards(self) -> bool:
        """Whether a follower has the leader do what only that can.

        Else the answer is ``NotLeader``, for clients that find the leader themselves, which is cheaper.
        """
        ...


class Peer:
    """The ``Caller`` on whose behalf another member asks. It has chosen this one: nothing is forwarded again."""

    congested = False
    forwards = False
    credentials = Identity(ROOT, ALWAYS)
    """What users may is checked where they ask; members are known by their certificates."""

    def hold(self, retry: Callable[[], None]) -> None:
        """Never needed: a peer's answers are bounded by what it may ask at once."""
        retry()


class Service:
    """One member's operations, by the kind of request."""

    maintenance: Maintenance
    leases: LeaseService

    def __init__(self, member: Member) -> None:
        self._member = member
        self._peer = Peer()
        self.maintenance: Maintenance = Maintenance(member, self._peer)
        self.snapshots = 0
        self._handlers: dict[type, Handler] = {
            PutRequest: self._propose,
            RangeRequest: self._range,
            DeleteRangeRequest: self._propose,
            TxnRequest: self._txn,
            CompactRequest: self._compact,
            StatusRequest: self._status,
            **member.membership.handlers,
            **self.maintenance.handlers,
            **member.auth.handlers(),
        }
        self.leases = LeaseService(member.config.election_ms, self._propose)
        self._handlers |= self.leases.handlers()
        self._long_reads = LongReads(member.machine)
        self._machine = member.machine
        self._voted_in: Configuration | None = None
        """A configuration in which this member has a vote."""

    def start(self, request: Request, body: bytes, caller: Caller, answer: Answer) -> None:
        """Begin ``request``; ``answer`` gets its response or error.

        ``body`` is ``request`` in the native encoding (``native.encode_body``): what a log entry will hold.
        """
        try:
            if self._voted_in is not self._member.driver.raft.configuration and not self._may_serve(request, caller):
                raise NotSupportedForLearner
            if self._machine.auth.enabled:
                gated = partial(self._gated, request, body, caller, answer)
                self._member.auth.when_known(caller.credentials, answer, gated)
            else:
                self._handlers.get(type(request), _unknown)(request, body, caller, answer)
        except KvraftError as error:
            answer(error)

    def start_puts(
        self,
        bodies: Sequence[bytes],
        caller: Caller,
        answer: Callable[[Sequence[object]], None],
    ) -> bool:
        """``start`` for puts that came together, with one ``answer`` for all; there is nothing about any to look at.

        False: there is something about this member, or about how much it is; nothing has been begun.
        """
        member = self._member
        return (
            self._voted_in is member.driver.raft.configuration
            and not self._machine.auth.enabled
            and not caller.forwards
            and max(map(len, bodies)) <= member.config.max_request_bytes
            and self._machine.has_room
            and member.driver.propose_together(bodies, answer)
        )

    def _may_serve(self, request: Request, caller: Caller) -> bool:
        """Whether this member is one who answers; asked again only where the configuration is not the one it was."""
        if not self._member.is_learner:
            self._voted_in = self._member.driver.raft.configuration
            return True
        return caller is self._peer or _is_served_by_learners(request)

    def _gated(self, request: Request, body: bytes, caller: Caller, answer: Answer) -> None:
        self._member.auth.check_gate(request, caller)
        self._handlers.get(type(request), _unknown)(request, body, caller, answer)

    def serve_peer(self, body: bytes, answer: Answer) -> None:
        """Answer what another member asks; see ``Driver.ask``."""
        try:
            request = decode_request(body)
        except KvraftError as error:
            answer(error)
        else:
            self.start(request, body, self._peer, answer)

    def _propose(self, request: Command, body: bytes, caller: Caller, answer: Answer) -> None:
        member, config = self._member, self._member.config
        if len(body) > config.max_request_bytes:
            raise RequestTooLarge
        self._machine.admit(request, config.max_txn_ops)
        if self._machine.auth.enabled:
            member.auth.propose(body, caller, answer)
        else:
            member.driver.propose(body, answer, forwards=caller.forwards)  # type: ignore[arg-type]

    def _status(self, request: StatusRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        answer(self._member.status())

    def _compact(self, request: CompactRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        def compacted(found: Response | KvraftError) -> None:
            if request.physical and type(found) is CompactResponse:
                self._member.machine.when_compacted(request.revision, lambda: answer(found))
                self._member.wake.set()
            else:
                answer(found)

        self._propose(request, body, caller, compacted)

    def _txn(self, request: TxnRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        if not only_reads(request):
            self._propose(request, body, caller, answer)
            return
        if len(body) > self._member.config.max_request_bytes:
            raise RequestTooLarge
        machine = self._member.machine
        machine.check(request, self._member.config.max_txn_ops)

        def read() -> None:
            if machine.auth.enabled:
                machine.access.check(self._member.auth.who(caller.credentials), request)
            answer(machine.read_txn(request))

        self._read(read, is_serializable(request), caller, answer)

    def _range(self, request: RangeRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        check_range(request)

        def read() -> None:
            if self._member.machine.auth.enabled:
                self._check_read(request, caller)
            found = self._member.machine.range_within(request, QUICK_KEYS, QUICK_BYTES)
            if found is not None:
                answer(found)
            else:
                self._long_reads.admit()
                self._member.spawn(self._long_reads.run, request, of_task(self._member, answer))

        self._read(read, request.serializable, caller, answer)

    def _read(self, read: Callable[[], None], serializable: bool, caller: Caller, answer: Answer) -> None:
        """Call ``read`` when the state may be read and the caller takes its answer; it raises, or answers."""

        def ready(error: KvraftError | None) -> None:
            if error is not None:
                answer(error)
            elif caller.congested:  # small questions with large answers must not fill the memory
                caller.hold(lambda: ready(None))
            else:
                try:
                    read()
                except KvraftError as failure:
                    answer(failure)

        if serializable:
            ready(None)
        else:
            self._member.driver.read(ready, waits=caller.forwards)

    @contextmanager
    def snapshot(self, caller: Caller) -> Iterator[SnapshotReader]:
        """The whole state, everything applied so far included, to be streamed. Raises a ``KvraftError``.

        As for ``watch`` a caller's token may be too new for this member.
        """
        member = self._member
        if member.machine.auth.enabled:
            member.auth.check_gate(SnapshotRequest(), caller)
        if self.snapshots >= MAX_SNAPSHOTS:
            raise TooManyRequests
        self.snapshots += 1
        try:
            reader = member.machine.snapshot()
            try:
                with member.counters.snapshot_seconds.time():
                    yield reader
            finally:
                reader.close()
        finally:
            self.snapshots -= 1

    def _check_read(self, request: RangeRequest | WatchRequest, caller: Caller) -> None:
        member = self._member
        member.machine.access.check_read(member.auth.who(caller.credentials), request.key, request.range_end)

    def watch(self, request: WatchRequest, sink: Sink, caller: Caller) -> Watcher:
        """Start a watch. Raises what is wrong with it as a ``KvraftError``.

        A caller whose token may be too new for this member goes through ``AuthService.when_known`` first.
        """
        if self._member.is_learner:
            raise NotSupportedForLearner
        if self._member.machine.auth.enabled:
            self._check_read(request, caller)
        return self._member.machine.watch.watch(request, sink)


def _is_served_by_learners(request: Request) -> bool:
    """As etcd has it: who has no vote may lag behind, and answers only what may be old."""
    return isinstance(request, StatusRequest) or (isinstance(request, RangeRequest) and request.serializable)


def _unknown(request: Request, body: bytes, caller: Caller, answer: Answer) -> None:
    raise NotSupported(f"etcdserver: {type(request).__name__} is not supported")
