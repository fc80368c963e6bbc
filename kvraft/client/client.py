"""The client: which member to ask, and what may be asked again."""

from __future__ import annotations

import contextlib
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import trio

from kvraft.channel import Closed, dial, split_url
from kvraft.client import election, lock
from kvraft.client.auth import NOT_LOGGED_IN, AuthOperations, Login
from kvraft.client.connection import Connection
from kvraft.client.lease import KeptLease, keep_alive_once
from kvraft.client.watch import WatchStream
from kvraft.errors import DeadlineExceeded, KvraftError, NotLeader, OutcomeUnknown, Unavailable
from kvraft.types import (
    AlarmAction,
    AlarmMember,
    AlarmRequest,
    AlarmResponse,
    AlarmType,
    CompactRequest,
    CompactResponse,
    Compare,
    DefragmentRequest,
    DefragmentResponse,
    DeleteRangeRequest,
    DeleteRangeResponse,
    HashKVRequest,
    HashKVResponse,
    HashRequest,
    HashResponse,
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseKeepAliveResponse,
    LeaseLeasesRequest,
    LeaseLeasesResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
    LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
    MemberAddRequest,
    MemberAddResponse,
    MemberListRequest,
    MemberListResponse,
    MemberPromoteRequest,
    MemberRemoveRequest,
    MemberUpdateRequest,
    MoveLeaderRequest,
    MoveLeaderResponse,
    Operation,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    Response,
    SortOrder,
    SortTarget,
    Status,
    StatusRequest,
    TxnRequest,
    TxnResponse,
    WatchRequest,
)
from kvraft.wire import native

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

T = TypeVar("T", bound=Response)

FIRST_BACKOFF_SECONDS = 0.01
MAX_BACKOFF_SECONDS = 0.2
MAX_DIAL_SECONDS = 3.0
REVOKE_SECONDS = 5.0
"""For so long a lease is tried to be revoked at the end of its block; its TTL does it otherwise."""
PAGE_KEYS = 1000


