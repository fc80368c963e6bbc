"""What is refused before it is proposed, and in which order the faults are named."""

from __future__ import annotations

import pytest

from kvraft.errors import DuplicateKey, EmptyKey, InvalidArgument, TooManyOps
from kvraft.mvcc.check import check_command
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

PUT = PutRequest(b"a", b"")
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
        TxnRequest((Compare(b"a", CompareTarget.VALUE, CompareResult.LESS, b"x"),)),
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
        (TxnRequest((), (DeleteRangeRequest(b"A", b"\0"), PUT)), DuplicateKey),
        (TxnRequest((), (PutRequest(b"b", b""), PUT, DeleteRangeRequest(b"a\0", b"b\0"))), DuplicateKey),
        (TxnRequest((), (PUT, PUT), (PutRequest(b"", b""),)), EmptyKey),
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
