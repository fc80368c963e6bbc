"""HTTP/2 as a client speaks it: against the server's side, and against peers that break rules or leave."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvraft.wire.http2 import client, common, connection, frames
from kvraft.wire.http2.client import ClientConnection, TooManyWaiting
from kvraft.wire.http2.common import ConnectionEnds
from kvraft.wire.http2.frames import ErrorCode, frame, goaway, rst_stream, window_update
from kvraft.wire.http2.headers import encode
from tests.kvraft.wire.http2_peer import Frame, Owner, data, split

BLOCK = encode([(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/x"), (b":authority", b"a")])
GREETING = frames.settings({})


class Asking:
    """A caller that writes down what it hears."""

    def __init__(self, heard: list[object], name: str = "") -> None:
        self.heard = heard
        self.name = name

    def _note(self, *what: object) -> None:
        self.heard.append((self.name, *what) if self.name else what if len(what) > 1 else what[0])

    def headers(self, head: object) -> None:
        self._note("headers", dict(head))  # type: ignore[call-overload]

    def data(self, data: bytes) -> None:
        self._note("data", data)

    def half_closed(self) -> None:
        self._note("half_closed")

    def lost(self) -> None:
        self._note("lost")

    def refused(self) -> None:
        self._note("refused")

    def drained(self) -> None:
        self._note("drained")


class Peer:
    """A client's side, what it has sent, and what its callers have heard."""

    def __init__(self, *, greeted: bool = True) -> None:
        self.sent = bytearray()
        self.heard: list[object] = []
        self.now = 0.0
        self.http: ClientConnection[object] = ClientConnection(self.sent.extend, list, lambda: self.now)
        self.encoder = hpack.Encoder()
        assert bytes(self.sent).startswith(frames.PREFACE)
        del self.sent[: len(frames.PREFACE)]
        self.greeting = split(bytes(self.sent))
        if greeted:
            self.http.receive(GREETING)
            self.frames()

    def frames(self) -> list[Frame]:
        found = split(bytes(self.sent))
        self.sent.clear()
        return found

    def ask(self, body: bytes = b"question", name: str = "", *, ends: bool = True) -> connection.Stream:
        return self.http.request(BLOCK, body, Asking(self.heard, name), ends=ends)

    def answer(self, stream_id: int, *fields: tuple[str, str], ends: bool = False) -> None:
        flags = frames.END_HEADERS | (frames.END_STREAM if ends else 0)
        self.http.receive(frame(frames.HEADERS, flags, stream_id, self.encoder.encode(fields or [(":status", "200")])))


def test_the_first_words() -> None:
    first, second = Peer().greeting
    said = {
        int.from_bytes(first.payload[at : at + 2]): int.from_bytes(first.payload[at + 2 : at + 6])
        for at in range(0, len(first.payload), 6)
    }
    assert said == {frames.SETTINGS_ENABLE_PUSH: 0, frames.SETTINGS_INITIAL_WINDOW_SIZE: common.STREAM_WINDOW}
    assert second == Frame(frames.WINDOW_UPDATE, 0, 0, (common.CONNECTION_WINDOW - frames.DEFAULT_WINDOW).to_bytes(4))


def _talk(peer: Peer, owner: Owner) -> None:
    """Pass bytes to and fro until both are silent; a large frame in pieces."""
    while peer.sent or owner.sent:
        said = bytes(peer.sent)
        peer.sent.clear()
        if said:
            owner.http.receive(said)
        said = bytes(owner.sent)
        owner.sent.clear()
        for start in range(0, len(said), 7000):
            peer.http.receive(said[start : start + 7000])


@pytest.mark.parametrize("size", [0, 5, 16_384, 16_385, 3_000_000])
def test_question_and_answer_of_any_size(size: int) -> None:
    peer, owner = Peer(greeted=False), Owner("half_closed", b"a" * size)
    _talk(peer, owner)
    for _ in range(2):
        peer.ask(b"q" * size)
        _talk(peer, owner)
    asked = b"".join(each[2] for each in owner.heard if each[0] == "data")  # type: ignore[misc]
    got = b"".join(each[1] for each in peer.heard if each[0] == "data")  # type: ignore[index]
    assert (len(asked), len(got)) == (2 * size, 2 * size)
    assert peer.heard[-2:] == [("headers", {b"a": b"b"}), "half_closed"]
    assert not peer.http.streams
    assert not owner.http.streams


