"""Header blocks: what is remembered is never wrong, and what we make any decoder reads."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvraft.wire.http2 import headers
from kvraft.wire.http2.headers import HeaderDecoder, HeaderError, encode

NAMES = st.sampled_from([":path", ":method", "te", "grpc-timeout", "token", "content-type"])
FIELD = st.tuples(NAMES, st.text("abc/019", max_size=40))
RESIZE = st.integers(0, 4096)


@given(st.lists(st.one_of(st.lists(FIELD, max_size=6), RESIZE), max_size=40))
def test_blocks_mean_what_another_decoder_says(steps: list[list[tuple[str, str]] | int]) -> None:
    encoder, reference = hpack.Encoder(), hpack.Decoder()
    decoder: HeaderDecoder[list[tuple[bytes, bytes]]] = HeaderDecoder(list)
    for step in steps:
        if isinstance(step, int):
            if step != encoder.header_table_size:  # told twice the encoder forgets that it has to tell
                encoder.header_table_size = step
                resize = encoder.encode([])
                assert decoder.decode(resize) == list(reference.decode(resize, raw=True)) == []
            continue
        block = encoder.encode(step)
        assert decoder.decode(block) == list(reference.decode(block, raw=True))


def test_a_block_that_is_sent_again_is_not_decoded_again() -> None:
    made = []
    decoder: HeaderDecoder[int] = HeaderDecoder(lambda received: made.append(received) or len(made))
    encoder = hpack.Encoder()
    first = encoder.encode([(":path", "/x"), ("te", "trailers")])
    again = encoder.encode([(":path", "/x"), ("te", "trailers")])
    assert first != again
    assert [decoder.decode(block) for block in (first, again, again, again)] == [1, 2, 2, 2]
    assert decoder.decode(encoder.encode([(":path", "/new")])) == 3
    assert decoder.decode(again) == 4  # the table is another one: the same bytes now name other headers
    assert made[3] != made[1]


def test_clients_with_ever_new_literals_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "MAX_REMEMBERED", 2)
    decoder: HeaderDecoder[list[tuple[bytes, bytes]]] = HeaderDecoder(list)
    for number in range(5):
        decoder.decode(encode([(b"n", b"%d" % number)]))
    assert len(decoder._remembered) <= 2
    decoder.decode(encode([(b"n", bytes(2000))]))
    assert len(decoder._remembered) <= 2


@pytest.mark.parametrize(
    "block",
    [
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x00\x05ab",
        b"\x80",
        b"\xfe",
        b"\x3f\xff\xff\xff\x7f",
        b"\x00\x81\xff\x01a",
        encode([(b"n", b"v" * 100)] * 1000),
    ],
)
def test_what_cannot_be_decoded_is_an_error(block: bytes) -> None:
    with pytest.raises(HeaderError):
        HeaderDecoder(list).decode(block)


@given(st.binary(max_size=60))
def test_any_bytes_are_headers_or_an_error(block: bytes) -> None:
    try:
        HeaderDecoder(list).decode(block)
    except HeaderError:
        return


@given(st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=300)), max_size=4))
def test_our_blocks_are_read_by_anybody_and_change_no_table(fields: list[tuple[bytes, bytes]]) -> None:
    decoder = hpack.Decoder()
    block = encode([(b":status", b"200"), *fields, (b"x", b"y" * 20_000)])
    assert list(decoder.decode(block, raw=True)) == [(b":status", b"200"), *fields, (b"x", b"y" * 20_000)]
    assert not decoder.header_table.dynamic_entries
