"""etcd's protocol as the client reads it, without sockets: answers that are cut, wrong, too large, or too late."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from kvraft import errors, types
from kvraft.client.etcd import call as call_module
from kvraft.client.etcd.wire import EtcdWire, tells_progress
from kvraft.errors import KvraftError, ProtocolError
from kvraft.wire import native
from kvraft.wire.etcd import kv_pb2, responses
from kvraft.wire.etcd import rpc_pb2 as pb
from kvraft.wire.grpc import status
from kvraft.wire.grpc.messages import framed
from kvraft.wire.http2 import frames, headers
from kvraft.wire.http2.frames import ErrorCode, frame, goaway, rst_stream
from tests.kvraft.wire.http2_peer import Frame, split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

WATCH = types.WatchRequest(b"k", b"l", 5)
WATCH_NOW = types.WatchRequest(b"k", b"l")
ID, OTHER = b"0001", b"0002"


class Side:
    """A wire, what it has sent and handed over. Its first call is stream 1."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.handed: list[tuple[bytes, object]] = []
        self.wire = EtcdWire("http://a:1", self, 1 << 20, self._hand)  # type: ignore[arg-type] (of a channel only `queue`)
        self.wire.receive(frames.settings({}))
        self.sent.clear()

    def queue(self, data: bytes) -> None:
        self.sent += data

    def _hand(self, answers: Iterable[tuple[bytes, object, int]]) -> None:
        self.handed += [(request_id, answer) for request_id, answer, _ in answers]

    def frames(self) -> list[Frame]:
        found = split(bytes(self.sent))
        self.sent.clear()
        return found

    def head(self, stream_id: int, block: bytes = status.HEADERS, *, ends: bool = False) -> None:
        flags = frames.END_HEADERS | (frames.END_STREAM if ends else 0)
        self.wire.receive(frame(frames.HEADERS, flags, stream_id, block))

    def data(self, stream_id: int, data: bytes) -> None:
        for start in range(0, len(data), 16_384):
            self.wire.receive(frame(frames.DATA, 0, stream_id, data[start : start + 16_384]))

    def end(self, stream_id: int, block: bytes = status.OK) -> None:
        self.head(stream_id, block, ends=True)

    @property
    def answer(self) -> object:
        """The one thing that was handed over."""
        ((request_id, answer),) = self.handed
        assert request_id == ID
        self.handed.clear()
        assert not self.wire.calls
        assert self.wire.partial_bytes == 0
        return answer


def failed(answer: object, kind: type[KvraftError], text: str = "") -> None:
    assert type(answer) is kind
    assert text in str(answer)


async def test_an_answer_in_pieces() -> None:
    side = Side()
    side.wire.send(ID, types.RangeRequest(b"k"))
    message = framed(pb.RangeResponse(header=pb.ResponseHeader(revision=7), count=3).SerializeToString())
    side.head(1)
    for place in range(len(message)):
        side.data(1, message[place : place + 1])
    side.end(1)
    assert side.answer == types.RangeResponse(7, [], 3)


async def test_the_head_of_a_call_says_who_asks_and_what() -> None:
    side = Side()
    side.wire.send(native.CONNECTION_ID, native.Bearer("secret-token"))
    side.wire.send(ID, types.RangeRequest(b"k"))
    side.wire.send(OTHER, WATCH)
    blocks = [each.payload for each in side.frames() if each.kind == frames.HEADERS]
    decoded = [dict(headers.HeaderDecoder(list).decode(block)) for block in blocks]
    assert decoded[0] == {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": b"/etcdserverpb.KV/Range",
        b":authority": b"a:1",
        b"content-type": b"application/grpc",
        b"te": b"trailers",
        b"user-agent": decoded[0][b"user-agent"],
        b"token": b"secret-token",
    }
    assert [each.get(b"hasleader") for each in decoded] == [None, None, b"true"]


