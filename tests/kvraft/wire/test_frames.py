"""Frames: cut right whatever the chunks, bounded whatever the sender claims."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvraft.errors import ProtocolError
from kvraft.wire.frames import FrameDecoder, frame

payloads = st.lists(st.binary(min_size=1, max_size=200), max_size=20)


@given(payloads, st.lists(st.integers(1, 64), min_size=1))
def test_any_chunking_gives_the_same_frames(sent: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(map(frame, sent))
    decoder, got, position, turn = FrameDecoder(200), [], 0, 0
    while position < len(stream):
        size = sizes[turn % len(sizes)]
        got += decoder.feed(stream[position : position + size])
        position, turn = position + size, turn + 1
    assert got == sent
    assert decoder.buffered_bytes == 0


@given(st.binary(max_size=2000), st.integers(1, 50))
def test_garbage_is_cut_or_refused_and_never_hoarded(data: bytes, size: int) -> None:
    decoder = FrameDecoder(100, 5)
    try:
        for at in range(0, len(data), size):
            assert all(5 <= len(payload) <= 100 for payload in decoder.feed(data[at : at + size]))
            assert decoder.buffered_bytes < 104 + size
    except ProtocolError as error:
        assert "5 to 100 are allowed" in str(error)


@pytest.mark.parametrize("length", [0, 4, 101, 2**32 - 1])
def test_a_length_out_of_bounds_is_refused_before_its_body_arrives(length: int) -> None:
    with pytest.raises(ProtocolError, match=f"frame of {length} bytes; 5 to 100 are allowed"):
        FrameDecoder(100, 5).feed(length.to_bytes(4))