class Client:
    """A store, seen through all of its members; see ``open_client``.

    Every operation raises a ``KvraftError``. With ``error.definite`` it has not happened and never will; a write
    whose answer was lost raises an ``OutcomeUnknown`` and is not repeated.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        tls: ssl.SSLContext | None,
        timeout_seconds: float,
        max_request_bytes: int,
        nursery: trio.Nursery,
        login: Login | None = None,
        dial_timeout_seconds: float = MAX_DIAL_SECONDS,
        keep_alive_seconds: tuple[float, float] | None = None,
    ) -> None:
        if not endpoints:
            raise ValueError("endpoints: at least one is required")
        for url in endpoints:
            split_url(url)
        self.endpoints = tuple(url.rstrip("/") for url in endpoints)
        self._tls = tls
        self.timeout_seconds = timeout_seconds
        self._max_request_bytes = max_request_bytes
        self._nursery = nursery
        self._login = login
        self._dial_timeout_seconds = dial_timeout_seconds
        self._keep_alive_seconds = keep_alive_seconds
        self.auth = AuthOperations(self._read, self._write)
        self._connections: dict[str, Connection] = {}
        self._current: Connection | None = None  # where writes and linearizable reads go
        self._preferred = self.endpoints[0]
        self._dialing = trio.Lock()

    # ------------------------------------------------------------------ operations

    async def range(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        limit: int = 0,
        revision: int = 0,
        keys_only: bool = False,
        count_only: bool = False,
        serializable: bool = False,
        sort_order: int = SortOrder.NONE,
        sort_target: int = SortTarget.KEY,
        min_mod_revision: int = 0,
        max_mod_revision: int = 0,
        min_create_revision: int = 0,
        max_create_revision: int = 0,
    ) -> RangeResponse:
        """Keys of ``[key, range_end)`` in order, at ``revision`` (0: now). Linearizable unless ``serializable``.

        Raises ``Compacted`` or ``FutureRevision`` for a revision out of reach, ``AnswerTooLarge`` for more than a
        member puts into one answer: see ``pages``.
        """
        request = RangeRequest(
            *(key, range_end, limit, revision, keys_only, count_only, serializable, int(sort_order), int(sort_target)),
            *(min_mod_revision, max_mod_revision, min_create_revision, max_create_revision),
        )
        return await self._read(request, RangeResponse)

    async def revision(self) -> int:
        """The store's current revision, linearizable."""
        return (await self.range(b"\0", count_only=True)).revision

    async def pages(
        self, key: bytes, range_end: bytes, *, page_keys: int = PAGE_KEYS, revision: int = 0, keys_only: bool = False
    ) -> AsyncIterator[RangeResponse]:
        """All keys of ``[key, range_end)`` as of one revision (0: now), in pages: in bounded memory on both sides.

        Every page's ``count`` is of what was left, it included. Raises ``Compacted`` when that revision goes meanwhile.
        """
        more = True
        while more:
            page = await self.range(key, range_end, limit=page_keys, revision=revision, keys_only=keys_only)
            more, revision = page.more, revision or page.revision
            yield page
            if more:
                key = page.kvs[-1].key + b"\0"

    async def put(
        self,
        key: bytes,
        value: bytes,
        *,
        lease: int = 0,
        prev_kv: bool = False,
        ignore_value: bool = False,
        ignore_lease: bool = False,
    ) -> PutResponse:
        """Set a key; with ``ignore_value`` or ``ignore_lease`` it must exist (``KeyNotFound``) and keeps its own."""
        return await self._write(PutRequest(key, value, lease, prev_kv, ignore_value, ignore_lease), PutResponse)

    async def delete_range(self, key: bytes, range_end: bytes = b"", *, prev_kv: bool = False) -> DeleteRangeResponse:
        """Delete every key of ``[key, range_end)``, in one revision."""
        return await self._write(DeleteRangeRequest(key, range_end, prev_kv), DeleteRangeResponse)

    async def txn(
        self, compare: Sequence[Compare], success: Sequence[Operation], failure: Sequence[Operation] = ()
    ) -> TxnResponse:
        """If every compare holds do ``success``, else ``failure``; atomically, in at most one revision.

        A transaction that only reads is as linearizable as any other, and may be repeated.
        """
        request = TxnRequest(tuple(compare), tuple(success), tuple(failure))
        if all(isinstance(operation, RangeRequest) for operation in (*success, *failure)):
            return await self._read(request, TxnResponse)
        return await self._write(request, TxnResponse)

    async def compact(self, revision: int, *, physical: bool = False) -> CompactResponse:
        """Forget what was superseded up to ``revision``; ``physical``: return once a member has freed its space.

        Raises ``Compacted`` or ``FutureRevision``.
        """
        return await self._write(CompactRequest(revision, physical), CompactResponse)

    async def alarms(self) -> list[AlarmMember]:
        """What is wrong with members, linearizable."""
        return (await self._read(AlarmRequest(AlarmAction.GET), AlarmResponse)).alarms

    async def disarm(self, member_id: int = 0, alarm: int = AlarmType.NONE) -> list[AlarmMember]:
        """Clear alarms, of every member and type by default; the cleared ones."""
        return (await self._write(AlarmRequest(AlarmAction.DEACTIVATE, member_id, alarm), AlarmResponse)).alarms

    async def raise_alarm(self, member_id: int, alarm: int) -> list[AlarmMember]:
        """Say that something is wrong with a member."""
        return (await self._write(AlarmRequest(AlarmAction.ACTIVATE, member_id, alarm), AlarmResponse)).alarms

    async def status(self, endpoint: str) -> Status:
        """One member's view. Raises ``Unavailable`` when it cannot be reached."""
        return await self._ask(endpoint, StatusRequest(), Status)

    async def defragment(self, endpoint: str, *, timeout_seconds: float = 600.0) -> DefragmentResponse:
        """Have one member give free space of its state's file back; it goes on serving meanwhile."""
        return await self._ask(endpoint, DefragmentRequest(), DefragmentResponse, timeout_seconds)

    async def hash_kv(self, endpoint: str, revision: int = 0) -> HashKVResponse:
        """The hash of one member's keys up to ``revision`` (0: now): the same on all, at the same compaction."""
        return await self._ask(endpoint, HashKVRequest(revision), HashKVResponse)

    async def hash(self, endpoint: str) -> HashResponse:
        """The hash of one member's whole state."""
        return await self._ask(endpoint, HashRequest(), HashResponse)

    async def _ask(
        self, endpoint: str, request: native.Request, kind: type[T], timeout_seconds: float | None = None
    ) -> T:
        """Ask this one member, once."""
        deadline = trio.current_time() + (timeout_seconds or self.timeout_seconds)
        connection, token = await self._connection(endpoint.rstrip("/")), self.token
        try:
            return self._expect(await connection.call(request, deadline), kind)
        except NOT_LOGGED_IN as error:
            if not await self.log_in(error, token, deadline):
                raise
        return self._expect(await connection.call(request, deadline), kind)

    # ------------------------------------------------------------------ members

    async def member_add(self, peer_urls: Sequence[str], *, learner: bool = False) -> MemberAddResponse:
        """Make room for a member with these peer URLs, which is started afterwards. Raises what etcd refuses with."""
        return await self._write(MemberAddRequest(tuple(peer_urls), learner), MemberAddResponse)

    async def member_remove(self, member_id: int) -> MemberListResponse:
        """Remove a member. Once this has returned nothing waits for it any more, and it may be stopped."""
        return await self._write(MemberRemoveRequest(member_id), MemberListResponse)

    async def member_update(self, member_id: int, peer_urls: Sequence[str]) -> MemberListResponse:
        """Give a member other peer URLs."""
        return await self._write(MemberUpdateRequest(member_id, tuple(peer_urls)), MemberListResponse)

    async def member_promote(self, member_id: int) -> MemberListResponse:
        """Make a learner a voter. Raises ``LearnerNotReady`` before it has caught up."""
        return await self._write(MemberPromoteRequest(member_id), MemberListResponse)

    async def member_list(self, *, linearizable: bool = True) -> MemberListResponse:
        """The members, in the order of their ids."""
        return await self._read(MemberListRequest(linearizable), MemberListResponse)

    async def move_leader(self, target_id: int) -> MoveLeaderResponse:
        """Hand leadership to a voting member; returns when it leads."""
        return await self._write(MoveLeaderRequest(target_id), MoveLeaderResponse)

    def watch(
        self,
        key: bytes,
        range_end: bytes = b"",
        start_revision: int = 0,
        *,
        prev_kv: bool = False,
        no_put: bool = False,
        no_delete: bool = False,
        progress_notify: bool = False,
    ) -> contextlib.AbstractAsyncContextManager[WatchStream]:
        """Changes of ``[key, range_end)`` from ``start_revision`` on (0: from now), in order, each once.

        The stream resumes by itself, on another member if need be, without gap or duplicate. To know what "from now"
        is takes an answer: without one in time entering raises ``Unavailable``, or the member's error.

        ``no_put`` and ``no_delete`` leave events of that kind out; ``progress_notify`` has batches without events come
        now and then while nothing happens.
        """
        request = WatchRequest(key, range_end, start_revision, prev_kv, no_put, no_delete, progress_notify)
        return WatchStream.open(self, request)

    # ------------------------------------------------------------------ leases, locks, elections

    async def lease_grant(self, ttl: int, lease_id: int = 0) -> LeaseGrantResponse:
        """A lease of ``ttl`` seconds (at least one and a half election timeouts; the answer has what it got).

        Raises ``LeaseTtlTooLarge``, and ``LeaseExists`` for a ``lease_id`` that is taken; 0 lets the member choose.
        """
        return await self._write(LeaseGrantRequest(ttl, lease_id), LeaseGrantResponse)

    async def lease_revoke(self, lease_id: int) -> LeaseRevokeResponse:
        """End a lease and delete its keys, in one revision. Raises ``LeaseNotFound``."""
        return await self._write(LeaseRevokeRequest(lease_id), LeaseRevokeResponse)

    async def lease_keep_alive_once(self, lease_id: int) -> LeaseKeepAliveResponse:
        """Start the TTL of a lease afresh. Raises ``LeaseNotFound``."""
        return await keep_alive_once(self, lease_id)

    async def lease_time_to_live(self, lease_id: int, *, keys: bool = False) -> LeaseTimeToLiveResponse:
        """What is left of a lease, in seconds, -1 if there is none; with ``keys`` those that hang on it."""
        return await self._read(LeaseTimeToLiveRequest(lease_id, keys), LeaseTimeToLiveResponse)

    async def leases(self) -> list[int]:
        """The ids of all leases."""
        return (await self._read(LeaseLeasesRequest(), LeaseLeasesResponse)).lease_ids

    def keep_alive(
        self, lease_id: int, *, cancel_on_loss: bool = True
    ) -> contextlib.AbstractAsyncContextManager[KeptLease]:
        """Keep a lease alive while the block runs; it is left to its TTL at the end.

        When it is lost (revoked, or not renewed in time) ``KeptLease.lost`` is set and, unless ``cancel_on_loss`` is
        False, the block is cancelled and ``LeaseNotFound`` raised in its place. Raises ``LeaseNotFound`` at once for
        a lease that there is not.
        """
        return KeptLease.open(self, lease_id, cancel_on_loss=cancel_on_loss)

    @contextlib.asynccontextmanager
    async def lease(self, ttl: int, *, cancel_on_loss: bool = True) -> AsyncIterator[KeptLease]:
        """A new lease that is kept alive while the block runs, and revoked at its end; see ``keep_alive``."""
        lease_id = (await self.lease_grant(ttl)).lease_id
        try:
            async with self.keep_alive(lease_id, cancel_on_loss=cancel_on_loss) as kept:
                yield kept
        finally:
            with trio.move_on_after(REVOKE_SECONDS, shield=True), contextlib.suppress(KvraftError):
                await self.lease_revoke(lease_id)

    def lock(
        self, name: bytes, *, ttl: int = 60, wait: bool = True
    ) -> contextlib.AbstractAsyncContextManager[lock.Holding]:
        """Hold the lock ``name`` while the block runs; whoever asked first gets it first.

        It hangs on a lease of ``ttl`` seconds, so that a process that dies lets go of it; when that is lost, the
        block is cancelled and ``LeaseNotFound`` raised. Without ``wait``, raises ``Locked`` when it is taken.
        """
        return lock.hold(self, name, ttl, wait=wait)

    def campaign(
        self, name: bytes, value: bytes, *, ttl: int = 60
    ) -> contextlib.AbstractAsyncContextManager[election.Elected]:
        """Run for ``name`` and, once elected, lead while the block runs, with ``value`` for all to see; then resign.

        As with ``lock``, losing the lease cancels the block and raises ``LeaseNotFound``.
        """
        return election.run_for(self, name, value, ttl)

    async def elected(self, name: bytes) -> election.Seen:
        """Who leads, and its value. Raises ``NobodyElected``."""
        return await election.leader(self, name)

    def observe(self, name: bytes) -> election.Observation:
        """Who leads, and what it proclaims, from now on: ``async with client.observe(name) as seen: async for ...``."""
        return election.Observation(self, name)

    # ------------------------------------------------------------------ which member

    @property
    def answering(self) -> str:
        """The URL of the member that is asked now: the one that has answered last, if it still can."""
        return self._current.url if self._current is not None else self._preferred

    def start_soon(self, run: Callable[[], Awaitable[object]]) -> None:
        """Run something in the background for as long as the client is open. It must not raise."""
        self._nursery.start_soon(run)

    async def any_connection(self) -> Connection:
        """A live connection to some member, the preferred one if it answers. Raises ``Unavailable``."""
        if self._current is not None and self._current.alive:
            return self._current
        async with self._dialing:
            if self._current is not None and self._current.alive:
                return self._current
            reasons = []
            start = self.endpoints.index(self._preferred) if self._preferred in self.endpoints else -1
            others = (*self.endpoints[start + 1 :], *self.endpoints[: max(start, 0)])
            for url in (self._preferred, *others):
                try:
                    self._current = await self._open(url)
                except Unavailable as error:
                    reasons.append(str(error))
                else:
                    self._preferred = url
                    return self._current
            raise Unavailable(f"no member can be reached: {'; '.join(reasons)}")

    async def _connection(self, url: str) -> Connection:
        if self._current is not None and self._current.url == url and self._current.alive:
            return self._current
        async with self._dialing:
            return await self._open(url)

    async def _open(self, url: str) -> Connection:
        known = self._connections.get(url)
        if known is not None and known.alive:
            return known
        try:
            channel = await dial(url, self._tls, min(self.timeout_seconds, self._dial_timeout_seconds))
        except (OSError, Closed) as error:
            raise Unavailable(f"{url}: {error}") from error
        connection = Connection(
            url, channel, self.timeout_seconds, self._max_request_bytes, self._keep_alive_seconds
        )
        if self._login is not None and self._login.token:
            connection.bear(self._login.token)
        self._connections[url] = connection
        self._nursery.start_soon(connection.run)
        return connection

    def turn_away(self, connection: Connection | None, leader: str = "") -> None:
        """Ask somebody else next time: the leader, or the next member."""
        if connection is not None and connection is not self._current:
            return  # another task already did
        self._current = None
        if leader:
            self._preferred = leader
            return
        at = self.endpoints.index(self._preferred) if self._preferred in self.endpoints else -1
        self._preferred = self.endpoints[(at + 1) % len(self.endpoints)]

    # ------------------------------------------------------------------ on whose behalf

    @property
    def token(self) -> str:
        """What was last got for the user's password; "" for nothing."""
        return self._login.token if self._login is not None else ""

    async def log_in(self, refused: KvraftError, used: str, deadline: float) -> bool:
        """Get a token after a member has ``refused`` what came with the token ``used``.

        False when that is not why it refused, or there is no user to be. Raises what keeps us from a token.
        """
        if self._login is None or not isinstance(refused, NOT_LOGGED_IN):
            return False
        ask = partial(self._persist, deadline=deadline, repeatable=True)
        return await self._login.renew(used, ask, self._connections.values())

    # ------------------------------------------------------------------ what may be asked again

    def _write(self, request: native.Request, kind: type[T]) -> Awaitable[T]:
        return self._call(request, kind, repeatable=False)

    def _read(self, request: native.Request, kind: type[T]) -> Awaitable[T]:
        return self._call(request, kind, repeatable=True)

    async def _call(self, request: native.Request, kind: type[T], *, repeatable: bool) -> T:
        deadline = trio.current_time() + self.timeout_seconds
        current, token = self._current, self.token
        try:
            if current is not None and current.alive:
                try:
                    return self._expect(await current.call(request, deadline), kind)
                except (Unavailable, OutcomeUnknown) as error:
                    # Whatever becomes of this one, whoever asks next had better ask elsewhere.
                    self.turn_away(current, error.leader if isinstance(error, NotLeader) else "")
                    if not (error.definite or repeatable):
                        raise
            return self._expect(await self._persist(request, deadline, repeatable=repeatable), kind)
        except NOT_LOGGED_IN as error:
            if not await self.log_in(error, token, deadline):
                raise
        return self._expect(await self._persist(request, deadline, repeatable=repeatable), kind)

    async def repeatable(self, request: native.Request, kind: type[T]) -> T:
        """Ask something that does no harm when it is done twice, until there is an answer or the time is over."""
        return await self._read(request, kind)

    async def _persist(self, request: native.Request, deadline: float, *, repeatable: bool) -> Response:
        """Ask member after member until one answers, the outcome is unknown, or the time is over."""
        backoff = FIRST_BACKOFF_SECONDS
        followed = ""
        failure: KvraftError = DeadlineExceeded() if repeatable else Unavailable("no member was reached in time")
        connection: Connection | None = None
        with trio.move_on_at(deadline):
            while True:
                connection = None
                try:
                    connection = await self.any_connection()
                    if not repeatable:
                        failure = DeadlineExceeded()  # should time run out during the call
                    return await connection.call(request, deadline)
                except (Unavailable, OutcomeUnknown) as error:
                    failure = error
                    leader = error.leader if isinstance(error, NotLeader) else ""
                    self.turn_away(connection, leader)
                    if not (error.definite or repeatable):
                        raise
                if not leader or leader == followed:  # nobody leads, or the one who is said to does not answer
                    await trio.sleep(backoff)
                    backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)
                followed = leader
        if connection is not None:
            self.turn_away(connection)
        raise failure

    @staticmethod
    def _expect(answer: Response, kind: type[T]) -> T:
        if not isinstance(answer, kind):
            raise OutcomeUnknown(f"a {type(answer).__name__} came where a {kind.__name__} was due")
        return answer


