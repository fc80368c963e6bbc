"""Sealed files: what was written is read, and nothing else."""

from __future__ import annotations

import base64
import io
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvraft.storage.errors import SnapshotError, StorageError
from kvraft.storage.sealed_file import PIECE_BYTES, TAG_BYTES, SealedReader, SealedWriter, is_sealed, read_key

if TYPE_CHECKING:
    from pathlib import Path

KEY = b"k" * 32
HEAD_BYTES = 16 + 32 + 16
SEALED_PIECE_BYTES = PIECE_BYTES + TAG_BYTES
SIZES = [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES]


def sealed(content: bytes, step: int = 1 << 20) -> bytes:
    parts: list[bytes] = []
    writer = SealedWriter(parts.append, KEY)
    for start in range(0, len(content), step):
        writer.write(content[start : start + step])
    writer.finish()
    return b"".join(parts)


def opened(data: bytes, key: bytes = KEY) -> bytes:
    return io.BufferedReader(SealedReader("f", io.BytesIO(data), key)).read()


@settings(max_examples=30, deadline=None)
@given(size=st.sampled_from(SIZES) | st.integers(0, 200_000), step=st.sampled_from([1000, PIECE_BYTES, 1 << 20]))
def test_what_was_written_is_read(size: int, step: int) -> None:
    content = os.urandom(size)
    data = sealed(content, step)
    assert is_sealed(data)
    assert opened(data) == content
    pieces = max(1, -(-size // PIECE_BYTES))
    assert len(data) == HEAD_BYTES + size + pieces * TAG_BYTES
    assert size < 32 or content[:32] not in data


def test_reading_begins_anew_from_the_start_alone() -> None:
    reader = io.BufferedReader(SealedReader("f", io.BytesIO(sealed(b"abc" * PIECE_BYTES)), KEY))
    assert (reader.read(5), reader.tell()) == (b"abcab", 5)
    reader.seek(0)
    assert (len(reader.read()), reader.tell()) == (3 * PIECE_BYTES, 3 * PIECE_BYTES)
    with pytest.raises(io.UnsupportedOperation):
        reader.seek(7)


@settings(max_examples=30, deadline=None)
@given(
    size=st.sampled_from([0, 10, PIECE_BYTES, 2 * PIECE_BYTES + 5]),
    place=st.integers(0, 1 << 20),
    bit=st.integers(0, 7),
)
def test_every_changed_bit_is_noticed(size: int, place: int, bit: int) -> None:
    data = bytearray(sealed(bytes(size)))
    place = 16 + place % (len(data) - 16)  # what stands before says which format it is
    data[place] ^= 1 << bit
    with pytest.raises(SnapshotError):
        opened(bytes(data))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_file_that_was_cut_off_is_noticed(draw: st.DataObject) -> None:
    data = sealed(bytes(2 * PIECE_BYTES + 5))
    whole = [HEAD_BYTES + number * SEALED_PIECE_BYTES for number in (0, 1, 2)]
    cut = draw.draw(st.sampled_from(whole) | st.integers(HEAD_BYTES, len(data) - 1))
    with pytest.raises(SnapshotError, match="cut off"):
        opened(data[:cut])


def test_pieces_keep_their_places() -> None:
    data = sealed(os.urandom(3 * PIECE_BYTES))
    head, pieces = (
        data[:HEAD_BYTES],
        [data[start : start + SEALED_PIECE_BYTES] for start in range(HEAD_BYTES, len(data), SEALED_PIECE_BYTES)],
    )
    one, two, three = pieces
    other = sealed(bytes(3 * PIECE_BYTES))
    for order in ([two, one, three], [one, three], [one, one, three], [one, two, three, three], [one, two, two]):
        with pytest.raises(SnapshotError, match="damaged encrypted snapshot"):
            opened(head + b"".join(order))
    with pytest.raises(SnapshotError):  # another file of the same key
        opened(head + other[HEAD_BYTES:])


def test_another_key_is_told_at_once() -> None:
    with pytest.raises(SnapshotError, match="f: the key does not fit"):
        SealedReader("f", io.BytesIO(sealed(b"x")), b"o" * 32)


def test_key_files(tmp_path: Path) -> None:
    file = tmp_path / "key"
    for good in (KEY, base64.b64encode(KEY), base64.b64encode(KEY) + b"\n"):
        file.write_bytes(good)
        assert read_key(str(file)) == KEY
    for bad in (b"", b"geheim", base64.b64encode(b"short"), KEY + b"x", b"A" * 10_000):
        file.write_bytes(bad)
        with pytest.raises(SnapshotError, match="not a key: it must hold 32 bytes") as caught:
            read_key(str(file))
        assert "geheim" not in str(caught.value)
    with pytest.raises(StorageError):
        read_key(str(tmp_path / "missing"))