@pytest.mark.parametrize(
    ("respond", "kind", "text"),
    [
        (lambda side: side.end(1, status.trailers_only(errors.NoSpace())), errors.NoSpace, "space exceeded"),
        (lambda side: side.wire.receive(rst_stream(1, ErrorCode.REFUSED_STREAM)), errors.Unavailable, ""),
        (lambda side: side.wire.receive(rst_stream(1, ErrorCode.CANCEL)), errors.ConnectionLost, ""),
        (lambda side: side.wire.receive(goaway(0, ErrorCode.NO_ERROR)), errors.Unavailable, ""),
        (lambda side: side.end(1, headers.encode([(b":status", b"502")])), errors.OutcomeUnknown, "502"),
        (lambda side: side.data(1, b"x"), errors.OutcomeUnknown, "before headers"),
        (lambda side: (side.head(1), side.end(1)), errors.OutcomeUnknown, "without a message"),
        (lambda side: (side.head(1), side.end(1, headers.encode([(b"a", b"b")]))), errors.OutcomeUnknown, "status"),
        (lambda side: (side.head(1), side.data(1, framed(b"\xff"))), None, ""),
        (lambda side: (side.head(1), side.data(1, b"\x07\0\0\0\0")), errors.OutcomeUnknown, "cannot be read"),
        (lambda side: (side.head(1), side.data(1, framed(b"") * 2)), errors.OutcomeUnknown, "a second message"),
        (lambda side: (side.head(1), side.data(1, b"\0\xff\xff\xff\xff")), errors.OutcomeUnknown, "larger than max"),
    ],
)
async def test_ends_of_a_call(respond: Callable[[Side], object], kind: type[KvraftError] | None, text: str) -> None:
    side = Side()
    side.wire.send(ID, types.PutRequest(b"k", b"v"))
    side.head(1, headers.encode([(b":status", b"103")]))
    respond(side)
    if kind is None:
        side.end(1)
        kind, text = errors.OutcomeUnknown, "cannot be read"
    failed(side.answer, kind, text)


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (types.RangeRequest(b"k"), errors.AnswerTooLarge),
        (types.TxnRequest((), (types.RangeRequest(b"k"),)), errors.AnswerTooLarge),
        (types.TxnRequest((), (types.RangeRequest(b"k"), types.PutRequest(b"k", b""))), errors.OutcomeUnknown),
        (types.DeleteRangeRequest(b"k", b"", True), errors.OutcomeUnknown),
    ],
)
async def test_a_write_whose_answer_is_too_large_may_have_happened(
    request_: native.Request, kind: type[KvraftError]
) -> None:
    side = Side()
    side.wire.send(ID, request_)
    side.head(1)
    side.data(1, b"\0\xff\xff\xff\xff")
    failed(side.answer, kind, "larger than max")


async def test_unfinished_answers_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_module, "MAX_ANSWER_BYTES", 100)
    side = Side()
    for number in range(3):
        side.wire.send(b"%04d" % number, types.RangeRequest(b"k"))
        side.head(2 * number + 1)
    for number in range(2):
        side.data(2 * number + 1, b"\0\0\0\0\x50" + bytes(40))
    assert side.handed == []
    side.data(5, b"\0\0\0\0\x50" + bytes(40))
    ((request_id, answer),) = side.handed
    assert request_id == b"0002"
    failed(answer, errors.AnswerTooLarge)
    assert side.wire.partial_bytes == 90


async def test_what_is_not_sent_is_said() -> None:
    side = Side()
    with pytest.raises(errors.RequestTooLarge):
        side.wire.send(ID, types.PutRequest(b"k", bytes(1 << 20)))
    with pytest.raises(errors.NotSupported, match="SnapshotRequest"):
        side.wire.send(ID, types.SnapshotRequest())
    side.wire.receive(goaway(0, ErrorCode.NO_ERROR))
    assert side.wire.leaving
    with pytest.raises(errors.Unavailable):
        side.wire.send(ID, types.RangeRequest(b"k"))


