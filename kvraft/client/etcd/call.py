"""Calls on streams: what has come of an answer, and what its end says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from kvraft.errors import AnswerTooLarge, ConnectionLost, KvraftError, OutcomeUnknown, Unavailable
from kvraft.wire import native
from kvraft.wire.etcd.failures import to_error
from kvraft.wire.grpc.answer import AnswerHead
from kvraft.wire.grpc.messages import MessageDecoder
from kvraft.wire.grpc.status import MessageTooLarge

if TYPE_CHECKING:
    from kvraft.client.connection import Answer
    from kvraft.client.etcd.wire import EtcdWire
    from kvraft.wire.etcd.calls import Method
    from kvraft.wire.http2.stream import Stream

MAX_ANSWER_BYTES = native.MAX_RESPONSE_FRAME_BYTES
"""Of one message, and of all that have not come whole on one connection."""


class Call:
    """A method of one message each way; see ``http2.client.Caller``."""

    __slots__ = ("_head", "_message", "_method", "decoder", "over", "reads", "request_id", "stream", "wire")

    def __init__(self, wire: EtcdWire, request_id: bytes, method: Method | None, *, reads: bool = True) -> None:
        self.wire = wire
        self.request_id = request_id
        self.reads = reads
        """Whether nothing happens but an answer; else one that is too large leaves open what has happened."""
        self.stream: Stream
        self.decoder: MessageDecoder | None = None
        self._method = method
        self._head: AnswerHead | None = None
        self._message: bytes | None = None
        self.over = False

    def headers(self, head: object) -> None:
        """See ``http2.client.Caller``."""
        assert isinstance(head, AnswerHead)
        if head.is_informational:
            return
        self._head = head
        if self.decoder is None and head.status is None:
            self.decoder = MessageDecoder(MAX_ANSWER_BYTES, head.encoding)

    def data(self, data: bytes) -> None:
        """See ``http2.stream.Receiver``."""
        if self.decoder is None:
            self.abandon(OutcomeUnknown("grpc: data came before headers"))
            return
        before = self.decoder.buffered_bytes
        try:
            messages = self.decoder.feed(data)
        except KvraftError as error:
            self.abandon(AnswerTooLarge(str(error)) if isinstance(error, MessageTooLarge) else unreadable(error))
            return
        self.wire.partial_bytes += self.decoder.buffered_bytes - before
        if self.wire.partial_bytes > MAX_ANSWER_BYTES:
            self.abandon(AnswerTooLarge(f"more than {MAX_ANSWER_BYTES} bytes of unfinished answers"))
            return
        for message in messages:
            self.message(message)
            if self.over:
                return

    def message(self, message: bytes) -> None:
        """One whole message has come."""
        if self._message is None:
            self._message = message
        else:
            self.abandon(OutcomeUnknown("grpc: a second message came where one was due"))

    def half_closed(self) -> None:
        """See ``http2.stream.Receiver``: everything is there."""
        self.settle(self._answer(), len(self._message or b""))

    def _answer(self) -> Answer:
        failure = self.failure()
        if failure is not None:
            return failure
        if self._message is None:
            return OutcomeUnknown("grpc: an answer without a message")
        assert self._method is not None
        try:
            return self._method.to_answer(self._method.parse(self._message))
        except (DecodeError, KvraftError) as error:
            return unreadable(error)

    def failure(self) -> KvraftError | None:
        """What the status says that has ended the stream; None for OK."""
        if self._head is None or self._head.status is None:
            return OutcomeUnknown("grpc: the stream was closed without a status")
        return to_error(self._head.status, self._head.message) if self._head.status else None

    def lost(self) -> None:
        """See ``http2.stream.Receiver``."""
        self.settle(ConnectionLost("the call was reset before the answer came"))

    def refused(self) -> None:
        """See ``http2.client.Caller``."""
        self.settle(Unavailable("the member takes no more requests"))

    def drained(self) -> None:
        """See ``http2.stream.Receiver``; nobody waits for that."""

    def settle(self, answer: Answer, size: int = 0) -> None:
        """The last word."""
        if self.over:
            return
        self.end()
        if isinstance(answer, AnswerTooLarge) and not self.reads:
            answer = OutcomeUnknown(str(answer))
        self.wire.handle(self.request_id, answer, size)

    def end(self) -> None:
        """Nothing more is said."""
        self.over = True
        self.wire.calls.pop(self.request_id, None)
        if self.decoder is not None:
            self.wire.partial_bytes -= self.decoder.buffered_bytes

    def abandon(self, failure: KvraftError) -> None:
        """End the stream ourselves."""
        self.wire.http.cancel(self.stream)
        self.settle(failure)


def unreadable(error: Exception) -> OutcomeUnknown:
    """An answer that cannot be read says nothing about what was done."""
    return OutcomeUnknown(f"the answer cannot be read: {error}")


class VersionCall(Call):
    """Our own question, whose answer no caller waits for."""

    __slots__ = ()

    def settle(self, answer: Answer, size: int = 0) -> None:
        """See ``Call``."""
        self.end()
        self.wire.learned(answer)
