"""Client connections on the native protocol: requests to the driver, answers and watch batches back."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import trio

from kvraft.auth.identity import NO_CREDENTIALS, Credentials
from kvraft.channel import Channel, Closed, HandshakeFailed, WakeUp
from kvraft.errors import KvraftError, ProtocolError, TooManyRequests
from kvraft.logs import fields
from kvraft.types import (
    WatchBatch,
    WatchRequest,
)
from kvraft.wire import native
from kvraft.wire.frames import TaggedDecoder

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

    from kvraft.server.member import Member
    from kvraft.watch.watcher import Watcher

log = logging.getLogger(__name__)

PREFACE_SECONDS = 10.0
MAX_UNREAD_BYTES = 16 << 20
"""A client that leaves so much unread gets no more of its requests read and answered, and its watches lag."""
MAX_UNREAD_SECONDS = 120.0
"""... and after so long without reading anything its connection is closed."""
GOODBYE_SECONDS = 1.0
MAX_WATCHES = 10_000
MAX_UNANSWERED = 8192
"""Requests of one connection under way at once; past it: TooManyRequests."""


class ClientConnection:
    """One client. Reading happens in ``run``; writing wherever an answer comes, flushed once per turn."""

    def __init__(self, member: Member, channel: Channel) -> None:
        self._member = member
        self._channel = channel
        self.credentials = NO_CREDENTIALS
        """See ``service.Caller``."""
        self._unanswered = 0
        self._watchers: dict[bytes, Watcher] = {}
        self._starting: set[bytes] = set()  # watches whose token is on its way here
        self._blocked: set[bytes] = set()
        self._held: list[Callable[[], None]] = []
        self._queued_bytes = 0
        self._dirty = False
        self._drain = WakeUp()
        self._drained = WakeUp()

    async def run(self) -> None:
        """Serve until either side ends it."""
        breach: ProtocolError | None = None
        remote = self._channel.peer_name
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                try:
                    await self._read()
                except ProtocolError as error:
                    breach = error
                except HandshakeFailed as error:
                    log.warning("rejected connection on client endpoint", extra=fields(remote=remote, error=str(error)))
                except Closed as error:
                    log.debug("client connection broke", extra=fields(remote=remote, error=str(error)))
                nursery.cancel_scope.cancel()
            if breach is not None:  # only now is nobody else waiting for the socket to take more
                log.info("client broke the protocol", extra=fields(remote=remote, error=str(breach)))
                await self._say_why(breach)
        finally:
            self._channel.close()
            for watcher in self._watchers.values():
                self._member.machine.watch.cancel(watcher)
            self._watchers.clear()

    # ------------------------------------------------------------------ what the service asks

    forwards = False
    """This protocol's clients follow the hint of ``NotLeader``."""

    @property
    def congested(self) -> bool:
        """See ``service.Caller``."""
        return self._channel.buffered_bytes > MAX_UNREAD_BYTES and not self._channel.closed

    def hold(self, retry: Callable[[], None]) -> None:
        """See ``service.Caller``."""
        self._held.append(retry)

    # ------------------------------------------------------------------ answers

    def answer(self, request_id: bytes, answer: object) -> None:
        """Queue the answer to a request; called once for each."""
        self._unanswered -= 1
        if isinstance(answer, KvraftError):
            answer = native.to_failure(answer)
        self._queue(native.encode_answer(request_id, answer))  # type: ignore[arg-type]

    def deliver(self, request_id: bytes, batch: WatchBatch) -> bool:
        """Queue a watch batch; False when the client does not keep up: try again after ``WatchHub.resume``."""
        if self.congested:
            self._blocked.add(request_id)
            return False
        self._queue(native.frame_body(request_id, self._member.encode_batch(batch)))
        if batch.compact_revision:
            self._watchers.pop(request_id, None)
        return True

    def flush(self) -> None:
        """Send what has been queued in this turn."""
        self._dirty = False
        somebody_waits = self._channel.buffered_bytes > MAX_UNREAD_BYTES  # though the socket may take all of it now
        if not self._channel.send_now() or somebody_waits:
            self._drain.set()

    def _queue(self, data: bytes) -> None:
        self._channel.queue(data)
        self._queued_bytes += len(data)
        if not self._dirty:
            self._dirty = True
            self._member.dirty.append(self)

    async def _write(self) -> None:
        """What the socket would not take at once."""
        while True:
            await self._drain.wait()
            try:
                while self._channel.buffered_bytes:
                    taken = self._queued_bytes - self._channel.buffered_bytes
                    with trio.move_on_after(MAX_UNREAD_SECONDS):
                        await self._channel.drain()
                    if self._queued_bytes - self._channel.buffered_bytes <= taken:
                        log.warning("client reads nothing", extra=fields(remote=self._channel.peer_name))
                        self._channel.close()
                        return
            except Closed:
                return  # the reader sees it too
            self._drained.set()
            blocked, self._blocked = self._blocked, set()
            for request_id in sorted(blocked):
                if request_id in self._watchers:
                    self._member.machine.watch.resume(self._watchers[request_id])
            held, self._held = self._held, []
            for retry in held:
                retry()
            if blocked or held:
                self._member.wake.set()

    async def _say_why(self, error: ProtocolError) -> None:
        self._channel.queue(native.encode_answer(native.CONNECTION_ID, native.to_failure(error)))
        with trio.move_on_after(GOODBYE_SECONDS):
            await self._channel.drain()

    # ------------------------------------------------------------------ requests

    async def _read(self) -> None:
        channel = self._channel
        max_frame_bytes = max(native.MAX_REQUEST_FRAME_BYTES, 2 * self._member.config.max_request_bytes)
        frames = TaggedDecoder(max_frame_bytes, native.ID_BYTES + 1)
        with trio.move_on_after(PREFACE_SECONDS) as scope:
            await channel.handshake()
        if scope.cancelled_caught:
            raise HandshakeFailed("TLS handshake failed: not finished in time")
        self.credentials = Credentials(common_name=self._member.auth.common_name(channel.peer_certificate))
        data = b""
        with trio.move_on_after(PREFACE_SECONDS) as scope:
            while len(data) < len(native.PREFACE) and native.PREFACE.startswith(data):
                received = await channel.receive()
                if not received:
                    return
                data += received
        if scope.cancelled_caught or not data.startswith(native.PREFACE):
            raise ProtocolError("the connection does not open with the native protocol's preface")
        data = data[len(native.PREFACE) :]
        while True:
            for request_id, body in frames.feed(data):
                self._handle(request_id, body)
            if self._dirty or self._member.driver.has_work:
                self._member.wake.set()
            while channel.buffered_bytes > MAX_UNREAD_BYTES:
                await self._drained.wait()
            data = await channel.receive()
            if not data:
                return

    def _handle(self, request_id: bytes, body: bytes) -> None:
        request = native.decode_request(body)
        kind = type(request)
        if kind is native.WatchCancel:
            watcher = self._watchers.pop(request_id, None)
            self._starting.discard(request_id)
            if watcher is not None:
                self._member.machine.watch.cancel(watcher)
            return
        if kind is native.WatchProgress:
            self._progress(request_id)
            return
        if kind is WatchRequest:
            self._watch(request_id, request)  # type: ignore[arg-type]
            return
        if kind is native.Bearer:
            self.credentials = Credentials(request.token, self.credentials.common_name)  # type: ignore[union-attr]
            return
        self._unanswered += 1
        if self._unanswered > MAX_UNANSWERED:
            self.answer(request_id, TooManyRequests())
        else:
            self._member.service.start(request, body, self, partial(self.answer, request_id))

    def _watch(self, request_id: bytes, request: WatchRequest) -> None:
        if request_id in self._watchers or request_id in self._starting:
            raise ProtocolError(f"request {int.from_bytes(request_id)} is a watch already")
        if len(self._watchers) + len(self._starting) >= MAX_WATCHES:
            self._refuse_watch(request_id, TooManyRequests())
            return
        self._starting.add(request_id)
        start = partial(self._start_watch, request_id, request)
        self._member.auth.when_known(self.credentials, partial(self._refuse_watch, request_id), start)

    def _start_watch(self, request_id: bytes, request: WatchRequest) -> None:
        if request_id not in self._starting or self._channel.closed:
            return
        self._watchers[request_id] = self._member.service.watch(request, _Sink(self, request_id), self)
        self._starting.discard(request_id)
        if request.start_revision <= 0:  # tells the client where its watch begins
            self._queue(native.encode_answer(request_id, WatchBatch(self._member.machine.revision, [])))
        self._member.wake.set()

    def _refuse_watch(self, request_id: bytes, error: object) -> None:
        self._starting.discard(request_id)
        assert isinstance(error, KvraftError)
        self._queue(native.encode_answer(request_id, native.to_failure(error)))

    def _progress(self, request_id: bytes) -> None:
        watcher = self._watchers.get(request_id)
        if watcher is not None:
            revision = self._member.machine.watch.progress(watcher)
            if revision is not None:
                self._queue(native.encode_answer(request_id, WatchBatch(revision, [])))


class _Sink:
    """Where a watcher's batches go."""

    __slots__ = ("_connection", "_request_id")

    def __init__(self, connection: ClientConnection, request_id: bytes) -> None:
        self._connection = connection
        self._request_id = request_id

    def deliver(self, watcher: Watcher, batch: WatchBatch) -> bool:
        """Queue it; False when the client does not keep up."""
        return self._connection.deliver(self._request_id, batch)


async def serve_client(member: Member, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
    """One accepted connection, until it ends."""
    try:
        channel = Channel(sock, tls, server_side=True)
    except OSError as error:  # reset before we came to it
        sock.close()
        log.debug("client connection broke", extra=fields(error=str(error)))
        return
    await ClientConnection(member, channel).run()
