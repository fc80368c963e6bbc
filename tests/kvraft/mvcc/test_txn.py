"""Transactions over a store: what is looked at before anything runs, and what runs then, in its order."""

from __future__ import annotations

import pytest

from kvraft.errors import KeyNotFound
from kvraft.types import (
    CompactRequest,
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRangeRequest,
    KeyValue,
    PutRequest,
    RangeRequest,
    TxnRequest,
)

ALL = (b"\0", b"\0")


def put(store, key: bytes, value: bytes = b"v") -> int:
    return store.execute(PutRequest(key, value)).revision


@pytest.mark.parametrize("kept", [{"ignore_value": True}, {"value": b"v", "ignore_lease": True}])
def test_nothing_is_kept_of_what_the_transaction_has_deleted(store, kept):
    """A deletion to the end overlaps no put, as in etcd; then there is nothing to keep, and all of it is refused."""
    put(store, b"b", b"1")
    keeping = PutRequest(b"b", **{"value": b"", **kept})
    to_the_end, elsewhere = DeleteRangeRequest(b"a", b"\0"), DeleteRangeRequest(b"c", b"\0")
    for before in ((to_the_end,), (elsewhere, to_the_end), (TxnRequest((), (to_the_end,)),)):
        with pytest.raises(KeyNotFound):
            store.execute(TxnRequest((), (*before, keeping)))
    assert store.range(RangeRequest(b"b")).kvs == [KeyValue(b"b", b"1", 2, 2, 1)]
    store.execute(TxnRequest((), (elsewhere, keeping, to_the_end)))
    assert not store.range(RangeRequest(b"b")).kvs, "in their order"


def test_what_a_nested_transaction_puts_a_later_one_may_delete(store):
    """Two changes of a key in one revision: etcd's rule lets that through. A watcher is shown what was before both."""
    put(store, b"a", b"old")
    inner = TxnRequest((), (PutRequest(b"a", b"new"),)), TxnRequest((), (DeleteRangeRequest(b"a"),))
    store.take_changes()
    answer = store.execute(TxnRequest((), (*inner, RangeRequest(b"a"))))
    assert (answer.revision, answer.responses[2].count) == (3, 0)
    changes = store.take_changes()
    assert [(change.kv.value, change.kv.version) for change in changes] == [(b"new", 2), (b"", 0)]
    assert [store.previous(change).value for change in changes] == [b"old", b"old"]
    assert store.range(RangeRequest(b"a", revision=2)).kvs[0].value == b"old"
    store.execute(CompactRequest(3))
    while store.compact_step(1):
        pass
    assert store.range(RangeRequest(*ALL)).count == 0


def test_nested_compares_look_before_anything_runs(store):
    missing = Compare(b"a", CompareTarget.VERSION, CompareResult.EQUAL, 0)
    nested = TxnRequest((missing,), (RangeRequest(b"a"),), (DeleteRangeRequest(b"x"),))
    answer = store.execute(TxnRequest((missing,), (PutRequest(b"a", b"1"), nested)))
    assert answer.responses[1].succeeded
    assert answer.responses[1].responses[0].kvs[0].value == b"1"


def test_a_range_compare_is_for_every_key(store):
    def holds(*compare) -> bool:
        return store.execute(TxnRequest((Compare(*compare),))).succeeded

    put(store, b"a1", b"x")
    put(store, b"a2", b"x")
    prefix = b"b"
    assert holds(b"a", CompareTarget.VALUE, CompareResult.EQUAL, b"x", prefix)
    assert not holds(b"a", CompareTarget.CREATE, CompareResult.EQUAL, 2, prefix)
    assert holds(b"a", CompareTarget.CREATE, CompareResult.LESS, 4, prefix)
    assert holds(b"c", CompareTarget.CREATE, CompareResult.EQUAL, 0, b"\0")
    assert not holds(b"c", CompareTarget.VALUE, CompareResult.NOT_EQUAL, b"x", b"\0")
    assert holds(b"a", CompareTarget.LEASE, CompareResult.EQUAL, 0, prefix)


def test_a_count_within_a_transaction_sees_its_writes(store):
    for key in (b"a", b"b", b"c"):
        put(store, key)
    assert store.range(RangeRequest(*ALL, 1)).count == 3  # and remembers it
    answer = store.execute(TxnRequest((), (PutRequest(b"d", b""), RangeRequest(*ALL, 1))))
    assert (answer.responses[1].count, answer.responses[1].revision) == (4, 5)
    assert store.range(RangeRequest(*ALL, 1)).count == 4
    assert store.range(RangeRequest(*ALL, 1, 4)).count == 3


def test_a_read_in_a_transaction_may_ask_for_the_revision_before_it(store):
    put(store, b"a", b"old")
    answer = store.execute(
        TxnRequest((), (PutRequest(b"a", b"new"), RangeRequest(b"a"), RangeRequest(b"a", revision=2)))
    )
    assert [response.kvs[0].value for response in answer.responses[1:]] == [b"new", b"old"]


def test_compares_look_before_anything_runs(store):
    guard = Compare(b"a", CompareTarget.MOD, CompareResult.EQUAL, 0)
    create = TxnRequest((guard,), (PutRequest(b"a", b"1"),), (RangeRequest(b"a"),))
    first, second = store.execute(create), store.execute(create)
    assert (first.succeeded, first.revision, first.responses[0].revision) == (True, 2, 2)
    assert (second.succeeded, second.revision, [kv.key for kv in second.responses[0].kvs]) == (False, 2, [b"a"])
