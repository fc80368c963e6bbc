"""Entries: what is known of them from their bytes is what decoding them as any commands says."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvraft.apply.command import decode_commands, decode_plain_puts, encode_command, join_commands
from kvraft.types import Command, DeleteRangeRequest, PutRequest
from kvraft.wire.native import encode_request_body

MAX_KEY_BYTES = 4

key = st.binary(max_size=MAX_KEY_BYTES + 1)
plain = st.builds(PutRequest, st.binary(min_size=1, max_size=MAX_KEY_BYTES), st.binary(max_size=300))
long = st.builds(PutRequest, st.binary(min_size=MAX_KEY_BYTES + 1, max_size=MAX_KEY_BYTES + 1), st.binary(max_size=3))
puts = st.builds(PutRequest, key, st.binary(max_size=3), st.integers(0, 1), st.booleans(), st.booleans())


@given(
    st.lists(plain, min_size=1, max_size=20)
    | st.lists(plain | long)
    | st.lists(plain | puts | st.builds(DeleteRangeRequest, key))
)
def test_a_batch_of_plain_puts_is_the_same_either_way(commands: list[Command]) -> None:
    data = join_commands([encode_request_body(command) for command in commands])
    assert decode_commands(data) == commands
    found = decode_plain_puts(data, MAX_KEY_BYTES)
    if found is not None:
        assert [PutRequest(key, value) for _, key, value in found] == commands
    are_plain = [
        isinstance(each, PutRequest) and each == PutRequest(each.key, each.value) and 0 < len(each.key) <= MAX_KEY_BYTES
        for each in commands
    ]
    assert (found is not None) == (bool(commands) and all(are_plain))


def test_a_put_with_all_its_fields_is_any_command() -> None:
    data = join_commands([encode_command(PutRequest(b"k", b"v"))])
    assert decode_plain_puts(data, MAX_KEY_BYTES) is None
    assert decode_commands(data) == [PutRequest(b"k", b"v")]


@pytest.mark.parametrize("data", [b"", b"\xdc", b"\x91\x93\x02", b"\xc1\x93\x02\xc4\x01k\xc4\x01v"])
def test_what_is_no_batch_is_no_plain_puts(data: bytes) -> None:
    assert decode_plain_puts(data, MAX_KEY_BYTES) is None
    with pytest.raises(msgspec.MsgspecError):
        decode_commands(data)
