"""The two ends of a sans-IO connection: an owner that writes down what it hears, and the bytes that a client sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import hpack

from kvraft.wire.http2 import frames
from kvraft.wire.http2.connection import ServerConnection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvraft.wire.http2.headers import Header
    from kvraft.wire.http2.stream import Stream

REQUEST = [(":method", "POST"), (":path", "/x"), (":scheme", "http"), ("content-type", "application/grpc")]


@attrs.define
class Frame:
    kind: int
    flags: int
    stream_id: int
    payload: bytes


def split(data: bytes) -> list[Frame]:
    """Whole frames."""
    found = []
    while data:
        size = int.from_bytes(data[:3])
        assert len(data) >= 9 + size
        found.append(Frame(data[3], data[4], int.from_bytes(data[5:9]), data[9 : 9 + size]))
        data = data[9 + size :]
    return found


class Recorder:
    """A receiver."""

    def __init__(self, owner: Owner, stream: Stream) -> None:
        self.owner = owner
        self.stream = stream

    def data(self, data: bytes) -> None:
        self.owner.heard.append(("data", self.stream.stream_id, data))
        if self.owner.answer_on == "data":
            self.owner.answer(self.stream)

    def half_closed(self) -> None:
        self.owner.heard.append(("half_closed", self.stream.stream_id))
        if self.owner.answer_on == "half_closed":
            self.owner.answer(self.stream)

    def lost(self) -> None:
        self.owner.heard.append(("lost", self.stream.stream_id))

    def drained(self) -> None:
        self.owner.heard.append(("drained", self.stream.stream_id))


class Owner:
    """Answers every stream with ``answer_data`` when it hears ``answer_on``, and keeps what it hears."""

    def __init__(self, answer_on: str = "", answer_data: bytes = b"answer", **limits: int) -> None:
        self.heard: list[tuple[object, ...]] = []
        self.sent = bytearray()
        self.now = 0.0
        self.answer_on = answer_on
        self.answer_data = answer_data
        self.streams: dict[int, Stream] = {}
        self.http: ServerConnection[Sequence[Header]] = ServerConnection(
            self, self.sent.extend, list, lambda: self.now, **limits
        )
        self.encoder = hpack.Encoder()

    def opened(self, stream: Stream, head: Sequence[Header]) -> Recorder:
        self.heard.append(("opened", stream.stream_id, dict(head)[b":path"]))
        self.streams[stream.stream_id] = stream
        if self.answer_on == "opened":
            self.answer(stream)
        return Recorder(self, stream)

    def answer(self, stream: Stream) -> None:
        self.http.send(stream, b"\x88", self.answer_data, b"\x00\x01a\x01b")

    def block(self, headers: Sequence[tuple[str, str]] = REQUEST) -> bytes:
        return self.encoder.encode(headers)

    def frames(self) -> list[Frame]:
        """What has been sent since the last call."""
        found = split(bytes(self.sent))
        self.sent.clear()
        return found

    def greet(self, *more: bytes) -> None:
        """Settings, and what follows them; forgets what was sent before."""
        self.http.receive(frames.settings({}))
        self.frames()
        for data in more:
            self.http.receive(data)

    def open(self, stream_id: int, *, ends: bool = False) -> None:
        """A request's head."""
        flags = frames.END_HEADERS | (frames.END_STREAM if ends else 0)
        self.http.receive(frames.frame(frames.HEADERS, flags, stream_id, self.block()))


def data(stream_id: int, payload: bytes = b"", *, ends: bool = False, flags: int = 0) -> bytes:
    """A frame of data."""
    return frames.frame(frames.DATA, flags | (frames.END_STREAM if ends else 0), stream_id, payload)
