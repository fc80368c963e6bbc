"""Watch: many watches on one stream, whose answers share one ordered queue.

A watch whose stream is not read lags: the hub reads on for it from the store once there is room, so a client that
does not keep up costs no memory. What several watches of one range get is encoded once.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kvraft.errors import (
    AuthOldRevision,
    Compacted,
    InvalidAuthToken,
    KvraftError,
    PermissionDenied,
    TooManyRequests,
    UserEmpty,
)
from kvraft.server import clients
from kvraft.watch.encoding import Preparing
from kvraft.watch.fragments import split_batch
from kvraft.wire.etcd import rpc_pb2 as pb
from kvraft.wire.etcd.requests import to_watch

if TYPE_CHECKING:
    from kvraft.server.etcd.call import Call
    from kvraft.server.etcd.services import EtcdServices
    from kvraft.types import WatchBatch
    from kvraft.watch.watcher import Watcher

AUTO_ID = 0
NO_ID = -1
HEAD_BYTES = 128
"""More than what a response has beside its events."""
DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream"


class Watch(Preparing):
    """One watch of a stream; the hub's sink."""

    __slots__ = ("_stream", "fragment", "watch_id", "watcher")

    def __init__(self, stream: WatchStream, watch_id: int, request: pb.WatchCreateRequest) -> None:
        super().__init__()
        self._stream = stream
        self.watch_id = watch_id
        self.fragment = request.fragment
        self.watcher: Watcher

    def prepare(self, part: WatchBatch, *, is_first: bool) -> None:
        """See ``watcher.Sink``."""
        self.add_prepared(part, self._stream.encode(self, part), is_first=is_first)

    def deliver(self, watcher: Watcher, batch: WatchBatch) -> bool:
        """See ``watcher.Sink``."""
        return self._stream.deliver(self, batch)


class WatchStream:
    """One call; see ``call.Handler``."""

    def __init__(self, services: EtcdServices, call: Call) -> None:
        self._services = services
        self._call = call
        self._hub = services.member.machine.watch
        self._watches: dict[int, Watch] = {}
        self._blocked: dict[Watch, None] = {}
        self._next_id = 0
        self._starting = 0

    # ------------------------------------------------------------------ what the client asks

    def message(self, message: pb.WatchRequest) -> None:
        """Create, cancel, or report progress; anything else is left alone, as etcd does."""
        match message.WhichOneof("request_union"):
            case "create_request":
                self._create(message.create_request)
            case "cancel_request":
                self._cancel(message.cancel_request.watch_id)
            case "progress_request":
                self._report_all()

    def _create(self, request: pb.WatchCreateRequest) -> None:
        if self._call.full or self._call.connection.watches + self._starting >= clients.MAX_WATCHES:
            self._refuse(TooManyRequests())
            return
        self._starting += 1
        self._services.member.auth.when_known(self._call.credentials, self._not_started, partial(self._start, request))

    def _not_started(self, error: object) -> None:
        self._starting -= 1
        self._refuse(error)

    def _refuse(self, error: object) -> None:
        assert isinstance(error, KvraftError)
        self._send(watch_id=NO_ID, created=True, canceled=True, cancel_reason=_reason(error))

    def _start(self, request: pb.WatchCreateRequest) -> None:
        """Raises what is wrong with the request, which then goes to ``_not_started``."""
        if self._call.over:
            return
        if request.start_revision < 0:
            raise Compacted
        watch_id = request.watch_id
        if watch_id != AUTO_ID and watch_id in self._watches:
            raise KvraftError(DUPLICATE_ID)
        if watch_id == AUTO_ID:
            while self._next_id in self._watches:
                self._next_id += 1
            watch_id = self._next_id
        watch = Watch(self, watch_id, request)
        watch.watcher = self._services.member.service.watch(to_watch(request), watch, self._call)
        if request.watch_id == AUTO_ID:
            self._next_id += 1
        self._watches[watch_id] = watch
        self._starting -= 1
        self._call.connection.watches += 1
        self._send(watch_id=watch_id, created=True)
        self._services.member.wake.set()  # it may have older events to read

    def _cancel(self, watch_id: int) -> None:
        watch = self._watches.get(watch_id)
        if watch is not None:
            self._forget(watch)
            self._send(watch_id=watch_id, canceled=True)

    def _report_all(self) -> None:
        """One answer for all watches, once each has everything up to now; else none."""
        if self._watches and not self._call.full:
            revision = self._hub.progress_of_all(watch.watcher for watch in self._watches.values())
            if revision is not None:
                self._send(watch_id=NO_ID)

    # ------------------------------------------------------------------ what the hub delivers

    def deliver(self, watch: Watch, batch: WatchBatch) -> bool:
        """Queue a batch; False when the client does not keep up. One without events is a report of progress."""
        if self._call.full:
            watch.take_prepared(batch)
            self._blocked[watch] = None
            return False
        if batch.compact_revision:
            self._forget(watch)
        parts = watch.take_prepared(batch) or self.encode(watch, batch)
        messages = [[part] for part in parts] if watch.fragment else [parts]
        for place, message in enumerate(messages, 1):
            head = pb.WatchResponse(
                watch_id=watch.watch_id,
                canceled=bool(batch.compact_revision),
                compact_revision=batch.compact_revision,
                fragment=place < len(messages),
            )
            self._services.stamp.on(head.header, batch.revision)
            self._call.send_events(head, message)
        return True

    def encode(self, watch: Watch, batch: WatchBatch) -> list[bytes]:
        """The events of ``batch`` for the messages that ``watch`` gets, each behind a head of its own."""
        limit = self._services.max_message_bytes - HEAD_BYTES
        parts = split_batch(batch, limit) if watch.fragment else [batch]
        return [self._call.encode_events(part) for part in parts]

    def _send(self, **values: object) -> None:
        """An answer without events."""
        message = pb.WatchResponse(**values)  # type: ignore[arg-type]
        self._services.stamp.on(message.header, self._services.member.machine.revision)
        self._call.send(message.SerializeToString())

    # ------------------------------------------------------------------ the stream

    def half_closed(self) -> None:
        """The watches go on."""

    def drained(self) -> None:
        """Who did not keep up reads on."""
        blocked, self._blocked = self._blocked, {}
        for watch in blocked:
            self._hub.resume(watch.watcher)
        if blocked:
            self._services.member.wake.set()

    def closed(self) -> None:
        """Every watch is over."""
        for watch in list(self._watches.values()):
            self._forget(watch)

    def _forget(self, watch: Watch) -> None:
        self._hub.cancel(watch.watcher)
        self._blocked.pop(watch, None)
        del self._watches[watch.watch_id]
        self._call.connection.watches -= 1


def _reason(error: KvraftError) -> str:
    """How etcd words why a watch cannot be: what its store refuses without the server's prefix, or gRPC's way."""
    text = str(error)
    if isinstance(error, (PermissionDenied, InvalidAuthToken, AuthOldRevision, UserEmpty)):
        return f"rpc error: code = {error.code} desc = {text}"
    return text if isinstance(error, (Compacted, TooManyRequests)) else text.removeprefix("etcdserver: ")
