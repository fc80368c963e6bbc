"""What is refused before it is proposed, and in which order the faults are named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvraft.errors import (
    DuplicateKey,
    EmptyKey,
    InvalidArgument,
    InvalidSortOption,
    LeaseProvided,
    TooManyOps,
    ValueProvided,
)
from kvraft.mvcc.check import check_command
from kvraft.mvcc.intervals import Intervals
from kvraft.types import (
    CompactRequest,
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    TxnRequest,
)
from tests.kvraft.mvcc.model import inside

PUT = PutRequest(b"a", b"")
DELETE = DeleteRangeRequest(b"a")


def nested(*success, compare=(), failure=()) -> TxnRequest:
    return TxnRequest(tuple(compare), success, tuple(failure))


GUARD = Compare(b"a", CompareTarget.MOD, CompareResult.EQUAL, 0)


@pytest.mark.parametrize(
    "command",
    [
        PUT,
        DeleteRangeRequest(b"a", b"\0"),
        CompactRequest(-1),
        TxnRequest(),
        TxnRequest((GUARD,) * 128, (RangeRequest(b"a"),) * 128, (DeleteRangeRequest(b"a"),) * 128),
        TxnRequest((), (PUT,), (PUT,)),
        TxnRequest((), (DeleteRangeRequest(b"a"), DeleteRangeRequest(b"a", b"c"))),
        TxnRequest((), (PUT, DeleteRangeRequest(b"b", b"\0"))),
        TxnRequest((), (PutRequest(b"b", b""), DeleteRangeRequest(b"a", b"b"))),
        TxnRequest((), (PUT, RangeRequest(b"a"))),
        TxnRequest((), (DeleteRangeRequest(b"A", b"\0"), PUT)),
        TxnRequest((), (DeleteRangeRequest(b"a", b"\0"), PUT)),
        nested(nested(PUT), DeleteRangeRequest(b"a", b"\0")),
        TxnRequest((Compare(b"a", CompareTarget.VALUE, CompareResult.LESS, b"x"),)),
        PutRequest(b"a", b"", ignore_value=True, ignore_lease=True),
        nested(RangeRequest(b"a", sort_order=2, sort_target=4)),
        nested(nested(PUT, failure=(PUT,))),
        nested(nested(PUT), nested(DELETE)),
        nested(nested(DELETE), nested(DELETE), DELETE),
        nested(nested(PUT), PutRequest(b"b", b"")),
        nested(*(RangeRequest(b"a"),) * 64, nested(*(RangeRequest(b"a"),) * 63)),
    ],
)
def test_well_formed(command):
    check_command(command)


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (PutRequest(b"", b""), EmptyKey),
        (PutRequest(b"", b"", lease=1), EmptyKey),
        (DeleteRangeRequest(b"", b"z"), EmptyKey),
        (TxnRequest((GUARD,) * 129), TooManyOps),
        (TxnRequest((), (RangeRequest(b"a"),) * 129), TooManyOps),
        (TxnRequest((), (), (RangeRequest(b""),) * 129), TooManyOps),
        (TxnRequest((Compare(b"", 99, 99, 0),)), EmptyKey),
        (TxnRequest((), (), (RangeRequest(b""),)), EmptyKey),
        (TxnRequest((), (PUT, PUT)), DuplicateKey),
        (TxnRequest((), (), (PUT, DeleteRangeRequest(b"a"))), DuplicateKey),
        (TxnRequest((), (DeleteRangeRequest(b"a"), PUT)), DuplicateKey),
        (TxnRequest((), (PutRequest(b"b", b""), PUT, DeleteRangeRequest(b"a\0", b"b\0"))), DuplicateKey),
        (TxnRequest((), (PUT, PUT), (PutRequest(b"", b""),)), EmptyKey),
        (PutRequest(b"a", b"v", ignore_value=True), ValueProvided),
        (PutRequest(b"a", b"v", lease=1, ignore_value=True, ignore_lease=True), ValueProvided),
        (PutRequest(b"a", b"", lease=1, ignore_lease=True), LeaseProvided),
        (nested(RangeRequest(b"a", sort_order=3)), InvalidSortOption),
        (nested(nested(RangeRequest(b""))), EmptyKey),
        (nested(nested(PUT), PUT), DuplicateKey),
        (nested(PUT, nested(PUT)), DuplicateKey),
        (nested(nested(PUT), nested(PUT)), DuplicateKey),
        (nested(nested(PUT), nested(failure=(PUT,))), DuplicateKey),
        (nested(nested(DELETE), nested(PUT)), DuplicateKey),
        (nested(nested(PUT), DELETE), DuplicateKey),
        (nested(PUT, nested(DELETE)), DuplicateKey),
        (nested(nested(PUT, DELETE)), DuplicateKey),
        (nested(failure=(nested(nested(PUT), PUT),)), DuplicateKey),
        (nested(nested(DeleteRangeRequest(b"A", b"b")), nested(nested(PUT))), DuplicateKey),
        (nested(*(RangeRequest(b"a"),) * 64, nested(*(RangeRequest(b"a"),) * 64)), TooManyOps),
        (nested(nested(nested(*(RangeRequest(b"a"),) * 127))), TooManyOps),
        (TxnRequest((Compare(b"a", 5, 0, 0),)), InvalidArgument),
        (TxnRequest((Compare(b"a", 0, 4, 0),)), InvalidArgument),
        (TxnRequest((Compare(b"a", CompareTarget.VALUE, 0, 1),)), InvalidArgument),
        (TxnRequest((Compare(b"a", CompareTarget.MOD, 0, b"1"),)), InvalidArgument),
    ],
)
def test_refused(command, error):
    with pytest.raises(error) as caught:
        check_command(command)
    assert type(caught.value) is error


def test_the_limit_is_a_setting():
    check_command(TxnRequest((), (RangeRequest(b"a"),) * 200), max_ops=200)
    with pytest.raises(TooManyOps):
        check_command(TxnRequest((), (RangeRequest(b"a"),) * 3), max_ops=2)


def test_depth_has_a_bound_whatever_the_limit():
    deep = nested(PUT)
    for _ in range(127):
        deep = nested(deep)
    check_command(deep, max_ops=10_000)
    with pytest.raises(TooManyOps):
        check_command(nested(deep), max_ops=10_000)


@given(
    st.lists(st.tuples(st.binary(max_size=2), st.binary(max_size=2)), max_size=8),
    st.lists(st.tuples(st.binary(max_size=2), st.binary(max_size=2)), max_size=8),
    st.lists(st.binary(max_size=3), max_size=10),
)
def test_intervals_hold_what_any_of_them_holds(first, second, keys):
    intervals, others = Intervals(), Intervals()
    for pair in first:
        intervals.add(*pair)
    for pair in second:
        others.add(*pair)
    for key in keys:
        assert (key in others) == any(inside(key, *pair) for pair in second)
    intervals.update(others)
    for key in keys:
        assert (key in intervals) == any(inside(key, *pair) for pair in first + second)
