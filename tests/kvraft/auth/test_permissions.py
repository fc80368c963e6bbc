"""The maths of permissions, in tables and against the plainest model: sets of keys."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvraft.auth.permissions import Ranges, Spans, is_valid, span
from kvraft.types import Permission, PermissionType, prefix_end

ALPHABET = (b"\0", b"a", b"b", b"\xff")
KEYS = sorted(b"".join(letters) for length in (1, 2, 3) for letters in itertools.product(ALPHABET, repeat=length))
"""Every key of up to three of these bytes: ranges are made of the shorter ones, so that they have insides."""

key = st.sampled_from([known for known in KEYS if len(known) <= 2])
range_end = st.just(b"") | st.just(b"\0") | key
permission = st.builds(Permission, st.sampled_from(PermissionType), key, range_end)


def keys_of(start: bytes, end: bytes) -> set[bytes]:
    if not end:
        return {start} & set(KEYS)
    return {known for known in KEYS if known >= start and (end == b"\0" or known < end)}


def covers(given: list[tuple[bytes, bytes]], asked: tuple[bytes, bytes]) -> bool:
    return Spans([span(*one) for one in given]).covers(*span(*asked))


@pytest.mark.parametrize(
    ("given", "asked", "allowed"),
    [
        ([(b"a", b"")], (b"a", b""), True),
        ([(b"a", b"")], (b"b", b""), False),
        ([(b"a", b"")], (b"a\0", b""), False),
        ([(b"a", b"")], (b"a", b"b"), False),
        ([(b"a", b"c")], (b"a", b""), True),
        ([(b"a", b"c")], (b"b", b"c"), True),
        ([(b"a", b"c")], (b"c", b""), False),
        ([(b"a", b"c")], (b"b", b"d"), False),
        ([(b"a", b"c")], (b"a", b"\0"), False),  # to the end of all keys
        ([(b"a", b"\0")], (b"a", b"\0"), True),
        ([(b"a", b"\0")], (b"z", b""), True),
        ([(b"b", b"\0")], (b"a", b"\0"), False),
        ([(b"\0", b"\0")], (b"\0", b"\0"), True),
        ([(b"a", b"b"), (b"b", b"c")], (b"a", b"c"), True),  # together, though neither is enough
        ([(b"a", b"b"), (b"b", b"")], (b"a", b"b\0"), True),
        ([(b"a", b"b"), (b"b\0", b"c")], (b"a", b"c"), False),  # b is missing
        ([(b"a", b"m"), (b"c", b"d"), (b"m", b"\0")], (b"b", b"\0"), True),
        ([(b"a", b"c")], (b"b", b"a"), True),  # no key is in it, and it starts where one may look
        ([(b"a", b"c")], (b"d", b"a"), False),
        ([(b"a", prefix_end(b"a"))], (b"a", prefix_end(b"a")), True),
        ([(b"a", prefix_end(b"a"))], (b"a\xff\xff", b""), True),
        ([], (b"a", b""), False),
    ],
)
def test_ranges_within_ranges(given: list[tuple[bytes, bytes]], asked: tuple[bytes, bytes], allowed: bool) -> None:
    assert covers(given, asked) is allowed


@given(st.lists(st.tuples(key, range_end), max_size=6), key, range_end)
def test_a_range_is_allowed_exactly_when_all_of_its_keys_are(
    given: list[tuple[bytes, bytes]], start: bytes, end: bytes
) -> None:
    allowed = set().union(*(keys_of(*one) for one in given))
    asked = keys_of(start, end)
    if asked:
        assert covers(given, (start, end)) is (asked <= allowed and _to_the_end(given, start, end))
    else:
        assert covers(given, (start, end)) is (start in allowed)


def _to_the_end(given: list[tuple[bytes, bytes]], start: bytes, end: bytes) -> bool:
    """The model's keys are finite: that nothing bounds a range must be said by somebody."""
    return end != b"\0" or any(one_end == b"\0" and one_start <= max(KEYS) + b"\0" for one_start, one_end in given)


@given(st.lists(permission, max_size=6), st.sampled_from(KEYS))
def test_reading_and_writing_are_apart(permissions: list[Permission], asked: bytes) -> None:
    ranges = Ranges(permissions)
    for spans, without in ((ranges.read, PermissionType.WRITE), (ranges.write, PermissionType.READ)):
        allowed = any(asked in keys_of(one.key, one.range_end) for one in permissions if one.permission != without)
        assert spans.covers(*span(asked, b"")) is allowed


def test_an_empty_key_starts_where_the_smallest_does() -> None:
    assert span(b"", b"\0") == (b"\0", None)
    assert span(b"", b"") == (b"\0", b"\0\0")


@pytest.mark.parametrize(
    ("start", "end", "valid"),
    [
        (b"", b"", False),
        (b"", b"\0", False),
        (b"a", b"", True),
        (b"a", b"\0", True),
        (b"a", b"b", True),
        (b"a", b"a", False),
        (b"b", b"a", False),
    ],
)
def test_which_ranges_a_permission_may_have(start: bytes, end: bytes, valid: bool) -> None:
    assert is_valid(start, end) is valid