def test_both_sides_go_on_while_the_stream_is_open() -> None:
    peer, owner = Peer(greeted=False), Owner()
    stream = peer.ask(b"one", ends=False)
    peer.http.say(stream, b"two")
    _talk(peer, owner)
    assert [each for each in owner.heard if each[0] == "data"] == [("data", 1, b"one"), ("data", 1, b"two")]
    owner.http.send(owner.streams[1], b"\x88", b"answer")
    _talk(peer, owner)
    assert peer.heard == [("headers", {b":status": b"200"}), ("data", b"answer")]
    peer.http.cancel(stream)
    peer.http.cancel(stream)
    _talk(peer, owner)
    assert owner.heard[-1] == ("lost", 1)
    owner.http.send_data(owner.streams[1], b"more")
    _talk(peer, owner)
    assert len(peer.heard) == 2


def test_an_answer_that_ends_a_stream_we_have_not_ended() -> None:
    peer = Peer()
    peer.ask(ends=False)
    peer.answer(1, (":status", "200"), ends=True)
    assert peer.heard == [("headers", {b":status": b"200"}), "half_closed"]
    assert peer.frames()[-1] == Frame(frames.RST_STREAM, 0, 1, bytes(4))
    peer.http.receive(data(1, b"late"))
    peer.answer(1, ("late", "too"), ends=True)
    assert len(peer.heard) == 2
    assert not peer.http.streams


def test_an_answer_before_all_has_been_sent_drops_the_rest() -> None:
    peer = Peer()
    peer.ask(b"q" * 100_000)
    assert peer.http.held_bytes
    peer.answer(1, (":status", "200"), ends=True)
    assert peer.http.held_bytes == 0
    assert peer.frames()[-1].kind == frames.RST_STREAM


def test_data_ends_streams_too_and_padding_is_taken_off() -> None:
    peer = Peer()
    peer.ask()
    peer.answer(1)
    peer.http.receive(data(1, b"\x03answer\0\0\0", ends=True, flags=frames.PADDED))
    assert peer.heard[1:] == [("data", b"answer"), "half_closed"]
    peer.ask(name="second")
    peer.answer(3)
    peer.http.receive(data(3, ends=True))
    assert peer.heard[-1] == ("second", "half_closed")


@pytest.mark.parametrize("ends", [True, False])
def test_a_caller_may_cancel_while_it_hears(ends: bool) -> None:
    class Canceller(Asking):
        def data(self, data: bytes) -> None:
            super().data(data)
            peer.http.cancel(stream)

    peer = Peer()
    stream = peer.http.request(BLOCK, b"", Canceller(peer.heard), ends=True)
    peer.answer(1)
    peer.http.receive(data(1, b"x", ends=ends))
    assert peer.heard[-1] == ("data", b"x")
    assert not peer.http.streams


def test_windows_are_opened_again_as_data_comes() -> None:
    peer = Peer()
    peer.ask()
    peer.answer(1)
    peer.frames()
    for _ in range(33):
        peer.http.receive(data(1, bytes(16_384)))
    (update,) = peer.frames()
    assert (update.kind, update.stream_id) == (frames.WINDOW_UPDATE, 1)


def test_word_comes_when_what_was_held_back_has_gone() -> None:
    peer = Peer()
    peer.ask(bytes(70_000), ends=False)
    peer.http.receive(window_update(0, 100_000) + window_update(1, 100_000))
    assert peer.heard == ["drained"]


def test_more_streams_than_the_peer_takes_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_WAITING", 3)
    peer = Peer()
    peer.http.receive(frames.settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 1}))
    first = peer.ask(name="first")
    peer.ask(name="second")
    third = peer.ask(b"a", name="third", ends=False)
    fourth = peer.ask(name="fourth")
    peer.http.say(third, b"b")
    with pytest.raises(TooManyWaiting):
        peer.ask()
    peer.http.cancel(fourth)
    peer.frames()
    peer.answer(first.stream_id, ends=True)
    assert [each.kind for each in peer.frames()] == [frames.HEADERS, frames.DATA]
    peer.http.receive(frames.settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 5}))
    head, body, _ = peer.frames()
    assert (head.stream_id, body.payload) == (5, b"ab")
    assert third.stream_id == 5
    assert peer.heard[-1] == ("first", "half_closed")


def test_those_who_wait_hear_that_the_connection_is_gone() -> None:
    peer = Peer()
    peer.http.receive(frames.settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 1}))
    peer.ask(name="sent")
    peer.ask(name="waiting")
    peer.http.lost()
    assert sorted(peer.heard) == [("sent", "lost"), ("waiting", "refused")]  # type: ignore[type-var]


