"""The native and peer protocols: what is encoded comes back; what is malformed has a clear error."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvraft.errors import BY_WIRE, Compacted, KvraftError, NotLeader, OutcomeUnknown, ProtocolError
from kvraft.raft.messages import Entry, Message, MessageKind
from kvraft.types import (
    Compare,
    KeyValue,
    PlainPutRequest,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    TxnRequest,
)
from kvraft.wire import native, peer
from kvraft.wire.frames import FrameDecoder, TaggedDecoder

key = st.binary(min_size=1, max_size=20)
puts = st.builds(PutRequest, key, st.binary(max_size=50), st.integers(0, 2**63 - 1), st.booleans())
ranges = st.builds(RangeRequest, key, st.binary(max_size=20), limit=st.integers(0, 2**63 - 1))
compares = st.builds(
    Compare, key, st.integers(0, 4), st.integers(0, 3), st.integers(0, 2**63 - 1) | st.binary(max_size=9)
)
requests = puts | ranges | st.builds(TxnRequest, st.tuples(compares), st.tuples(puts, ranges), st.tuples(ranges))


@given(requests)
def test_requests_come_back(request: native.Request) -> None:
    framed = native.encode_request(b"\0\0\0\7", request)
    assert framed[4:8] == b"\0\0\0\7"
    assert native.decode_request(framed[8:]) == request
    assert native.decode_request(native.encode_request_body(request)) == request


def test_a_token_is_not_shown() -> None:
    assert [repr(native.Bearer(token)) for token in ("secret", "")] == ["Bearer(token='***')", "Bearer(token='')"]


@given(st.binary(max_size=300))
def test_garbage_is_a_protocol_error_or_a_request(body: bytes) -> None:
    for decode in (
        native.decode_request,
        native.decode_answer,
        peer.decode_control,
        peer.decode_messages,
        peer.decode_questions,
        peer.decode_answers,
    ):
        try:
            decode(body)
        except ProtocolError as error:
            assert str(error).startswith("malformed")


def test_deep_nesting_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match="malformed request"):
        native.decode_request(b"\x91" * 100_000)


def test_the_error_names_the_place() -> None:
    body = msgspec.msgpack.encode([2, b"key"])
    with pytest.raises(ProtocolError, match="length 3"):
        native.decode_request(body)


@pytest.mark.parametrize("kind", [kind for number, kind in BY_WIRE.items() if number])
def test_every_error_keeps_its_class_and_text(kind: type[KvraftError]) -> None:
    error = kind()
    back = native.decode_answer(native.encode_body(native.to_failure(error)))
    assert type(back) is kind
    assert str(back) == str(error)
    assert back.definite == error.definite


def test_wire_numbers_are_unique() -> None:
    def walk(kind: type[KvraftError]) -> list[type[KvraftError]]:
        return [kind, *(sub for child in kind.__subclasses__() for sub in walk(child))]

    on_wire = [kind for kind in walk(KvraftError) if "wire" in vars(kind)]
    assert len({kind.wire for kind in on_wire}) == len(on_wire)


def test_not_leader_carries_the_leader() -> None:
    back = native.decode_answer(native.encode_body(native.to_failure(NotLeader(leader="http://127.0.0.1:1"))))
    assert isinstance(back, NotLeader)
    assert back.leader == "http://127.0.0.1:1"


@pytest.mark.parametrize("number", [0, 9999])
def test_an_error_without_a_known_number_is_no_definite_end(number: int) -> None:
    back = native.to_error(native.Failure(number, "from the future"))
    assert isinstance(back, OutcomeUnknown)
    assert not back.definite
    assert str(back) == "from the future"


def test_an_answer_for_many_requests_is_framed_for_each() -> None:
    body = native.encode_body(PutResponse(7))
    assert native.frame_body(b"\0\0\0\1", body) == native.encode_answer(b"\0\0\0\1", PutResponse(7))
    assert isinstance(native.to_error(native.Failure(Compacted.wire, "x")), Compacted)


@given(st.integers(0, 2**63 - 1))
def test_a_puts_answer_packed_in_one_piece_is_one_frame_of_the_same_answer(revision: int) -> None:
    framed = native.encode_answers([b"\0\0\0\7"], [PutResponse(revision)])
    assert TaggedDecoder(64, 5).feed(framed + framed) == ([b"\0\0\0\7"] * 2, [framed[8:]] * 2)
    assert native.decode_answer(framed[8:]) == PutResponse(revision)


@given(st.lists(requests | st.sampled_from([b"", b"\x91\x02", b"\xc1"]), max_size=5))
def test_requests_that_come_together_end_with_the_first_that_is_malformed(given: list[native.Request | bytes]) -> None:
    bodies = [each if isinstance(each, bytes) else native.encode_request_body(each) for each in given]
    whole = next((place for place, each in enumerate(given) if isinstance(each, bytes)), len(given))
    decoded = native.decode_requests(bodies)
    assert decoded[:whole] == given[:whole]
    assert [type(rest) for rest in decoded[whole:]] == [ProtocolError] * (whole < len(given))


def is_plain(request: native.Request) -> bool:
    return isinstance(request, PutRequest) and request == PutRequest(request.key, request.value) and request.key != b""


@given(st.lists(requests | st.builds(PutRequest, st.binary(max_size=3), key), max_size=4), st.booleans())
def test_plain_puts_are_known_from_how_they_are_sent(given: list[native.Request], whole: bool) -> None:
    encode = msgspec.msgpack.encode if whole else native.encode_request_body
    bodies = [encode(each) for each in given]
    assert native.are_plain_puts(bodies) == (bool(given) and not whole and all(map(is_plain, given)))
    assert native.decode_requests(bodies) == given


@pytest.mark.parametrize("odd", [b"", b"\x93\x02\xc4\x01k", b"\x93\x02\xc4\x01k\xc4\x00\xc0", b"\x93\x02\xc4\x01k\x07"])
def test_what_only_begins_like_a_plain_put_is_none(odd: bytes) -> None:
    plain = native.encode_request_body(PutRequest(b"k", b"v"))
    assert not native.are_plain_puts([odd, plain])
    assert not native.are_plain_puts([plain, odd])
    with pytest.raises(ProtocolError):
        native.decode_request(odd)


number = st.integers(0, 2**63 - 1)
found = st.builds(KeyValue, key, key, number, number, number)
responses = st.builds(PutResponse, number) | st.builds(RangeResponse, number, st.lists(found, max_size=2), number)


@given(st.lists(responses | st.builds(NotLeader, leader=st.just("http://m1")) | st.builds(Compacted)))
def test_answers_that_leave_together_come_back(answers: list[Any]) -> None:
    ids = [number.to_bytes(native.ID_BYTES) for number in range(len(answers))]
    tags, bodies = TaggedDecoder(1 << 20, native.ID_BYTES + 1).feed(native.encode_answers(ids, answers))
    assert tags == ids
    for answer, decoded in zip(answers, native.decode_answers(bodies), strict=True):
        assert type(decoded) is type(answer)
        assert str(decoded) == str(answer)


def test_the_answers_before_a_malformed_one_come_through() -> None:
    bodies = [native.encode_body(PutResponse(7)), b"\xc1", native.encode_body(PutResponse(8))]
    decoded = iter(native.decode_answers(bodies))
    assert next(decoded) == PutResponse(7)
    with pytest.raises(ProtocolError, match="malformed answer"):
        next(decoded)


def test_raft_messages_come_back() -> None:
    sent = [Message(1, 1, 2, 3, index=4, log_term=2, entries=(Entry(5, 3, 0, b"x" * 300), Entry(6, 3, 0, b"")))]
    assert peer.decode_messages(peer.encode_messages(sent)[4:]) == sent
    hello = peer.Hello(1, 2, 3, peer.MESSAGES, ("http://127.0.0.1:1",), "m1")
    assert peer.decode_control(peer.encode_control(hello)[4:]) == hello


def test_questions_and_answers_of_members_come_through() -> None:
    questions = [peer.Propose(1, b"a"), peer.Ask(2, b"b")]
    (payload,) = FrameDecoder(1 << 20).feed(peer.encode_questions(questions))
    assert payload.startswith(peer.QUESTIONS)
    assert peer.decode_questions(payload) == questions
    answers = [peer.Proposed(1, 7, 3), peer.Answered(2, b"c")]
    (payload,) = FrameDecoder(1 << 20).feed(peer.encode_answers(answers))
    assert peer.decode_answers(payload) == answers


def test_questions_are_sent_in_parts_that_fit_a_frame() -> None:
    large, small = b"l" * peer.PART_BYTES, b"s"
    questions = [peer.Propose(number, data) for number, data in enumerate((small, large, large, small))]
    assert list(peer.in_parts(questions)) == [questions[:2], questions[2:3], questions[3:]]
    assert list(peer.in_parts(questions[1:2])) == [questions[1:2]]
    assert list(peer.in_parts([])) == []


def test_no_list_of_messages_passes_for_questions() -> None:
    message = Message(MessageKind.HEARTBEAT, 1, 2, 3)
    for count in (0, 1, 15, 16, 70_000):
        assert not peer.encode_messages([message] * count)[4:].startswith(peer.QUESTIONS)


@pytest.mark.parametrize(
    "payload", [b"\x01", b"\x01\xc0", b"\x01\x91\x93\x09\x01\xc4\x00", b"\x01\x91\x93\x01\x01\xc4\x00"]
)
def test_malformed_questions_are_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError, match="malformed questions"):
        peer.decode_questions(payload)


def test_malformed_answers_are_refused() -> None:
    with pytest.raises(ProtocolError, match="malformed answers"):
        peer.decode_answers(b"\xc0")


def test_what_members_ask_is_what_clients_ask() -> None:
    asked = native.encode_request(b"\0\0\0\1", PlainPutRequest(b"k", b"v"))[8:]
    assert asked == native.encode_request_body(PutRequest(b"k", b"v"))
