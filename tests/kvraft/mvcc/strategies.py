"""Commands over a few keys, short and long, that meet each other often."""

from __future__ import annotations

from hypothesis import strategies as st

from kvraft.types import (
    CompactRequest,
    Compare,
    CompareTarget,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    TxnRequest,
)

KEY_THRESHOLD = 2
"""Longer keys go to buckets in these tests."""

keys = st.sampled_from([b"\0", b"a", b"aa", b"aab", b"aab\0", b"aabcd", b"b", b"b\xff\xffz", b"\xff"])
range_ends = st.just(b"") | st.just(b"\0") | keys
values = st.binary(max_size=3)
puts = st.builds(PutRequest, keys, values, st.just(0), st.booleans())
plain_puts = st.builds(PutRequest, keys, values)
deletes = st.builds(DeleteRangeRequest, keys, range_ends, st.booleans())


def ranges(revisions):
    return st.builds(RangeRequest, keys, range_ends, st.integers(-1, 4), revisions, st.booleans(), st.booleans())


compares = st.one_of(
    st.builds(
        Compare,
        keys,
        st.sampled_from([CompareTarget.VERSION, CompareTarget.CREATE, CompareTarget.MOD, CompareTarget.LEASE]),
        st.integers(0, 3),
        st.integers(0, 8),
    ),
    st.builds(Compare, keys, st.just(CompareTarget.VALUE), st.integers(0, 3), values),
)


def commands(revision: int):
    """Any command, for a store that is at ``revision``."""
    operations = st.lists(st.one_of(puts, deletes, ranges(st.integers(-1, revision + 1))), max_size=4).map(tuple)
    txns = st.builds(TxnRequest, st.lists(compares, max_size=2).map(tuple), operations, operations)
    compactions = st.builds(CompactRequest, st.integers(0, revision + 1))
    return st.one_of(puts, puts, puts, deletes, deletes, txns, txns, compactions)