def test_a_peer_that_leaves_answers_what_it_has_begun_and_has_not_looked_at_the_rest() -> None:
    peer = Peer()
    for number in range(3):
        peer.ask(name=str(number))
    peer.http.receive(goaway(3, ErrorCode.NO_ERROR))
    assert peer.http.leaving
    assert peer.heard == [("2", "refused")]
    peer.answer(1, ends=True)
    assert peer.heard[-1] == ("0", "half_closed")


def test_resets() -> None:
    peer = Peer()
    peer.ask(name="refused")
    peer.ask(name="cancelled")
    peer.http.receive(rst_stream(1, ErrorCode.REFUSED_STREAM) + rst_stream(3, ErrorCode.CANCEL))
    peer.http.receive(rst_stream(3, ErrorCode.CANCEL))
    assert peer.heard == [("refused", "refused"), ("cancelled", "lost")]


def test_a_connection_has_so_many_streams_and_no_more() -> None:
    peer = Peer()
    peer.http._last_stream_id = frames.MAX_STREAM_ID - 2
    assert peer.ask().stream_id == frames.MAX_STREAM_ID
    assert peer.http.leaving


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (frame(frames.HEADERS, frames.END_HEADERS, 5, b"\x88"), ErrorCode.PROTOCOL_ERROR),
        (frame(frames.HEADERS, frames.END_HEADERS, 2, b"\x88"), ErrorCode.PROTOCOL_ERROR),
        (data(5, b"x"), ErrorCode.PROTOCOL_ERROR),
        (rst_stream(5, ErrorCode.CANCEL), ErrorCode.PROTOCOL_ERROR),
        (window_update(5, 1), ErrorCode.PROTOCOL_ERROR),
        (frame(frames.PUSH_PROMISE, frames.END_HEADERS, 1, b"\0\0\0\2\x88"), ErrorCode.PROTOCOL_ERROR),
        (frame(frames.GOAWAY, 0, 0, b"short"), ErrorCode.FRAME_SIZE_ERROR),
        (frame(frames.GOAWAY, 0, 1, bytes(8)), ErrorCode.FRAME_SIZE_ERROR),
        (frames.settings({}) * (client.COURTESY_BURST + 1), ErrorCode.ENHANCE_YOUR_CALM),
        (frame(frames.PING, 0, 0, bytes(8)) * (client.COURTESY_BURST + 1), ErrorCode.ENHANCE_YOUR_CALM),
        (frame(frames.HEADERS, frames.END_HEADERS, 1, b"\xff"), ErrorCode.COMPRESSION_ERROR),
    ],
)
def test_breaches_end_the_connection(said: bytes, code: ErrorCode) -> None:
    peer = Peer()
    peer.ask()
    with pytest.raises(ConnectionEnds) as caught:
        peer.http.receive(said)
    # A block that cannot be decoded ends in its own way.
    assert caught.value.code == code
    assert peer.frames()[-1].kind == frames.GOAWAY


def test_breaches_on_a_stream_lose_it_alone() -> None:
    peer = Peer()
    peer.ask(name="flooded")
    peer.ask(name="other")
    for _ in range(common.STREAM_WINDOW // 16_384):
        peer.http.streams[1].unacknowledged = 0  # so that no more is allowed
        peer.http.receive(data(1, bytes(16_384)))
    peer.http.receive(data(1, b"one too many"))
    assert peer.heard[-1] == ("flooded", "lost")
    peer.answer(3, ends=True)
    assert peer.heard[-1] == ("other", "half_closed")


def test_pings_are_answered() -> None:
    peer = Peer()
    peer.http.receive(frame(frames.PING, 0, 0, b"12345678"))
    assert peer.frames() == [Frame(frames.PING, frames.ACK, 0, b"12345678")]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 11), st.integers(0, 255), st.integers(0, 6), st.binary(max_size=24) | st.just(b"\x88")
        ),
        max_size=12,
    ),
    st.binary(max_size=30),
)
def test_nothing_that_a_peer_says_does_harm(said: list[tuple[int, int, int, bytes]], rest: bytes) -> None:
    peer = Peer()
    for number in range(3):
        peer.ask(name=str(number), ends=number < 2)
    wire = b"".join(frame(*each) for each in said) + rest
    try:
        for start in range(0, len(wire), 11):
            peer.http.receive(wire[start : start + 11])
    except ConnectionEnds:
        pass
    peer.http.lost()
    ends = [name for name, what, *_ in peer.heard if what in ("lost", "refused", "half_closed")]  # type: ignore[misc]
    assert sorted(ends) == ["0", "1", "2"], "everybody hears of the end, once"
