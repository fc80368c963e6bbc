"""Flow control, both ways: nothing beyond a window is sent, everything is sent once there is room, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h2.connection
import h2.events
from hypothesis import given
from hypothesis import strategies as st

from kvraft.wire.http2 import connection, frames
from kvraft.wire.http2.connection import ConnectionEnds
from kvraft.wire.http2.frames import ErrorCode, frame, settings, window_update
from tests.kvraft.wire.http2_peer import Frame, Owner, data

if TYPE_CHECKING:
    import pytest


def _data_of(sent: list[Frame], stream_id: int) -> bytes:
    return b"".join(each.payload for each in sent if each.kind == frames.DATA and each.stream_id == stream_id)


def test_an_answer_waits_for_its_stream_and_for_the_connection() -> None:
    owner = Owner()
    owner.greet(settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: 10}))
    owner.open(1)
    stream = owner.streams[1]
    owner.http.send(stream, b"\x88", b"0123456789abcdef")
    owner.http.send_data(stream, b"ghij")
    owner.http.send_trailers(stream, b"\x00\x01a\x01b")
    assert _data_of(owner.frames(), 1) == b"0123456789"
    assert stream.held_bytes == owner.http.held_bytes == 10
    owner.http.receive(window_update(1, 4))
    assert _data_of(owner.frames(), 1) == b"abcd"
    owner.http.receive(settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: 100}))
    sent = owner.frames()
    assert _data_of(sent, 1) == b"efghij"
    assert any(each.kind == frames.HEADERS and each.flags & frames.END_STREAM for each in sent)
    assert owner.http.held_bytes == 0
    assert not owner.http.streams


def test_who_holds_data_back_hears_when_it_has_gone() -> None:
    owner = Owner()
    owner.greet(settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: 5}))
    owner.open(1)
    owner.http.send(owner.streams[1], b"\x88", b"0123456789")
    assert ("drained", 1) not in owner.heard
    owner.http.receive(window_update(1, 4))
    assert ("drained", 1) not in owner.heard
    owner.http.receive(window_update(1, 1))
    assert owner.heard[-1] == ("drained", 1)


def test_a_shrinking_window_may_be_negative() -> None:
    owner = Owner()
    owner.greet()
    owner.open(1)
    owner.http.send(owner.streams[1], b"\x88", bytes(1000))
    owner.http.receive(settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: 0}))
    owner.frames()
    owner.http.send_data(owner.streams[1], b"x")
    owner.http.receive(window_update(1, 1000))
    assert owner.frames() == []
    owner.http.receive(window_update(1, 1))
    assert _data_of(owner.frames(), 1) == b"x"


def test_streams_share_the_connection_by_turns() -> None:
    owner = Owner("opened", bytes(65_535 + 3 * 16_384))
    owner.greet(settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: 1 << 20}))
    owner.open(1, ends=True)
    owner.open(3, ends=True)
    owner.frames()
    owner.http.receive(window_update(0, 5 * 16_384))
    order = [each.stream_id for each in owner.frames() if each.kind == frames.DATA]
    assert order[:4] == [1, 3, 1, 3]
    owner.http.receive(window_update(0, 1 << 20))
    sent = owner.frames()
    assert len([each for each in sent if each.flags & frames.END_STREAM]) == 2
    assert not owner.http.streams


def test_a_waiting_stream_whose_own_window_is_full_lets_others_pass() -> None:
    owner = Owner()
    owner.greet()
    for stream_id in (1, 3):
        owner.open(stream_id)
    owner.http.send(owner.streams[1], b"\x88", bytes(65_535))
    owner.http.send(owner.streams[3], b"\x88", b"abc")
    owner.http.send_data(owner.streams[1], b"later")
    owner.frames()
    owner.http.receive(window_update(0, 100))
    assert [(each.stream_id, each.payload) for each in owner.frames()] == [(3, b"abc")]
    owner.http.receive(window_update(1, 100))
    assert [(each.stream_id, each.payload) for each in owner.frames()] == [(1, b"later")]


def test_a_waiting_stream_that_shrinks_lets_others_pass() -> None:
    owner = Owner()
    owner.greet()
    for stream_id in (1, 3, 5):
        owner.open(stream_id)
    owner.http.send(owner.streams[1], b"\x88", bytes(65_535))
    owner.http.send(owner.streams[3], b"\x88", bytes(70_000))  # waits for the connection
    owner.http.receive(settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: 0}))  # and now for its own window
    owner.frames()
    owner.http.receive(window_update(5, 10))
    owner.http.send(owner.streams[5], b"\x88", b"five")
    owner.http.receive(window_update(0, 100))
    assert _data_of(owner.frames(), 5) == b"five"


def test_a_body_that_ends_without_trailers() -> None:
    owner = Owner()
    owner.greet()
    owner.open(1, ends=True)
    owner.http.send(owner.streams[1], b"\x88", b"body")
    owner.http.send_trailers(owner.streams[1], b"")
    assert owner.frames()[-1] == Frame(frames.DATA, frames.END_STREAM, 1, b"")


def test_windows_for_the_client_grow_as_it_sends() -> None:
    owner = Owner()
    owner.greet()
    owner.open(1)
    for _ in range(connection.CONNECTION_WINDOW // 16_384 * 2):
        owner.http.receive(data(1, bytes(16_384)))
    sent = owner.frames()
    assert {each.stream_id for each in sent} == {0, 1}
    assert all(each.kind == frames.WINDOW_UPDATE for each in sent)


def test_a_client_that_ignores_its_stream_s_window_breaks_that_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STREAM_WINDOW", 10_000)
    owner = Owner()
    owner.greet()
    owner.open(1)
    owner.http.receive(data(1, bytes(16_000)))
    assert owner.frames() == [Frame(frames.RST_STREAM, 0, 1, ErrorCode.FLOW_CONTROL_ERROR.to_bytes(4))]


@given(
    sizes=st.lists(st.integers(0, 100_000), min_size=1, max_size=6),
    updates=st.lists(st.tuples(st.integers(0, 6), st.integers(1, 50_000)), max_size=60),
    window=st.integers(0, 70_000),
)
def test_everything_arrives_in_order_whatever_the_windows(
    sizes: list[int], updates: list[tuple[int, int]], window: int
) -> None:
    """The peer is another implementation, which complains when a window is overrun."""
    owner = Owner("half_closed")
    client = h2.connection.H2Connection()
    client.initiate_connection()
    client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
    got: dict[int, bytes] = {}
    ended: set[int] = set()

    def exchange() -> None:
        sent = client.data_to_send()
        owner.http.receive(sent.removeprefix(frames.PREFACE))
        answer, owner.sent = bytes(owner.sent), bytearray()
        owner.http._queue = owner.sent.extend
        for event in client.receive_data(answer):
            if isinstance(event, h2.events.DataReceived):
                got[event.stream_id] = got.get(event.stream_id, b"") + event.data
            elif isinstance(event, h2.events.StreamEnded):
                ended.add(event.stream_id)
        owner.http.receive(client.data_to_send())  # what acknowledges our settings

    exchange()
    expected = {}
    for place, size in enumerate(sizes):
        stream_id = 2 * place + 1
        owner.answer_data = bytes([place]) * size
        expected[stream_id] = owner.answer_data
        client.send_headers(
            stream_id, [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "a")], end_stream=True
        )
        exchange()
    for place, increment in updates:
        if place == 0:
            client.increment_flow_control_window(increment)
        elif 2 * place - 1 in expected and 2 * place - 1 not in ended:
            client.increment_flow_control_window(increment, 2 * place - 1)
        exchange()
    client.increment_flow_control_window(1 << 30)
    exchange()
    for stream_id in expected:
        if stream_id not in ended:
            client.increment_flow_control_window(1 << 30, stream_id)
            exchange()
    assert ended == set(expected)
    assert {stream_id: got.get(stream_id, b"") for stream_id in expected} == expected
    assert owner.http.held_bytes == 0


@given(st.lists(st.one_of(st.binary(max_size=40), st.integers(0, 9)), max_size=30), st.randoms(use_true_random=False))
def test_whatever_comes_the_end_is_defined(pieces: list[bytes | int], random: object) -> None:
    """Noise, and frames that look real: either all is well or the connection ends with a GOAWAY, never otherwise."""
    owner = Owner("data")
    owner.greet()
    try:
        for piece in pieces:
            if isinstance(piece, int):
                flags = random.choice([0, 1, 4, 5, 8, 0x20, 0x2D])  # type: ignore[attr-defined]
                payload = owner.block() if piece == 1 else random.randbytes(random.choice([0, 4, 5, 6, 8, 30]))  # type: ignore[attr-defined]
                owner.http.receive(frame(piece, flags, random.choice([0, 1, 1, 2, 3]), payload))  # type: ignore[attr-defined]
            else:
                owner.http.receive(piece)
    except ConnectionEnds:
        assert owner.frames()[-1].kind == frames.GOAWAY
    owner.http.lost()
    assert owner.http.held_bytes == 0
    assert not owner.http.streams