async def test_more_calls_than_may_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvraft.wire.http2.client.MAX_WAITING", 1)
    side = Side()
    side.wire.receive(frames.settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 0}))
    side.wire.send(ID, types.RangeRequest(b"k"))
    with pytest.raises(errors.TooManyRequests):
        side.wire.send(OTHER, types.RangeRequest(b"k"))


async def test_an_answer_that_nobody_waits_for_any_more_is_cancelled() -> None:
    side = Side()
    side.wire.send(ID, types.RangeRequest(b"k"))
    side.frames()
    side.wire.forget(ID)
    side.wire.forget(ID)
    assert side.frames() == [Frame(frames.RST_STREAM, 0, 1, ErrorCode.CANCEL.to_bytes(4))]
    side.head(1)
    side.end(1)
    assert side.handed == []


async def test_a_peer_that_breaks_the_rules_is_named() -> None:
    with pytest.raises(ProtocolError, match="HTTP/2: data on stream 9"):
        Side().data(9, b"x")


# ---------------------------------------------------------------------- watches


class Watching(Side):
    """A side with one open watch, on stream 3; its question for the version, on stream 1, is answered."""

    def __init__(self, request: types.WatchRequest = WATCH, version: str = "3.6.0") -> None:
        super().__init__()
        self.wire.send(ID, request)
        if version:
            self.head(1)
            self.data(1, framed(pb.StatusResponse(version=version).SerializeToString()))
            self.end(1)
        self.head(3)
        self.frames()

    def say(self, **values: object) -> list[object]:
        """What a response of the member's makes the wire hand over."""
        self.data(3, framed(pb.WatchResponse(**values).SerializeToString()))  # type: ignore[arg-type]
        handed = [answer for _, answer in self.handed]
        self.handed.clear()
        return handed


def header(revision: int) -> pb.ResponseHeader:
    return pb.ResponseHeader(revision=revision)


def event(revision: int) -> types.Event:
    return types.Event(0, types.KeyValue(b"k", b"v", revision, revision, 1))


def said(*revisions: int) -> list[kv_pb2.Event]:
    return list(responses.from_events([event(revision) for revision in revisions]).events)


async def test_a_watch_from_now_tells_where_it_starts_and_others_do_not() -> None:
    assert Watching(WATCH_NOW).say(header=header(7), created=True) == [types.WatchBatch(7, [])]
    assert Watching(WATCH).say(header=header(7), created=True) == []


async def test_the_revision_of_a_batch_is_that_of_its_events() -> None:
    side = Watching()
    # While a watch catches up, etcd's header is ahead of what has been sent.
    assert side.say(header=header(99), events=said(6, 7)) == [types.WatchBatch(7, [event(6), event(7)])]
    assert side.say(header=header(99)) == [types.WatchBatch(99, [])]
    assert side.say(header=header(99), watch_id=-1) == [types.WatchBatch(99, [])]


async def test_fragments_are_put_together_to_whole_revisions() -> None:
    side = Watching()
    assert side.say(events=said(6, 7), fragment=True) == [types.WatchBatch(6, [event(6)])]
    assert side.say(events=said(7), fragment=True) == []
    assert side.say(header=header(9), watch_id=-1) == []
    assert side.say(events=said(7, 8, 8), fragment=True) == [types.WatchBatch(7, [event(7)] * 3)]
    assert side.say(fragment=True) == []
    assert side.say(events=said(8, 9)) == [types.WatchBatch(9, [event(8)] * 3 + [event(9)])]
    assert side.say(events=said(10)) == [types.WatchBatch(10, [event(10)])]


async def test_a_revision_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    side = Watching()
    monkeypatch.setattr(call_module, "MAX_ANSWER_BYTES", 100)
    assert side.say(events=said(6), fragment=True) == []
    for _ in range(10):
        handed = side.say(events=said(6), fragment=True)
        if handed:
            break
    failed(handed[0], errors.AnswerTooLarge)