@asynccontextmanager
async def open_client(
    endpoints: Sequence[str],
    *,
    ssl_context: ssl.SSLContext | None = None,
    timeout_seconds: float = 10.0,
    max_request_bytes: int = native.MAX_REQUEST_FRAME_BYTES,
    dial_timeout_seconds: float = MAX_DIAL_SECONDS,
    keep_alive_seconds: tuple[float, float] | None = None,
    user: str = "",
    password: str = "",
) -> AsyncIterator[Client]:
    """A client of the store whose members serve ``endpoints`` (``http://host:port`` or ``https://``).

    ``timeout_seconds`` bounds every operation, the search for a leader included. Requests above
    ``max_request_bytes`` are refused without being sent; raise it for members with a larger ``--max-request-bytes``.
    A member has ``dial_timeout_seconds`` to take a connection. One that has been silent for the first of
    ``keep_alive_seconds`` is asked whether it is there, and has the second to answer; None: by ``timeout_seconds``.

    ``user`` is whom to be where the store asks for that: the client authenticates when a member first refuses to serve
    nobody, and again when its token has ended. A user that a certificate in ``ssl_context`` names needs none of this.
    """
    login = Login(user, password) if user else None
    try:
        async with trio.open_nursery() as nursery:
            yield Client(
                *(endpoints, ssl_context, timeout_seconds, max_request_bytes, nursery, login),
                *(dial_timeout_seconds, keep_alive_seconds),
            )
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:
            error = group.exceptions[0]  # the body's own: the connections raise nothing
            raise error from error.__cause__
        raise


__all__ = ["Client", "KvraftError", "open_client"]
