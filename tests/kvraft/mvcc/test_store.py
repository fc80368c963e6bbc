"""The store's rules one by one, where the model test would only find them by luck, or where the text is etcd's."""

from __future__ import annotations

import pytest

from kvraft.errors import Compacted, EmptyKey, FutureRevision, LeaseNotFound
from kvraft.mvcc import puts, reading
from kvraft.mvcc.store import Store
from kvraft.storage.errors import StorageError
from kvraft.storage.state import StateEnvironment
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


@pytest.fixture
def environment(tmp_path):
    environment = StateEnvironment.open(tmp_path, sync=False)
    yield environment
    environment.close()


@pytest.fixture
def store(environment):
    return Store(environment)


def put(store, key: bytes, value: bytes = b"v") -> int:
    return store.execute(PutRequest(key, value)).revision


def delete(store, key: bytes) -> int:
    return store.execute(DeleteRangeRequest(key)).revision


def names(response) -> list[bytes]:
    return [kv.key for kv in response.kvs]


def test_a_new_store_is_at_revision_one(store):
    assert (store.revision, store.compacted_revision) == (1, 0)
    assert store.range(RangeRequest(*ALL)).revision == 1
    assert put(store, b"a") == 2


def test_create_mod_and_version(store):
    put(store, b"a", b"1")
    put(store, b"a", b"2")
    assert store.range(RangeRequest(b"a")).kvs == [KeyValue(b"a", b"2", 2, 3, 2)]
    delete(store, b"a")
    put(store, b"a", b"3")
    assert store.range(RangeRequest(b"a")).kvs == [KeyValue(b"a", b"3", 5, 5, 1)]
    assert store.range(RangeRequest(b"a", revision=3)).kvs == [KeyValue(b"a", b"2", 2, 3, 2)]
    assert store.range(RangeRequest(b"a", revision=4)).count == 0


def test_deleting_nothing_changes_nothing(store):
    assert delete(store, b"a") == 1
    assert store.execute(DeleteRangeRequest(*ALL, True)).prev_kvs == []
    assert store.execute(TxnRequest((), (RangeRequest(b"a"), DeleteRangeRequest(b"b")))).revision == 1


def test_count_ignores_the_limit_and_more_means_cut(store):
    for key in (b"a", b"b", b"c"):
        put(store, key)
    two = store.range(RangeRequest(*ALL, 2))
    assert (names(two), two.count, two.more) == ([b"a", b"b"], 3, True)
    three = store.range(RangeRequest(*ALL, 3))
    assert (three.count, three.more) == (3, False)
    counted = store.range(RangeRequest(*ALL, 1, count_only=True))
    assert (counted.kvs, counted.count, counted.more) == ([], 3, False)
    assert store.range(RangeRequest(b"b", b"a")).count == 0


def test_pages_at_one_revision_count_once(store, monkeypatch):
    for number in range(10):
        put(store, b"k%d" % number)
    walks = []
    counted = reading.count_range
    monkeypatch.setattr("kvraft.mvcc.store.count_range", lambda *given: walks.append(given) or counted(*given))
    key, seen, at = b"k", [], 0
    while True:
        page = store.range(RangeRequest(key, b"l", 3, at))
        at = at or page.revision
        assert page.count == 10 - len(seen)
        seen += names(page)
        put(store, b"k%d" % len(seen), b"new")
        put(store, b"k-later%d" % len(seen))
        if not page.more:
            break
        key = seen[-1] + b"\0"
    assert seen == [b"k%d" % number for number in range(10)]
    assert len(walks) == 1


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


def test_revisions_that_cannot_be_read(store):
    put(store, b"a")
    put(store, b"a")
    store.execute(CompactRequest(3))
    assert store.range(RangeRequest(b"a", revision=3)).count == 1
    for revision, error in ((2, Compacted), (4, FutureRevision)):
        with pytest.raises(error):
            store.range(RangeRequest(b"a", revision=revision))
        with pytest.raises(error):
            store.execute(TxnRequest((), (PutRequest(b"a", b""), RangeRequest(b"a", revision=revision))))
    with pytest.raises(Compacted):
        store.execute(TxnRequest((), (RangeRequest(b"a", revision=-1),)))
    assert store.range(RangeRequest(b"a", revision=-1)).count == 1
    assert store.revision == 3
    with pytest.raises(EmptyKey):
        store.range(RangeRequest(b""))
    with pytest.raises(LeaseNotFound, match="etcdserver: requested lease not found"):
        store.execute(PutRequest(b"a", b"", lease=1))


