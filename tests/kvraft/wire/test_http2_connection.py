"""HTTP/2 as a server speaks it: the course of streams, their ends, and what breaks a connection."""

from __future__ import annotations

import pytest

from kvraft.wire.http2 import connection, frames
from kvraft.wire.http2.connection import ConnectionEnds
from kvraft.wire.http2.frames import ErrorCode, frame, goaway, rst_stream, settings, window_update
from tests.kvraft.wire.http2_peer import Frame, Owner, data


def test_the_first_words_are_settings_and_a_larger_window() -> None:
    first, second = Owner().frames()
    assert (first.kind, first.flags, first.stream_id) == (frames.SETTINGS, 0, 0)
    assert first.payload[:6] == frames.SETTINGS_MAX_CONCURRENT_STREAMS.to_bytes(2) + connection.MAX_STREAMS.to_bytes(4)
    assert second == Frame(frames.WINDOW_UPDATE, 0, 0, (connection.CONNECTION_WINDOW - 65_535).to_bytes(4))


def test_a_request_is_answered_in_one_go() -> None:
    owner = Owner("data")
    owner.greet()
    owner.open(1)
    owner.http.receive(data(1, b"question", ends=True))
    assert owner.heard == [("opened", 1, b"/x"), ("data", 1, b"question")]
    head, body, trailers = owner.frames()
    assert (head.kind, head.flags, head.payload) == (frames.HEADERS, frames.END_HEADERS, b"\x88")
    assert (body.kind, body.flags, body.payload) == (frames.DATA, 0, b"answer")
    assert (trailers.kind, trailers.flags) == (frames.HEADERS, frames.END_HEADERS | frames.END_STREAM)
    assert not owner.http.streams


def test_frames_may_come_in_any_pieces() -> None:
    owner = Owner("half_closed")
    wire = settings({}) + frame(frames.HEADERS, frames.END_HEADERS, 1, owner.block()) + data(1, b"q", ends=True)
    for place in range(len(wire)):
        owner.http.receive(wire[place : place + 1])
    assert owner.heard == [("opened", 1, b"/x"), ("data", 1, b"q"), ("half_closed", 1)]


@pytest.mark.parametrize("answer_on", ["opened", "data"])
def test_an_answer_before_the_end_of_the_question_tells_the_client_to_stop(answer_on: str) -> None:
    owner = Owner(answer_on)
    owner.greet()
    owner.open(1)
    owner.http.receive(data(1, b"more to come"))
    assert owner.frames()[-1] == Frame(frames.RST_STREAM, 0, 1, bytes(4))
    owner.http.receive(data(1, b"on its way already", ends=True))
    assert owner.frames() == []


def test_a_request_without_body_ends_with_its_head() -> None:
    owner = Owner("half_closed")
    owner.greet()
    owner.open(1, ends=True)
    assert owner.heard == [("opened", 1, b"/x"), ("half_closed", 1)]
    owner.answer_on = "opened"
    owner.open(3, ends=True)
    assert owner.heard[2:] == [("opened", 3, b"/x")]
    assert not owner.http.streams


def test_trailers_of_a_request_end_it() -> None:
    owner = Owner("half_closed")
    owner.greet()
    owner.open(1)
    owner.open(1, ends=True)
    assert owner.heard[-1] == ("half_closed", 1)
    owner.frames()
    owner.open(1, ends=True)  # of a stream that is over
    assert owner.frames() == []


def test_headers_in_the_middle_of_a_request_break_it() -> None:
    owner = Owner()
    owner.greet()
    owner.open(1)
    owner.open(1)
    assert owner.heard[-1] == ("lost", 1)
    assert owner.frames() == [Frame(frames.RST_STREAM, 0, 1, ErrorCode.PROTOCOL_ERROR.to_bytes(4))]


@pytest.mark.parametrize("kind", ["headers", "data"])
def test_what_follows_the_end_of_a_request_breaks_it(kind: str) -> None:
    owner = Owner()
    owner.greet()
    owner.open(1, ends=True)
    if kind == "headers":
        owner.open(1, ends=True)
    else:
        owner.http.receive(data(1, b"x"))
    assert owner.heard[-1] == ("lost", 1)
    assert owner.frames() == [Frame(frames.RST_STREAM, 0, 1, ErrorCode.STREAM_CLOSED.to_bytes(4))]


