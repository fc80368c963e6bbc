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
puts = st.builds(PutRequest, keys, values, st.just(0), st.booleans()) | st.builds(
    PutRequest, keys, st.just(b"") | values, st.just(0), st.booleans(), st.booleans(), st.booleans()
)
plain_puts = st.builds(PutRequest, keys, values)
deletes = st.builds(DeleteRangeRequest, keys, range_ends, st.booleans())


bounds = st.just(0) | st.just(0) | st.integers(1, 8)


def ranges(revisions):
    """Plain pages, and every option at once."""
    plain = st.builds(RangeRequest, keys, range_ends, st.integers(-1, 4), revisions, st.booleans(), st.booleans())
    orders, targets = st.integers(0, 2), st.integers(0, 4)
    full = st.builds(
        RangeRequest,
        *(keys, range_ends, st.integers(-1, 4), revisions, st.booleans(), st.booleans(), st.booleans()),
        *(orders, targets, bounds, bounds, bounds, bounds),
    )
    return plain | full


compares = st.one_of(
    st.builds(
        Compare,
        keys,
        st.sampled_from([CompareTarget.VERSION, CompareTarget.CREATE, CompareTarget.MOD, CompareTarget.LEASE]),
        st.integers(0, 3),
        st.integers(0, 8),
        range_ends,
    ),
    st.builds(Compare, keys, st.just(CompareTarget.VALUE), st.integers(0, 3), values, range_ends),
)


def commands(revision: int):
    """Any command, for a store that is at ``revision``."""
    guards = st.lists(compares, max_size=2).map(tuple)
    single = st.one_of(puts, deletes, ranges(st.integers(-1, revision + 1)))

    def txns_of(operation):
        operations = st.lists(operation, max_size=3).map(tuple)
        return st.builds(TxnRequest, guards, operations, operations)

    txns = txns_of(single | single | txns_of(single))
    compactions = st.builds(CompactRequest, st.integers(0, revision + 1))
    return st.one_of(puts, puts, puts, deletes, deletes, txns, txns, txns, compactions)
