"""The client: what can be asked of a store."""

from __future__ import annotations

import contextlib
import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import trio

from kvraft.client import election, lock
from kvraft.client.auth import NOT_LOGGED_IN, AuthOperations, Login
from kvraft.client.failover import DEFAULT_PATIENCE, Patience
from kvraft.client.lease import KeptLease, keep_alive_once
from kvraft.client.members import MemberOperations
from kvraft.client.native import NativeWire
from kvraft.client.snapshot import STALL_SECONDS, open_snapshot, put_before
from kvraft.client.watch import WatchStream
from kvraft.errors import KvraftError, NotSupported
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
    Operation,
    PlainPutRequest,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    SnapshotChunk,
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
    from collections.abc import AsyncIterator, Awaitable, Coroutine, Sequence
    from contextlib import AbstractAsyncContextManager

    from kvraft.client.connection import WireOf

REVOKE_SECONDS = 5.0
"""For so long a lease is tried to be revoked at the end of its block; its TTL does it otherwise."""
PAGE_KEYS = 1000


class Client(MemberOperations):
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
        patience: Patience = DEFAULT_PATIENCE,
        wire: WireOf = NativeWire,
    ) -> None:
        super().__init__(endpoints, tls, timeout_seconds, max_request_bytes, nursery, login, patience, wire)
        self.auth = AuthOperations(self._read, self._write)

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

    def get(self, key: bytes) -> Awaitable[RangeResponse]:
        """One key, linearizable: `range` without its choices, which cost as much as asking."""
        return self._call(RangeRequest(key), RangeResponse, repeatable=True)  # as ``_read`` does

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

    def put(
        self,
        key: bytes,
        value: bytes,
        *,
        lease: int = 0,
        prev_kv: bool = False,
        ignore_value: bool = False,
        ignore_lease: bool = False,
    ) -> Coroutine[Any, Any, PutResponse]:
        """Set a key; with ``ignore_value`` or ``ignore_lease`` it must exist (``KeyNotFound``) and keeps its own."""
        request: Any = (  # of the two kinds in which a put is sent
            PutRequest(key, value, lease, prev_kv, ignore_value, ignore_lease)
            if lease or prev_kv or ignore_value or ignore_lease
            else PlainPutRequest(key, value)
        )
        return self._call(request, PutResponse, repeatable=False)  # as ``_write`` does

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

    @asynccontextmanager
    async def snapshot(
        self, endpoint: str, *, stall_seconds: float = STALL_SECONDS
    ) -> AsyncIterator[AsyncIterator[SnapshotChunk]]:
        """The whole state of the member at ``endpoint``; iterate for its chunks.

        Raises ``Unavailable`` when the member cannot be reached, ``DeadlineExceeded`` when it is silent for
        ``stall_seconds``, and the error that it answers. ``NotSupported`` over etcd's protocol.
        """
        if self._wire is not NativeWire:
            raise NotSupported("snapshots are taken over kvraft's own protocol alone")
        async with AsyncExitStack() as stack:
            chunks = await stack.enter_async_context(self._open_snapshot(endpoint, stall_seconds))
            token = self.token
            try:
                first = await anext(chunks)
            except NOT_LOGGED_IN as error:
                if not await self.log_in(error, token, trio.current_time() + self.timeout_seconds):
                    raise
                chunks = await stack.enter_async_context(self._open_snapshot(endpoint, stall_seconds))
                first = await anext(chunks)
            yield put_before(first, chunks)

    def _open_snapshot(
        self, endpoint: str, stall_seconds: float
    ) -> AbstractAsyncContextManager[AsyncIterator[SnapshotChunk]]:
        return open_snapshot(endpoint, ssl_context=self._tls, stall_seconds=stall_seconds, token=self.token)

    async def hash_kv(self, endpoint: str, revision: int = 0) -> HashKVResponse:
        """The hash of one member's keys up to ``revision`` (0: now): the same on all, at the same compaction."""
        return await self._ask(endpoint, HashKVRequest(revision), HashKVResponse)

    async def hash(self, endpoint: str) -> HashResponse:
        """The hash of one member's whole state."""
        return await self._ask(endpoint, HashRequest(), HashResponse)

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


@asynccontextmanager
async def open_client(
    endpoints: Sequence[str],
    *,
    ssl_context: ssl.SSLContext | None = None,
    timeout_seconds: float = 10.0,
    max_request_bytes: int = native.MAX_REQUEST_FRAME_BYTES,
    patience: Patience = DEFAULT_PATIENCE,
    user: str = "",
    password: str = "",
    protocol: Literal["kvraft", "etcd"] = "kvraft",
) -> AsyncIterator[Client]:
    """A client of the store whose members serve ``endpoints`` (``http://host:port`` or ``https://``).

    ``timeout_seconds`` bounds every operation, the search for a leader included. Requests above
    ``max_request_bytes`` are refused without being sent; raise it for members with a larger ``--max-request-bytes``.
    ``patience`` says how long a member is waited for.

    ``user`` is whom to be where the store asks for that: the client authenticates when a member first refuses to serve
    nobody, and again when its token has ended. A user that a certificate in ``ssl_context`` names needs none of this.

    ``protocol`` "etcd": etcd's own, which every etcd v3 speaks, and kvraft too, on the same URLs; there is no snapshot
    in it. ``ssl_context`` is then told to offer HTTP/2.
    """
    wire: WireOf = NativeWire
    if protocol == "etcd":
        from kvraft.client.etcd import EtcdWire  # with protobuf, which takes its time

        wire = EtcdWire
        if any(url.startswith("https:") for url in endpoints):
            ssl_context = ssl_context or ssl.create_default_context()
            ssl_context.set_alpn_protocols(["h2"])
    login = Login(user, password) if user else None
    try:
        async with trio.open_nursery() as nursery:
            yield Client(endpoints, ssl_context, timeout_seconds, max_request_bytes, nursery, login, patience, wire)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:
            error = group.exceptions[0]  # the body's own: the connections raise nothing
            raise error from error.__cause__
        raise


__all__ = ["Client", "KvraftError", "open_client"]