def test_trailers_are_of_no_use_to_an_answer_that_is_held_back() -> None:
    owner = Owner("opened", bytes(70_000))
    owner.greet()
    owner.open(1)
    owner.open(1, ends=True)
    assert ("half_closed", 1) not in owner.heard
    owner.http.receive(window_update(0, 100_000) + window_update(1, 100_000))
    assert [part.kind for part in owner.frames()][-1] == frames.HEADERS
    assert not owner.http.streams


def test_data_is_of_no_use_to_an_answer_that_is_held_back() -> None:
    owner = Owner("opened", bytes(70_000))
    owner.greet()
    owner.open(1)
    owner.http.receive(data(1, b"too late", ends=True))
    assert owner.heard == [("opened", 1, b"/x")]
    assert 1 in owner.http.streams


def test_padding_and_priority_are_taken_off() -> None:
    owner = Owner()
    owner.greet()
    flags = frames.END_HEADERS | frames.PADDED | frames.HAS_PRIORITY
    owner.http.receive(frame(frames.HEADERS, flags, 1, b"\x02" + bytes(5) + owner.block() + b"\0\0"))
    owner.http.receive(data(1, b"\x01abc\0", flags=frames.PADDED))
    owner.http.receive(data(1, b"\x03\0\0\0", flags=frames.PADDED))
    assert owner.heard == [("opened", 1, b"/x"), ("data", 1, b"abc")]
    owner.http.receive(frame(frames.HEADERS, frames.END_HEADERS | frames.HAS_PRIORITY, 3, bytes(5) + owner.block()))
    assert owner.heard[-1] == ("opened", 3, b"/x")
    owner.http.receive(frame(frames.HEADERS, frames.END_HEADERS | frames.PADDED, 5, b"\x01" + owner.block() + b"\0"))
    assert owner.heard[-1] == ("opened", 5, b"/x")


def test_an_answer_may_come_in_parts() -> None:
    owner = Owner()
    owner.greet()
    owner.open(1, ends=True)
    owner.http.send(owner.streams[1], b"\x88")
    owner.http.send_data(owner.streams[1], b"body")
    owner.http.send_trailers(owner.streams[1], b"\x00\x01a\x01b")
    assert [sent.kind for sent in owner.frames()] == [frames.HEADERS, frames.DATA, frames.HEADERS]
    assert owner.heard[-1] == ("half_closed", 1)


def test_long_headers_come_in_continuations() -> None:
    owner = Owner()
    owner.greet()
    block = owner.block()
    owner.http.receive(frame(frames.HEADERS, frames.END_STREAM, 1, block[:3]))
    owner.http.receive(frame(frames.CONTINUATION, 0, 1, block[3:5]))
    owner.http.receive(frame(frames.CONTINUATION, frames.END_HEADERS, 1, block[5:]))
    assert owner.heard == [("opened", 1, b"/x"), ("half_closed", 1)]


def test_a_reset_by_the_client_is_heard_once() -> None:
    owner = Owner()
    owner.greet()
    owner.open(1)
    owner.http.receive(rst_stream(1, ErrorCode.CANCEL) * 2)
    assert owner.heard == [("opened", 1, b"/x"), ("lost", 1)]
    owner.answer(owner.streams[1])
    owner.http.send_data(owner.streams[1], b"x")
    owner.http.send_trailers(owner.streams[1], b"")
    owner.http.reset(owner.streams[1], ErrorCode.CANCEL)
    assert owner.frames() == []


def test_a_reset_while_the_answer_is_held_back_is_not_heard() -> None:
    owner = Owner("opened", bytes(70_000))
    owner.greet()
    owner.open(1)
    owner.http.receive(rst_stream(1, ErrorCode.CANCEL))
    assert owner.heard == [("opened", 1, b"/x")]
    assert owner.http.held_bytes == 0


