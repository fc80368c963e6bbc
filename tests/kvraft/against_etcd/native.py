"""A member of kvraft, asked over its native protocol without any of the client's help."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from kvraft.errors import KvraftError
from kvraft.wire import native
from kvraft.wire.frames import FrameDecoder
from tests.kvraft.against_etcd.gateway import TIMEOUT_SECONDS, Refused

if TYPE_CHECKING:
    from kvraft.types import Event, WatchRequest

CODES = {
    "InvalidArgument": 3, "NotFound": 5, "ResourceExhausted": 8, "FailedPrecondition": 9, "OutOfRange": 11,
    "Unavailable": 14,
}  # fmt: skip


class Native:
    """One connection."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS)
        self._socket.sendall(native.PREFACE)
        self._frames = FrameDecoder(native.MAX_RESPONSE_FRAME_BYTES, native.ID_BYTES + 1)
        self._payloads: list[bytes] = []
        self._last_id = 0

    def _send(self, request: Any) -> bytes:
        self._last_id += 1
        request_id = self._last_id.to_bytes(native.ID_BYTES)
        self._socket.sendall(native.encode_request(request_id, request))
        return request_id

    def _next(self, request_id: bytes) -> Any:
        while True:
            while not self._payloads:
                data = self._socket.recv(1 << 16)
                assert data, "the member has closed the connection"
                self._payloads += self._frames.feed(data)
            payload = self._payloads.pop(0)
            if payload[: native.ID_BYTES] == request_id:
                return native.decode_answer(payload[native.ID_BYTES :])

    def call(self, request: Any) -> Any:
        """The response to a request. Raises ``Refused``."""
        answer = self._next(self._send(request))
        if isinstance(answer, KvraftError):
            raise Refused(CODES[answer.code], str(answer))
        return answer

    def events(self, request: WatchRequest, last: int) -> list[Event] | int:
        """As the gateway's."""
        request_id = self._send(request)
        events: list[Event] = []
        while not events or events[-1].kv.mod_revision < last:
            batch = self._next(request_id)
            if batch.compact_revision:
                return int(batch.compact_revision)
            events += batch.events
        self._socket.sendall(native.encode_request(request_id, native.WatchCancel()))
        return events

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
