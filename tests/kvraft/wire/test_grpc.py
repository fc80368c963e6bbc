"""What gRPC puts into HTTP/2: heads, messages, statuses."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvraft import errors
from kvraft.wire.grpc import status
from kvraft.wire.grpc.head import Head
from kvraft.wire.grpc.messages import MessageDecoder, framed
from kvraft.wire.grpc.status import Internal, MessageTooLarge, Unimplemented

if TYPE_CHECKING:
    from kvraft.errors import KvraftError

GRPC = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/etcdserverpb.KV/Put"),
    (b":authority", b"localhost:2379"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
]


def test_a_head() -> None:
    head = Head([*GRPC, (b"token", b"abc"), (b"grpc-timeout", b"1500m"), (b"x", b"1"), (b"x", b"2")])
    assert (head.malformed, head.refusal, head.is_grpc) == ("", None, True)
    assert (head.method, head.path, head.authority) == ("POST", "/etcdserverpb.KV/Put", "localhost:2379")
    assert head.timeout == 1.5
    assert head.headers["token"] == "abc"
    assert head.headers["x"] == "1,2"
    assert head.client_version == "unknown"
    for sent, version in ((b"3.5", "3.5"), ("\u00fc".encode(), "\u00fc"), (b"\xff", None), (b"9" * 99, "9" * 40)):
        assert Head([*GRPC, (b"client-api-version", sent)]).client_version == version


@pytest.mark.parametrize(
    ("text", "seconds"), [("1H", 3600), ("2M", 120), ("3S", 3), ("4m", 0.004), ("5u", 5e-6), ("6n", 6e-9)]
)
def test_timeouts(text: str, seconds: float) -> None:
    assert Head([*GRPC, (b"grpc-timeout", text.encode())]).timeout == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ((b"grpc-timeout", b"1"), (400, 'malformed grpc-timeout: "1"')),
        ((b"grpc-timeout", b"123456789S"), (400, 'malformed grpc-timeout: "123456789S"')),
        ((b":method", b"GET"), (405, 'Received a HEADERS frame with :method "GET" which should be POST')),
        ((b"content-type", b"application/grpcx"), (415, 'invalid gRPC request content-type "application/grpcx"')),
    ],
)
def test_what_grpc_refuses(change: tuple[bytes, bytes], refusal: tuple[int, str]) -> None:
    kept = [change if name == change[0] else (name, value) for name, value in GRPC]
    assert Head(kept if change in kept else [*GRPC, change]).refusal == refusal


@pytest.mark.parametrize("content_type", [b"application/grpc+proto", b"application/grpc;x=y", b"APPLICATION/GRPC"])
def test_kinds_of_content(content_type: bytes) -> None:
    head = Head([*GRPC[:4], (b"content-type", content_type)])
    assert (head.is_grpc, head.refusal) == (True, None)


def test_other_requests_are_plain_http() -> None:
    head = Head([(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/health?x=y")])
    assert (head.malformed, head.is_grpc, head.refusal, head.path) == ("", False, None, "/health?x=y")


@pytest.mark.parametrize(
    "received",
    [
        GRPC[1:],
        [*GRPC, (b":path", b"/")],
        [*GRPC, (b":status", b"200")],
        [*GRPC, (b"Upper", b"x")],
        [*GRPC, (b"", b"x")],
        [*GRPC, (b"connection", b"close")],
        [*GRPC[:-1], (b"te", b"gzip")],
        [(b":path", b""), *GRPC[:2]],
        [(b":path", b"/"), *GRPC],
    ],
)
def test_what_breaks_http(received: list[tuple[bytes, bytes]]) -> None:
    assert Head(received).malformed


@given(st.lists(st.binary(max_size=300), max_size=8), st.data())
def test_messages_come_in_any_pieces(messages: list[bytes], draw: st.DataObject) -> None:
    wire = b"".join(map(framed, messages))
    decoder = MessageDecoder(300)
    got: list[bytes] = []
    while wire:
        size = draw.draw(st.integers(1, len(wire)))
        got += decoder.feed(wire[:size])
        wire = wire[size:]
    assert got == messages
    assert decoder.buffered_bytes == 0


def test_what_is_missing_is_counted() -> None:
    decoder = MessageDecoder(300)
    assert decoder.feed(framed(b"abc") + framed(b"defg")[:7]) == [b"abc"]
    assert decoder.buffered_bytes == 7
    assert decoder.feed(b"f") == []
    assert decoder.feed(b"g" + framed(b"")) == [b"defg", b""]


def compressed(message: bytes) -> bytes:
    return b"\1" + len(message).to_bytes(4) + message


def test_gzip() -> None:
    assert MessageDecoder(100, "gzip").feed(compressed(gzip.compress(b"abc", mtime=0)) + framed(b"plain")) == [
        b"abc",
        b"plain",
    ]


@pytest.mark.parametrize(
    ("encoding", "sent", "kind", "text"),
    [
        ("", b"\0\0\0\0\x65", MessageTooLarge, r"grpc: received message larger than max \(101 vs. 100\)"),
        ("", compressed(b"x"), Internal, "compressed flag set with identity or empty encoding"),
        ("identity", compressed(b"x"), Internal, "compressed flag set with identity or empty encoding"),
        ("snappy", compressed(b"x"), Unimplemented, 'Decompressor is not installed for grpc-encoding "snappy"'),
        ("gzip", b"\2" + framed(b"x")[1:], Internal, "unexpected payload format 2"),
        ("gzip", compressed(b"no gzip"), Internal, "failed to decompress"),
        ("gzip", compressed(gzip.compress(b"x", mtime=0)[:-4]), Internal, "unexpected EOF"),
        ("gzip", compressed(gzip.compress(b"x", mtime=0) + b"y"), Internal, "unexpected EOF"),
        ("gzip", compressed(zlib.compress(b"x")), Internal, "failed to decompress"),
        (
            "gzip",
            compressed(gzip.compress(bytes(101), mtime=0)),
            MessageTooLarge,
            "after decompression larger than max 100",
        ),
    ],
)
def test_messages_that_are_none(encoding: str, sent: bytes, kind: type[KvraftError], text: str) -> None:
    with pytest.raises(kind, match=text):
        MessageDecoder(100, encoding).feed(sent)


def test_every_error_has_a_status() -> None:
    kinds = [*errors.BY_WIRE.values(), Internal, Unimplemented, MessageTooLarge]
    assert {kind.code for kind in kinds} <= set(status.CODES)


def test_statuses_are_read_by_any_client() -> None:
    error = errors.EmptyKey()
    decoder = hpack.Decoder()
    assert decoder.decode(status.trailers(error)) == [
        ("grpc-status", "3"),
        ("grpc-message", "etcdserver: key is not provided"),
    ]
    assert decoder.decode(status.trailers_only(error, 400))[:2] == [
        (":status", "400"),
        ("content-type", "application/grpc"),
    ]
    assert decoder.decode(status.HEADERS + status.OK)[-1] == ("grpc-status", "0")


def test_texts_are_percent_encoded() -> None:
    assert status.percent_encoded("50 % ü\n") == b"50 %25 %C3%BC%0A"
    assert status.percent_encoded("\udc80") == b"?"