def test_compares_look_before_anything_runs(store):
    guard = Compare(b"a", CompareTarget.MOD, CompareResult.EQUAL, 0)
    create = TxnRequest((guard,), (PutRequest(b"a", b"1"),), (RangeRequest(b"a"),))
    first, second = store.execute(create), store.execute(create)
    assert (first.succeeded, first.revision, first.responses[0].revision) == (True, 2, 2)
    assert (second.succeeded, second.revision, names(second.responses[0])) == (False, 2, [b"a"])


def test_changes_carry_their_order(store):
    put(store, b"x")
    store.take_changes()
    store.execute(TxnRequest((), (PutRequest(b"b", b""), DeleteRangeRequest(b"x"), PutRequest(b"a", b""))))
    changes = store.take_changes()
    assert [(c.kv.key, c.kv.mod_revision, c.kv.version) for c in changes] == [(b"b", 3, 1), (b"x", 3, 0), (b"a", 3, 1)]
    assert changes[1].kv == KeyValue(b"x", b"", 0, 3, 0)
    assert store.take_changes() == []
    assert store.changes(3, 1, 1)[0] == changes


def test_compaction_goes_up_only(store):
    put(store, b"a")
    put(store, b"a")
    store.execute(CompactRequest(2))
    for revision, error in ((2, Compacted), (1, Compacted), (4, FutureRevision)):
        with pytest.raises(error):
            store.execute(CompactRequest(revision))
    assert store.compacting
    assert not store.compact_step(100)
    assert not store.compacting


def test_the_newest_revision_survives_its_compaction(store, environment):
    put(store, b"a")
    revision = delete(store, b"a")
    store.execute(CompactRequest(revision))
    while store.compact_step(1):
        pass
    environment.commit()
    assert store.revision == revision
    assert [change.kv.mod_revision for change in store.changes(revision, 10, 1000)[0]] == [revision]
    assert put(store, b"b") == revision + 1


def test_a_tombstone_kept_at_one_target_goes_with_the_next(store, environment):
    """Also when the next compaction arrives while the walk stands in the middle of the first one's revision."""
    for key in (b"a", b"b", b"c"):
        put(store, key)
    revision = store.execute(DeleteRangeRequest(*ALL)).revision
    put(store, b"d")
    store.execute(CompactRequest(revision))
    assert store.compact_step(3 + 2)  # three puts and two of the three tombstones
    store.execute(CompactRequest(revision + 1))
    while store.compact_step(1):
        pass
    stat = environment.tables.txn.stat
    assert stat(environment._databases.rev)["entries"] == 1
    assert stat(environment._databases.dead)["entries"] == 0
    assert stat(environment._databases.hist)["entries"] == 0


def test_a_missing_record_is_damage_and_not_an_answer(store, environment):
    put(store, b"a")
    environment.tables.rev.first()
    environment.tables.rev.delete()
    with pytest.raises(StorageError, match=r"revision 2\.0 is missing"):
        store.range(RangeRequest(b"a"))
    with pytest.raises(StorageError, match=r"revision 2\.0 is missing"):
        store.range(RangeRequest(*ALL))


@pytest.mark.parametrize(
    "between",
    [
        (PutRequest(b"a", b"other", prev_kv=True),),
        (DeleteRangeRequest(b"a"),),
        (DeleteRangeRequest(b"a"), PutRequest(b"a", b"again", prev_kv=True)),
        (TxnRequest((), (), (PutRequest(b"a", b"then"),)),),
        (TxnRequest((), (DeleteRangeRequest(b"\0", b"\0"),), ()),),
    ],
)
def test_plain_puts_notice_what_else_has_changed_a_key(environment, tmp_path_factory, between):
    together = Store(environment)
    other = StateEnvironment.open(tmp_path_factory.mktemp("alone"), sync=False)
    alone = Store(other)
    run = [PutRequest(b"a", b"1"), PutRequest(b"b", b"2"), PutRequest(b"a", b"3")]
    for commands in (run, between, run):
        assert together.execute_all(commands) == [alone.execute(command) for command in commands]
        assert together.take_changes() == alone.take_changes()
    for revision in range(1, together.revision + 1):
        request = RangeRequest(*ALL, revision=revision)
        assert together.range(request) == alone.range(request)
    other.close()


def test_what_is_remembered_of_keys_is_bounded_and_forgotten_with_the_state(environment, monkeypatch):
    monkeypatch.setattr(puts, "REMEMBERED_KEYS", 8)
    store = Store(environment)
    for number in range(50):
        store.execute_all([PutRequest(b"k%d" % (2 * number + more), b"") for more in (0, 1)])
        assert len(store._recent.known) <= 10
    store.forget()
    assert not store._recent.known
