"""The native protocol on a client's connection: requests to the service, answers and watch batches back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from kvraft.auth.identity import Credentials
from kvraft.errors import KvraftError, ProtocolError, Stopped, TooManyRequests
from kvraft.server import clients
from kvraft.types import PutRequest, SnapshotChunk, SnapshotRequest, WatchBatch, WatchRequest
from kvraft.watch.encoding import Preparing
from kvraft.wire import native
from kvraft.wire.frames import TaggedDecoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvraft.server.clients import ClientConnection
    from kvraft.watch.watcher import Watcher


MAX_UNREAD_SNAPSHOT_BYTES = 1 << 20
"""So much of a snapshot waits in memory; the next piece is only read once the client has taken that."""


class NativeSpeaker:
    """See the module, and ``clients.Speaker``."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._member = connection.member
        self.credentials = Credentials(common_name=connection.common_name)
        """See ``service.Caller``."""
        self._watchers: dict[bytes, Watcher] = {}
        self._starting: set[bytes] = set()  # watches whose token is on its way here
        self._blocked: set[bytes] = set()
        self._rooms: set[trio.Event] = set()  # snapshots that wait for the client to read
        max_frame_bytes = max(native.MAX_REQUEST_FRAME_BYTES, 2 * self._member.config.max_request_bytes)
        self._frames = TaggedDecoder(max_frame_bytes, native.ID_BYTES + 1)
        self._own: dict[type, Callable[[bytes, Any], None]] = {
            WatchRequest: self._watch,
            native.WatchCancel: self._cancel_watch,
            native.WatchProgress: self._progress,
            SnapshotRequest: self._start_snapshot,
            native.Bearer: self._bear,
        }
        """What concerns this connection; everything else is the service's."""

    # ------------------------------------------------------------------ what the connection asks

    def receive(self, data: bytes) -> None:
        """See ``clients.Speaker``."""
        request_ids, bodies = self._frames.feed(data)
        self._member.counters.native_requests += len(request_ids)
        if native.are_plain_puts(bodies) and self._start_together(request_ids, bodies):
            return
        requests = native.decode_requests(bodies)
        first = 0
        for place, request in enumerate(requests):
            if type(request) is not PutRequest or not request.key or request.ignore_value or request.ignore_lease:
                self._start_puts(request_ids[first:place], requests[first:place], bodies[first:place])
                first = place + 1
                self._start(request_ids[place], request, bodies[place])
        last = len(requests)
        self._start_puts(request_ids[first:last], requests[first:last], bodies[first:last])

    def _start(self, request_id: bytes, request: native.Request | ProtocolError, body: bytes) -> None:
        connection, own = self._connection, self._own.get(type(request))
        if isinstance(request, ProtocolError):
            raise request
        if own is not None:
            own(request_id, request)
            return
        connection.unanswered += 1
        if connection.unanswered > clients.MAX_UNANSWERED:
            self.answer(request_id, TooManyRequests())
        else:
            self._member.service.start(request, body, self, partial(self.answer, request_id))

    def _start_puts(self, request_ids: list[bytes], puts: list[Any], bodies: list[bytes]) -> None:
        """Those that came together, of keys that they name and values that they have."""
        if puts and not self._start_together(request_ids, bodies):
            for request_id, request, body in zip(request_ids, puts, bodies, strict=True):
                self._start(request_id, request, body)

    def _start_together(self, request_ids: list[bytes], bodies: list[bytes]) -> bool:
        """The same with one call for all of them; False: each is to be started by itself."""
        connection, answer = self._connection, partial(self._answer_puts, request_ids)
        if connection.unanswered + len(bodies) > clients.MAX_UNANSWERED:
            return False
        if not self._member.service.start_puts(bodies, self, answer):
            return False
        connection.unanswered += len(bodies)
        return True

    def drained(self) -> None:
        """Watches that the client did not keep up with go on."""
        blocked, self._blocked = self._blocked, set()
        for request_id in sorted(blocked):
            if request_id in self._watchers:
                self._member.machine.watch.resume(self._watchers[request_id])

    def last_words(self, error: ProtocolError) -> None:
        """A failure of the whole connection."""
        self._connection.queue(native.encode_answer(native.CONNECTION_ID, native.to_failure(error)))

    def leave(self) -> None:
        """Clients of this protocol follow the leader by themselves."""

    def ask_to_leave(self) -> bool:
        """They close the connection once what they have asked is answered, and ask nothing more on it."""
        self._connection.queue(native.encode_answer(native.CONNECTION_ID, native.to_failure(Stopped())))
        return True

    def stop(self) -> None:
        """Whoever waits for an answer gets it from the driver; watches just end."""

    def lost(self) -> None:
        """The watches are over."""
        for watcher in self._watchers.values():
            self._member.machine.watch.cancel(watcher)
        self._watchers.clear()
        self._starting.clear()
        for room in self._rooms:
            room.set()

    # ------------------------------------------------------------------ what the service asks

    forwards = False
    """This protocol's clients follow the hint of ``NotLeader``."""

    @property
    def congested(self) -> bool:
        """See ``service.Caller``."""
        return self._connection.congested

    def hold(self, retry: Callable[[], None]) -> None:
        """See ``service.Caller``."""
        self._connection.hold(retry)

    # ------------------------------------------------------------------ answers

    def answer(self, request_id: bytes, answer: object) -> None:
        """Queue the answer to a request; called once for each."""
        connection = self._connection
        connection.unanswered -= 1
        connection.queue(native.encode_answers((request_id,), (answer,)))  # type: ignore[arg-type]

    def _answer_puts(self, request_ids: Sequence[bytes], answers: Sequence[object]) -> None:
        """Queue the answers to puts that came together."""
        connection = self._connection
        connection.unanswered -= len(request_ids)
        connection.queue(native.encode_answers(request_ids, answers))  # type: ignore[arg-type]

    def encode_events(self, part: WatchBatch) -> bytes:
        """A part of a batch, for ``deliver``."""
        return self._member.encode_events(part)

    def deliver(self, request_id: bytes, batch: WatchBatch, parts: Sequence[bytes]) -> bool:
        """Queue a watch batch; False when the client does not keep up: try again after ``WatchHub.resume``.

        ``parts``: its events, if they have been encoded already.
        """
        if self._connection.congested:
            self._blocked.add(request_id)
            return False
        if parts:
            for piece in native.batch_frame(request_id, batch, parts):
                self._connection.queue(piece)
        else:
            self._connection.queue(native.frame_body(request_id, self._member.encode_batch(batch)))
        if batch.compact_revision:
            self._watchers.pop(request_id, None)
        return True

    # ------------------------------------------------------------------ requests

    def _cancel_watch(self, request_id: bytes, _: native.WatchCancel) -> None:
        watcher = self._watchers.pop(request_id, None)
        self._starting.discard(request_id)
        if watcher is not None:
            self._member.machine.watch.cancel(watcher)

    def _start_snapshot(self, request_id: bytes, _: SnapshotRequest) -> None:
        start = partial(self._member.spawn, self._snapshot, request_id)
        self._member.auth.when_known(self.credentials, partial(self._refuse_watch, request_id), start)

    def _bear(self, _: bytes, bearer: native.Bearer) -> None:
        self.credentials = Credentials(bearer.token, self.credentials.common_name)

    def _watch(self, request_id: bytes, request: WatchRequest) -> None:
        if request_id in self._watchers or request_id in self._starting:
            raise ProtocolError(f"request {int.from_bytes(request_id)} is a watch already")
        if len(self._watchers) + len(self._starting) >= clients.MAX_WATCHES:
            self._refuse_watch(request_id, TooManyRequests())
            return
        self._starting.add(request_id)
        start = partial(self._start_watch, request_id, request)
        self._member.auth.when_known(self.credentials, partial(self._refuse_watch, request_id), start)

    def _start_watch(self, request_id: bytes, request: WatchRequest) -> None:
        if request_id not in self._starting or self._connection.closed:
            return
        self._watchers[request_id] = self._member.service.watch(request, _Sink(self, request_id), self)
        self._starting.discard(request_id)
        if request.start_revision <= 0:  # tells the client where its watch begins
            self._connection.queue(native.encode_answer(request_id, WatchBatch(self._member.machine.revision, [])))
        self._member.wake.set()

    def _refuse_watch(self, request_id: bytes, error: object) -> None:
        self._starting.discard(request_id)
        assert isinstance(error, KvraftError)
        self._connection.queue(native.encode_answer(request_id, native.to_failure(error)))

    async def _snapshot(self, request_id: bytes) -> None:
        """Stream the state in pieces, as fast as the client reads it."""
        connection, member = self._connection, self._member
        try:
            with member.service.snapshot(self) as reader:
                revision, left = member.machine.revision, member.machine.db_size_in_use
                while not connection.closed and (chunk := await trio.to_thread.run_sync(next, reader, b"")):
                    left = max(0, left - len(chunk))
                    connection.queue(native.encode_answer(request_id, SnapshotChunk(revision, left, chunk)))
                    connection.flush()
                    if connection.unread_bytes > MAX_UNREAD_SNAPSHOT_BYTES:
                        room = trio.Event()
                        self._rooms.add(room)
                        connection.hold(room.set)
                        await room.wait()
                        self._rooms.discard(room)
        except KvraftError as error:
            connection.queue(native.encode_answer(request_id, native.to_failure(error)))
        else:
            connection.queue(native.encode_answer(request_id, SnapshotChunk(revision, 0, b"")))
        connection.flush()

    def _progress(self, request_id: bytes, _: native.WatchProgress) -> None:
        watcher = self._watchers.get(request_id)
        if watcher is not None:
            revision = self._member.machine.watch.progress(watcher)
            if revision is not None:
                self._connection.queue(native.encode_answer(request_id, WatchBatch(revision, [])))


class _Sink(Preparing):
    """Where a watcher's batches go."""

    __slots__ = ("_request_id", "_speaker")

    def __init__(self, speaker: NativeSpeaker, request_id: bytes) -> None:
        super().__init__()
        self._speaker = speaker
        self._request_id = request_id

    def prepare(self, part: WatchBatch, *, is_first: bool) -> None:
        """See ``watcher.Sink``."""
        self.add_prepared(part, (self._speaker.encode_events(part),), is_first=is_first)

    def deliver(self, watcher: Watcher, batch: WatchBatch) -> bool:
        """Queue it; False when the client does not keep up."""
        return self._speaker.deliver(self._request_id, batch, self.take_prepared(batch))
