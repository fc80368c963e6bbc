"""The native protocol on a connection of the client's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.errors import RequestTooLarge
from kvraft.wire import native
from kvraft.wire.frames import HEADER_BYTES, TaggedDecoder

if TYPE_CHECKING:
    from kvraft.channel import Channel
    from kvraft.client.connection import Handle

_BODY = HEADER_BYTES + native.ID_BYTES


class NativeWire:
    """See ``connection.Wire``."""

    tells_progress = True
    leaving = False

    def __init__(self, url: str, channel: Channel, max_request_bytes: int, handle: Handle) -> None:
        self._queue = channel.queue
        self._max_request_bytes = max_request_bytes
        self._handle = handle
        self._frames = TaggedDecoder(native.MAX_RESPONSE_FRAME_BYTES, native.ID_BYTES + 1)
        channel.queue(native.PREFACE)

    def send(self, request_id: bytes, request: native.Request) -> None:
        """See ``connection.Wire``."""
        data = native.encode_request(request_id, request)
        if len(data) > self._max_request_bytes:
            raise RequestTooLarge  # the member would close the connection, with everybody else's requests on it
        self._queue(data)

    def forget(self, request_id: bytes) -> None:
        """An answer that nobody waits for is passed over when it comes."""

    def receive(self, data: bytes) -> None:
        """See ``connection.Wire``."""
        if self._frames.is_one(data):  # as whatever is answered alone
            body = data[_BODY:]
            self._handle(((data[HEADER_BYTES:_BODY], native.decode_answer(body), len(body)),))
            return
        request_ids, bodies = self._frames.feed(data)
        self._handle(zip(request_ids, native.decode_answers(bodies), map(len, bodies), strict=True))
