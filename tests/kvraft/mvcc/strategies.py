"""Commands over a few keys, short and long, that meet each other often."""

from __future__ import annotations

from functools import partial

from hypothesis import strategies as st
from msgspec import structs

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

_revisions = st.integers(-1, 300)
"""Folded into what the store has by ``_within``."""
_plain_ranges = st.builds(RangeRequest, keys, range_ends, st.integers(-1, 4), _revisions, st.booleans(), st.booleans())
_full_ranges = st.builds(
    RangeRequest,
    *(keys, range_ends, st.integers(-1, 4), _revisions, st.booleans(), st.booleans(), st.booleans()),
    *(st.integers(0, 2), st.integers(0, 4), bounds, bounds, bounds, bounds),
)
_ranges = _plain_ranges | _full_ranges


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


def _txns_of(operation):
    operations = st.lists(operation, max_size=3).map(tuple)
    return st.builds(TxnRequest, st.lists(compares, max_size=2).map(tuple), operations, operations)


_single = st.one_of(puts, deletes, _ranges)
_txns = _txns_of(_single | _single | _txns_of(_single))
_compactions = st.builds(CompactRequest, st.integers(0, 300))
_commands = st.one_of(puts, puts, puts, deletes, deletes, _txns, _txns, _txns, _compactions)


def _within(newest: int, command):
    """The same at a revision from -1 to ``newest``.

    The strategies are made once, for any revision: to make one takes Hypothesis much longer than to draw from it.
    """
    match command:
        case TxnRequest():
            branches = (tuple(_within(newest, one) for one in branch) for branch in (command.success, command.failure))
            return TxnRequest(command.compare, *branches)
        case RangeRequest() | CompactRequest() if command.revision > newest:
            return structs.replace(command, revision=command.revision % (newest + 1))
    return command


def ranges(newest: int):
    """Plain pages, and every option at once, at revisions from -1 to ``newest``."""
    return _ranges.map(partial(_within, newest))


def commands(revision: int):
    """Any command, for a store that is at ``revision``."""
    return _commands.map(partial(_within, revision + 1))
