"""Frames: cut right whatever the chunks, bounded whatever the sender claims; with and without a tag in front."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvraft.errors import ProtocolError
from kvraft.wire.frames import FrameDecoder, TaggedDecoder, frame

alike = st.binary(min_size=5, max_size=6)  # often in runs of one length, which are cut in another way
payloads = st.lists(alike | st.binary(min_size=5, max_size=200), max_size=20)
decoders = pytest.mark.parametrize("kind", [FrameDecoder, TaggedDecoder])


def whole(kind: type, frames) -> list[bytes]:
    """The payloads that were cut."""
    return [tag + body for tag, body in zip(*frames, strict=True)] if kind is TaggedDecoder else frames


@decoders
@given(sent=payloads, sizes=st.lists(st.integers(1, 64), min_size=1))
def test_any_chunking_gives_the_same_frames(kind, sent: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(map(frame, sent))
    decoder, got, position, turn = kind(200, 5), [], 0, 0
    while position < len(stream):
        size = sizes[turn % len(sizes)]
        data = stream[position : position + size]
        one = kind is TaggedDecoder and decoder.is_one(data)
        got += [data[4:]] if one else whole(kind, decoder.feed(data))
        position, turn = position + size, turn + 1
    assert got == sent
    assert decoder.buffered_bytes == 0


@decoders
@given(data=st.binary(max_size=2000), size=st.integers(1, 50))
def test_garbage_is_cut_or_refused_and_never_hoarded(kind, data: bytes, size: int) -> None:
    decoder = kind(100, 5)
    try:
        for at in range(0, len(data), size):
            assert all(5 <= len(payload) <= 100 for payload in whole(kind, decoder.feed(data[at : at + size])))
            assert decoder.buffered_bytes < 104 + size
    except ProtocolError as error:
        assert "5 to 100 are allowed" in str(error)


@decoders
@pytest.mark.parametrize("length", [0, 4, 101, 2**32 - 1])
def test_a_length_out_of_bounds_is_refused_before_its_body_arrives(kind, length: int) -> None:
    with pytest.raises(ProtocolError, match=f"frame of {length} bytes; 5 to 100 are allowed"):
        kind(100, 5).feed(length.to_bytes(4) + b"tag.")


def test_what_is_one_frame_by_itself() -> None:
    decoder = TaggedDecoder(100, 5)
    one = frame(b"1234body")
    assert decoder.is_one(one)
    for other in (b"", one[:3], one[:4], one[:-1], one + b"\0", one + one, frame(b"1234"), frame(bytes(101))):
        assert not decoder.is_one(other)
    decoder.feed(one[:1])
    assert not decoder.is_one(one)


def test_a_tag_is_the_first_four_bytes() -> None:
    assert TaggedDecoder(100, 5).feed(frame(b"1234body") + frame(b"5678x")) == ([b"1234", b"5678"], [b"body", b"x"])