def test_our_reset_is_the_end() -> None:
    owner = Owner()
    owner.greet()
    owner.open(1)
    owner.http.reset(owner.streams[1], ErrorCode.INTERNAL_ERROR)
    assert owner.frames() == [Frame(frames.RST_STREAM, 0, 1, ErrorCode.INTERNAL_ERROR.to_bytes(4))]
    owner.http.receive(data(1, b"x") + window_update(1, 5))
    assert owner.heard == [("opened", 1, b"/x")]


def test_too_many_streams_are_refused_and_the_table_follows() -> None:
    owner = Owner(max_streams=2)
    said = owner.frames()[0].payload
    assert said[:6] == frames.SETTINGS_MAX_CONCURRENT_STREAMS.to_bytes(2) + (2).to_bytes(4)
    owner.greet()
    for stream_id in (1, 3, 5):
        owner.open(stream_id)
    assert owner.frames() == [Frame(frames.RST_STREAM, 0, 5, ErrorCode.REFUSED_STREAM.to_bytes(4))]
    owner.http.receive(rst_stream(1, ErrorCode.CANCEL))
    owner.http.receive(
        frame(frames.HEADERS, frames.END_HEADERS, 7, owner.block([*owner_request("/y"), ("new", "header")]))
    )
    assert owner.heard[-1] == ("opened", 7, b"/y")


def owner_request(path: str) -> list[tuple[str, str]]:
    return [(":method", "POST"), (":path", path), (":scheme", "http")]


def test_leaving_serves_what_is_open_and_refuses_the_rest() -> None:
    owner = Owner("half_closed")
    owner.greet()
    owner.open(1)
    owner.http.leave()
    owner.http.leave()
    assert owner.frames() == [Frame(frames.GOAWAY, 0, 0, (1).to_bytes(4) + bytes(4))]
    owner.open(3)
    assert owner.frames() == [Frame(frames.RST_STREAM, 0, 3, ErrorCode.REFUSED_STREAM.to_bytes(4))]
    owner.http.receive(data(1, ends=True))
    assert len(owner.frames()) == 3


def test_a_lost_connection_is_heard_by_every_stream() -> None:
    owner = Owner()
    owner.greet()
    owner.open(1)
    owner.open(3)
    owner.http.lost()
    assert owner.heard[-2:] == [("lost", 1), ("lost", 3)]
    assert not owner.http.streams


def test_pings_are_answered_and_too_many_are_too_many() -> None:
    owner = Owner()
    owner.greet()
    owner.open(1)
    for _ in range(3):
        owner.http.receive(frame(frames.PING, 0, 0, b"12345678"))
    assert owner.frames() == [Frame(frames.PING, frames.ACK, 0, b"12345678")] * 3
    with pytest.raises(ConnectionEnds, match="too_many_pings"):
        owner.http.receive(frame(frames.PING, 0, 0, b"12345678"))
    last = owner.frames()[-1]
    assert last == Frame(frames.GOAWAY, 0, 0, (1).to_bytes(4) + (0xB).to_bytes(4) + b"too_many_pings")


def test_pings_now_and_then_and_after_answers_are_fine() -> None:
    owner = Owner()
    owner.greet()
    owner.open(1)
    ping = frame(frames.PING, 0, 0, bytes(8))
    for _ in range(10):
        owner.now += 5.0
        owner.http.receive(ping)
    for _ in range(10):
        owner.http.send_data(owner.streams[1], b"x")
        owner.http.receive(ping)
    owner.http.receive(frame(frames.PING, frames.ACK, 0, bytes(8)))


def test_how_often_pings_may_come_is_a_setting() -> None:
    owner = Owner(min_ping_seconds=30)
    owner.greet()
    owner.open(1)
    ping = frame(frames.PING, 0, 0, bytes(8))
    for _ in range(10):
        owner.now += 30.0
        owner.http.receive(ping)
    for _ in range(2):
        owner.now += 29.0
        owner.http.receive(ping)
    with pytest.raises(ConnectionEnds, match="too_many_pings"):
        owner.http.receive(ping)


def test_the_peer_can_be_asked_whether_it_is_there() -> None:
    owner = Owner()
    owner.greet()
    owner.http.ping()
    assert owner.frames()[-1] == Frame(frames.PING, 0, 0, bytes(8))