async def test_how_watches_end() -> None:
    side = Watching()
    assert side.say(header=header(9), canceled=True, compact_revision=8) == [types.WatchBatch(9, [], 8)]
    assert not side.wire.calls
    (failure,) = Watching().say(created=True, canceled=True, cancel_reason="etcdserver: no leader")
    failed(failure, errors.NoLeader)
    for block, kind in (
        (status.trailers(errors.NoLeader()), errors.NoLeader),
        (status.OK, errors.OutcomeUnknown),
    ):
        side = Watching()
        side.end(3, block)
        failed(side.answer, kind)
    side = Watching()
    side.data(3, framed(b"\xff"))
    failed(side.answer, errors.OutcomeUnknown)
    side = Watching()
    side.wire.send(ID, native.WatchCancel())
    assert [each.kind for each in side.frames()] == [frames.RST_STREAM]
    side.wire.send(ID, native.WatchProgress())
    assert side.frames() == []


async def test_only_those_are_asked_for_progress_whose_word_counts() -> None:
    for version, told, asked in (("3.6.0", True, True), ("3.4.23", False, False), ("", True, False)):
        side = Watching(version=version)
        side.wire.send(ID, native.WatchProgress())
        assert bool(side.frames()) is asked
        assert side.wire.tells_progress is told
    silent = Watching(version="")
    silent.end(1, status.trailers_only(errors.NotSupported()))
    assert silent.wire.tells_progress is False
    assert [answer for _, answer in silent.handed] == []


async def test_questions_for_progress_do_not_pile_up() -> None:
    side = Watching()
    for _ in range(30_000):
        side.wire.send(ID, native.WatchProgress())
    stream = side.wire.calls[ID].stream
    assert 0 < stream.held_bytes < 100, "the window is used up, and one question waits"
    assert len(stream.held) == 1


@pytest.mark.parametrize(
    ("version", "told"),
    [
        *[("3.3.99", False), ("3.4.30", False), ("3.4.31", True), ("3.4.40", True), ("3.5.0", False)],
        *[("3.5.12", False), ("3.5.13", True), ("3.6.0-rc.1", True), ("4.0.0", True), ("", False), ("new", False)],
    ],
)
def test_versions(version: str, told: bool) -> None:
    assert tells_progress(version) is told


# ---------------------------------------------------------------------- anything at all


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 3, 5, 7]),
            st.sampled_from(["head", "data", "message", "trailers"]),
            st.binary(max_size=40),
            st.booleans(),
        ),
        max_size=15,
    ),
    st.integers(1, 30),
)
def test_whatever_comes_is_an_answer_an_error_or_a_breach(
    parts: list[tuple[int, str, bytes, bool]], piece: int
) -> None:
    async def read() -> None:
        side = Side()
        requests: list[native.Request] = [WATCH, types.TxnRequest(), types.LeaseKeepAliveRequest(1)]
        for number, request in enumerate(requests):
            side.wire.send(b"%04d" % number, request)
        kinds = {"head": frames.HEADERS, "trailers": frames.HEADERS}
        for stream_id, what, payload, ends in parts:
            body = {"head": status.HEADERS, "trailers": status.OK, "message": framed(payload)}.get(what, payload)
            flags = frames.END_HEADERS if what in kinds else 0
            data = frame(kinds.get(what, frames.DATA), flags | ends, stream_id, body)
            for start in range(0, len(data), piece):
                side.wire.receive(data[start : start + piece])
        assert all(isinstance(each, (types.Response, KvraftError)) for _, each in side.handed)
        assert side.wire.partial_bytes == sum(
            call.decoder.buffered_bytes for call in side.wire.calls.values() if call.decoder is not None
        )

    trio.run(read)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=5))
def test_messages_of_a_watch_are_events_errors_or_nothing(messages: list[bytes]) -> None:
    async def read() -> None:
        side = Watching()
        for message in messages:
            side.data(3, framed(message))
        assert all(isinstance(each, (types.WatchBatch, KvraftError)) for _, each in side.handed)

    trio.run(read)
