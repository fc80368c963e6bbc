"""What a WebSocket client may send, before and after the handshake: never an exception, never a word out of order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import memory_stream_pair
from wsproto.connection import Connection, ConnectionType
from wsproto.events import Ping, TextMessage

from apilayer.server.websocket import HandshakeError, WebSocketSender, accept

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from apilayer.pipeline.request import Sender

some = settings(deadline=None, max_examples=40)
HEADER_VALUES = st.one_of(st.text(st.characters(max_codepoint=126), max_size=12), st.just("a, b"))


class Source:
    """A stream that sends some messages and then waits for its end."""

    def __init__(self) -> None:
        self.scope: trio.CancelScope | None = None

    def bind(self, scope: trio.CancelScope, sender: Sender | None = None) -> None:
        assert sender is None  # over memory
        self.scope = scope

    def unframed(self, message: bytes) -> str | bytes:
        return message.decode()

    def close(self) -> None:
        """Nothing is held."""

    async def batches(self) -> AsyncGenerator[list[bytes], None]:
        yield [b"one", b"two"]
        await trio.sleep_forever()


def sent(event: Ping | TextMessage) -> bytes:
    return Connection(ConnectionType.CLIENT).send(event)


CLIENT_FRAMES = st.one_of(
    st.binary(max_size=40),
    st.binary(max_size=125).map(lambda payload: sent(Ping(payload))),
    st.text(max_size=200).map(lambda text: sent(TextMessage(text, message_finished=False))),
    st.sampled_from([b"\x88\x80\0\0\0\0", b"\x88\x82\0\0\0\0\x03\xe8", b"\x80\x80\0\0\0\0"]),
    st.just(b"\x82\xff\x7f" + b"\xff" * 7),
)


async def talk(data: bytes) -> bytes:
    ours, theirs = memory_stream_pair()
    received = bytearray()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                await WebSocketSender(theirs, data[:7]).send(Source())
                await theirs.aclose()

            nursery.start_soon(serve)
            try:
                await ours.send_all(data[7:])
                await ours.send_eof()
            except trio.BrokenResourceError:
                pass
            async for part in ours:
                received += part
    return bytes(received)


@some
@given(st.lists(CLIENT_FRAMES, max_size=5).map(b"".join))
def test_websocket_frames(data: bytes) -> None:
    """The server says only what the protocol allows, and ends when the client does."""
    said = Connection(ConnectionType.CLIENT)
    said.receive_data(trio.run(talk, data))
    for _ in said.events():
        pass


@some
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "sec-websocket-key": HEADER_VALUES,
            "sec-websocket-version": st.sampled_from(["13", "8", ""]),
            "origin": st.one_of(HEADER_VALUES, st.just("https://a")),
            "sec-websocket-protocol": HEADER_VALUES,
        },
    )
)
def test_websocket_handshakes(headers: dict[str, str]) -> None:
    try:
        answer = accept(headers)
    except HandshakeError as error:
        answer = error.answer
    assert answer.startswith((b"HTTP/1.1 101 ", b"HTTP/1.1 400 ", b"HTTP/1.1 403 "))