def test_pings_without_a_stream_are_fewer() -> None:
    owner = Owner()
    owner.greet()
    ping = frame(frames.PING, 0, 0, bytes(8))
    for _ in range(3):
        owner.now += 60.0
        owner.http.receive(ping)
    with pytest.raises(ConnectionEnds, match="too_many_pings"):
        owner.http.receive(ping)


def test_opening_and_resetting_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "RESET_BURST", 5)
    owner = Owner()
    owner.greet()
    for stream_id in range(1, 11, 2):
        owner.open(stream_id)
        owner.http.receive(rst_stream(stream_id, ErrorCode.CANCEL))
    owner.now += 0.001  # one more is allowed by now
    owner.open(11)
    owner.http.receive(rst_stream(11, ErrorCode.CANCEL))
    owner.open(13)
    with pytest.raises(ConnectionEnds, match="opened and reset") as caught:
        owner.http.receive(rst_stream(13, ErrorCode.CANCEL))
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM


def test_harmless_frames_change_nothing() -> None:
    owner = Owner()
    owner.greet(
        frame(frames.PRIORITY, 0, 5, bytes(5)),
        frame(0x77, 0xFF, 3, b"unknown"),
        goaway(0, ErrorCode.NO_ERROR, b"bye"),
        frame(frames.SETTINGS, frames.ACK, 0),
        settings({frames.SETTINGS_HEADER_TABLE_SIZE: 0, frames.SETTINGS_ENABLE_PUSH: 0, 0x99: 7}),
        settings({frames.SETTINGS_MAX_FRAME_SIZE: 1 << 20}),
    )
    assert [sent.flags for sent in owner.frames()] == [frames.ACK] * 2
    assert owner.heard == []


