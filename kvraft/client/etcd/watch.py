"""A watch on a stream of its own: etcd's answers as batches of whole revisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from kvraft.client.etcd import call
from kvraft.client.etcd.call import Call, unreadable
from kvraft.errors import AnswerTooLarge, KvraftError, OutcomeUnknown
from kvraft.types import Event, WatchBatch, WatchRequest
from kvraft.wire.etcd import rpc_pb2 as pb
from kvraft.wire.etcd.answers import to_event
from kvraft.wire.etcd.failures import to_cancel

if TYPE_CHECKING:
    from kvraft.client.etcd.wire import EtcdWire


class WatchCall(Call):
    """See the module. A header's revision counts for progress alone: events may come long after they happened."""

    __slots__ = ("_from_now", "_held", "_held_bytes")

    def __init__(self, wire: EtcdWire, request_id: bytes, request: WatchRequest) -> None:
        super().__init__(wire, request_id, None)
        self._from_now = request.start_revision <= 0
        self._held: list[Event] = []
        """The newest revision of a response of which more is to come."""
        self._held_bytes = 0

    def message(self, message: bytes) -> None:
        """See ``Call``."""
        try:
            response = pb.WatchResponse.FromString(message)
        except DecodeError as error:
            self.abandon(unreadable(error))
            return
        if response.compact_revision:
            self._deliver(WatchBatch(response.header.revision, [], response.compact_revision), len(message))
            self.wire.forget(self.request_id)
        elif response.canceled:
            self.abandon(to_cancel(response.cancel_reason))
        elif response.created:
            if self._from_now:  # what happens after this revision will be told
                self._deliver(WatchBatch(response.header.revision, []), len(message))
        elif response.events or response.fragment:
            self._events(response, len(message))
        elif not self._held:
            self._deliver(WatchBatch(response.header.revision, []), len(message))

    def _events(self, response: pb.WatchResponse, size: int) -> None:
        events = [*self._held, *map(to_event, response.events)]
        if response.fragment:
            self._held_bytes += size
            if self._held_bytes > call.MAX_ANSWER_BYTES:
                self.abandon(AnswerTooLarge(f"one revision has more than {call.MAX_ANSWER_BYTES} bytes of events"))
                return
            newest = events[-1].kv.mod_revision if events else 0
            whole = next((place for place, event in enumerate(events) if event.kv.mod_revision == newest), 0)
            self._held, events = events[whole:], events[:whole]
            if events:
                self._held_bytes = size
        else:
            self._held, self._held_bytes = [], 0
        if events:
            self._deliver(WatchBatch(events[-1].kv.mod_revision, events), size)

    def _deliver(self, batch: WatchBatch, size: int) -> None:
        self.wire.handle(self.request_id, batch, size)

    def half_closed(self) -> None:
        """See ``http2.stream.Receiver``: the member has ended the watch."""
        self.settle(self.failure() or OutcomeUnknown("the member has ended the watch"))

    def settle(self, answer: object, size: int = 0) -> None:
        """See ``Call``."""
        assert isinstance(answer, KvraftError)
        super().settle(answer, size)
