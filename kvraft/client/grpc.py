"""One gRPC call of one message each way, over a unix socket: to a plugin on this machine.

A connection for each call: such calls are rare, and a plugin that was restarted is met anew without a word.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import trio

from kvraft.channel import Channel, Closed
from kvraft.errors import KvraftError
from kvraft.version import VERSION
from kvraft.wire.grpc.answer import AnswerHead
from kvraft.wire.grpc.messages import MessageDecoder, framed
from kvraft.wire.grpc.status import CODES
from kvraft.wire.http2 import headers
from kvraft.wire.http2.client import ClientConnection, ConnectionEnds

if TYPE_CHECKING:
    from kvraft.wire.http2.stream import Stream

MAX_ANSWER_BYTES = 4 << 20
"""As gRPC's own clients have it."""
_NAMES = {number: name for name, number in CODES.items()}
_UNKNOWN, _DEADLINE_EXCEEDED, _UNAVAILABLE = CODES["Unknown"], CODES["DeadlineExceeded"], CODES["Unavailable"]


class CallFailed(Exception):
    """What came instead of an answer; `code` is gRPC's. Worded as Go's client does."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"rpc error: code = {_NAMES.get(code, f'Code({code})')} desc = {message}")
        self.code = code

    @property
    def passing(self) -> bool:
        """Whether nobody was there, or nobody in time: later there may be."""
        return self.code in (_DEADLINE_EXCEEDED, _UNAVAILABLE)


async def call_unary(path: str, method: str, message: bytes, timeout_seconds: float) -> bytes:
    """The answer of `method` (``/package.Service/Method``) of the server at the socket `path`.

    A path that starts with ``@`` is one in Linux's abstract namespace. Raises CallFailed.
    """
    with trio.move_on_after(timeout_seconds):
        channel = await _dial(path)
        try:
            return await _Call(channel).answer(method, message)
        finally:
            channel.close()
    raise CallFailed(_DEADLINE_EXCEEDED, "context deadline exceeded")


async def _dial(path: str) -> Channel:
    address = f"\0{path[1:]}" if path.startswith("@") else path
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await trio.socket.from_stdlib_socket(sock).connect(address)
        return Channel(sock, server_side=False)
    except OSError as error:
        sock.close()
        reason = (error.strerror or str(error)).lower()
        text = f'connection error: desc = "transport: Error while dialing: dial unix {path}: connect: {reason}"'
        raise CallFailed(_UNAVAILABLE, text) from error
    except BaseException:
        sock.close()
        raise


class _Call:
    """See ``http2.client.Caller``: what has come of the answer."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._http: ClientConnection[AnswerHead] = ClientConnection(channel.queue, AnswerHead, trio.current_time)
        self._stream: Stream
        self._decoder: MessageDecoder | None = None
        self._messages: list[bytes] = []
        self._head: AnswerHead | None = None
        self._over = False
        self._failure: CallFailed | None = None

    async def answer(self, method: str, message: bytes) -> bytes:
        """Asks and waits. Raises CallFailed."""
        block = headers.encode(
            [
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":path", method.encode()),
                (b":authority", b"localhost"),
                (b"content-type", b"application/grpc"),
                (b"te", b"trailers"),
                (b"user-agent", b"kvraft/%s" % VERSION.encode()),
            ]
        )
        self._stream = self._http.request(block, framed(message), self, ends=True)
        try:
            while not self._over:
                await self._channel.drain()
                data = await self._channel.receive()
                if not data:
                    raise CallFailed(_UNAVAILABLE, "error reading from server: EOF")
                self._http.receive(data)
        except (Closed, ConnectionEnds) as error:
            raise CallFailed(_UNAVAILABLE, f"error reading from server: {error}") from error
        if self._failure is not None:
            raise self._failure
        return self._messages[0]

    def headers(self, head: object) -> None:
        """See ``http2.client.Caller``."""
        assert isinstance(head, AnswerHead)
        if head.is_informational:
            return
        self._head = head
        if self._decoder is None and head.status is None:
            self._decoder = MessageDecoder(MAX_ANSWER_BYTES, head.encoding)

    def data(self, data: bytes) -> None:
        """See ``http2.stream.Receiver``."""
        try:
            if self._decoder is None:
                self._end(CallFailed(_UNKNOWN, "data came before headers"))
            else:
                self._messages += self._decoder.feed(data)
        except KvraftError as error:
            self._end(CallFailed(CODES[error.code], str(error)))

    def half_closed(self) -> None:
        """See ``http2.stream.Receiver``: everything is there."""
        head = self._head
        if head is None or head.status is None:
            self._end(CallFailed(_UNKNOWN, "the stream was closed without a status"))
        elif head.status:
            self._end(CallFailed(head.status, head.message))
        elif len(self._messages) != 1:
            self._end(CallFailed(_UNKNOWN, "there is not one message in the answer"))
        else:
            self._over = True

    def lost(self) -> None:
        """See ``http2.stream.Receiver``."""
        self._end(CallFailed(_UNAVAILABLE, "the stream was reset before the answer came"))

    def refused(self) -> None:
        """See ``http2.client.Caller``."""
        self._end(CallFailed(_UNAVAILABLE, "the server takes no more requests"))

    def drained(self) -> None:
        """See ``http2.stream.Receiver``; nobody waits for that."""

    def _end(self, failure: CallFailed) -> None:
        self._over = True
        self._failure = self._failure or failure