OPENED = frame(frames.HEADERS, frames.END_HEADERS, 1, Owner().block())
BROKEN = [
    ("headers on an even stream", frame(frames.HEADERS, frames.END_HEADERS, 2, b"\x82"), ErrorCode.PROTOCOL_ERROR),
    ("headers on stream 0", frame(frames.HEADERS, frames.END_HEADERS, 0, b"\x82"), ErrorCode.PROTOCOL_ERROR),
    ("no room for the priority", frame(frames.HEADERS, 0x24, 1, b"\x82"), ErrorCode.FRAME_SIZE_ERROR),
    ("padding beyond the frame", frame(frames.HEADERS, 0xC, 1, b"\x09\x82"), ErrorCode.PROTOCOL_ERROR),
    ("padding without a length", frame(frames.HEADERS, 0xC, 1, b""), ErrorCode.PROTOCOL_ERROR),
    ("a block that is no HPACK", frame(frames.HEADERS, 4, 1, b"\xff\xff\xff\xff"), ErrorCode.COMPRESSION_ERROR),
    ("a continuation of nothing", frame(frames.CONTINUATION, 4, 1, b""), ErrorCode.PROTOCOL_ERROR),
    (
        "another stream's continuation",
        frame(frames.HEADERS, 0, 1, b"\x82") + frame(frames.CONTINUATION, 4, 3, b""),
        ErrorCode.PROTOCOL_ERROR,
    ),
    ("something else than it", frame(frames.HEADERS, 0, 1, b"\x82") + data(1, b"x"), ErrorCode.PROTOCOL_ERROR),
    (
        "headers without end",
        frame(frames.HEADERS, 0, 1, b"") + frame(frames.CONTINUATION, 0, 1, bytes(16_000)) * 5,
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
    (
        "empty continuations without end",
        frame(frames.HEADERS, 0, 1, b"") + frame(frames.CONTINUATION, 0, 1, b"") * 65,
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
    ("data on a stream that is not open", data(1, b"x"), ErrorCode.PROTOCOL_ERROR),
    ("data on stream 0", OPENED + data(0, b"x"), ErrorCode.PROTOCOL_ERROR),
    ("a reset of a stream that is not open", rst_stream(1, ErrorCode.CANCEL), ErrorCode.PROTOCOL_ERROR),
    ("a reset of stream 0", OPENED + rst_stream(0, ErrorCode.CANCEL), ErrorCode.PROTOCOL_ERROR),
    ("a short reset", OPENED + frame(frames.RST_STREAM, 0, 1, b"x"), ErrorCode.FRAME_SIZE_ERROR),
    ("a short priority", frame(frames.PRIORITY, 0, 1, b"x"), ErrorCode.FRAME_SIZE_ERROR),
    ("the priority of stream 0", frame(frames.PRIORITY, 0, 0, bytes(5)), ErrorCode.FRAME_SIZE_ERROR),
    ("settings of a stream", frame(frames.SETTINGS, 0, 1), ErrorCode.FRAME_SIZE_ERROR),
    ("settings of no whole number", frame(frames.SETTINGS, 0, 0, b"x"), ErrorCode.FRAME_SIZE_ERROR),
    ("an acknowledgement that says something", frame(frames.SETTINGS, 1, 0, bytes(6)), ErrorCode.FRAME_SIZE_ERROR),
    ("a window too large", settings({4: 1 << 31}), ErrorCode.FLOW_CONTROL_ERROR),
    ("a push setting that is no truth", settings({2: 2}), ErrorCode.PROTOCOL_ERROR),
    ("frames too small", settings({5: 100}), ErrorCode.PROTOCOL_ERROR),
    ("frames too large", settings({5: 1 << 24}), ErrorCode.PROTOCOL_ERROR),
    ("a push", frame(frames.PUSH_PROMISE, 0, 1), ErrorCode.PROTOCOL_ERROR),
    ("a short ping", frame(frames.PING, 0, 0, b"x"), ErrorCode.FRAME_SIZE_ERROR),
    ("a ping of a stream", frame(frames.PING, 0, 1, bytes(8)), ErrorCode.FRAME_SIZE_ERROR),
    ("a short goaway", frame(frames.GOAWAY, 0, 0, b"x"), ErrorCode.FRAME_SIZE_ERROR),
    ("a short window update", frame(frames.WINDOW_UPDATE, 0, 0, b"x"), ErrorCode.FRAME_SIZE_ERROR),
    ("a window update by nothing", window_update(0, 0), ErrorCode.FLOW_CONTROL_ERROR),
    ("a window beyond its limit", window_update(0, frames.MAX_WINDOW), ErrorCode.FLOW_CONTROL_ERROR),
    ("the window of a stream that is not open", window_update(1, 1), ErrorCode.PROTOCOL_ERROR),
    ("a frame that is too long", frame(frames.DATA, 0, 1, bytes(16_385)), ErrorCode.FRAME_SIZE_ERROR),
    (
        "a stream's window beyond its limit by settings",
        OPENED + window_update(1, frames.MAX_WINDOW - 65_535) + settings({4: 65_536}),
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
    (
        "more data than the connection's window",
        OPENED + data(1, bytes(16_384)),
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
]


@pytest.mark.parametrize(("what", "sent", "code"), BROKEN, ids=[row[0] for row in BROKEN])
def test_a_breach_ends_the_connection_with_its_code(what: str, sent: bytes, code: ErrorCode) -> None:
    owner = Owner()
    owner.greet()
    if what.startswith("more data"):
        owner.http._receive_window = 10_000
    with pytest.raises(ConnectionEnds) as caught:
        owner.http.receive(sent)
    assert caught.value.code is code
    last = owner.frames()[-1]
    assert (last.kind, last.payload[4:8]) == (frames.GOAWAY, code.to_bytes(4))
    assert last.payload[8:].decode() == str(caught.value)


def test_settings_come_first() -> None:
    with pytest.raises(ConnectionEnds, match="where 4 is due"):
        Owner().http.receive(frame(frames.PING, 0, 0, bytes(8)))


@pytest.mark.parametrize(
    ("increment", "code"), [(0, ErrorCode.PROTOCOL_ERROR), (frames.MAX_WINDOW, ErrorCode.FLOW_CONTROL_ERROR)]
)
def test_a_stream_with_an_impossible_window_breaks_alone(increment: int, code: ErrorCode) -> None:
    owner = Owner()
    owner.greet()
    owner.open(1)
    owner.open(3)
    owner.http.receive(window_update(1, increment))
    assert owner.frames() == [Frame(frames.RST_STREAM, 0, 1, code.to_bytes(4))]
    assert owner.heard[-1] == ("lost", 1)
    assert list(owner.http.streams) == [3]
