"""The store's rules one by one, where the model test would only find them by luck, or where the text is etcd's."""

from __future__ import annotations

import pytest

from kvraft.errors import (
    AnswerTooLarge,
    Compacted,
    EmptyKey,
    FutureRevision,
    InvalidSortOption,
    KeyNotFound,
    LeaseNotFound,
    ReadsTooMuch,
)
from kvraft.mvcc import counts, late, scan
from kvraft.mvcc.bounds import Room
from kvraft.mvcc.store import Store
from kvraft.storage.errors import StorageError
from kvraft.storage.keytable import KeyTable
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
    SortOrder,
    SortTarget,
    TxnRequest,
)

ALL = (b"\0", b"\0")


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


@pytest.fixture
def walked(monkeypatch):
    """One item for each key that ranges have come by."""
    seen: list[None] = []
    walk, counts = scan.walk_positions, KeyTable.counts

    def walking(*given):
        for key, place in walk(*given):
            seen.append(None)
            yield key, place

    def counting(table, key, end, batch):
        for found in counts(table, key, end, batch):
            seen.extend([None] * found)
            yield found

    monkeypatch.setattr(scan, "walk_positions", walking)
    monkeypatch.setattr(KeyTable, "counts", counting)
    return seen


def test_pages_at_one_revision_count_once(store, walked):
    for number in range(30):
        put(store, b"k%02d" % number)
    key, seen, at = b"k", [], 0
    while True:
        page = store.range(RangeRequest(key, b"l", 3, at))
        at = at or page.revision
        assert page.count == 30 - len(seen)
        seen += names(page)
        put(store, b"k%02d" % len(seen), b"new")
        put(store, b"k-later%d" % len(seen))
        if not page.more:
            break
        key = seen[-1] + b"\0"
    assert seen == [b"k%02d" % number for number in range(30)]
    assert len(walked) <= 2 * 30 + 10  # the whole once; then every page, and the key behind it


def test_pages_that_begin_where_the_client_likes_are_counted_from_the_one_before(store, walked, monkeypatch):
    for number in range(100):
        put(store, b"k%03d" % number)
    for number in range(0, 100, 10):
        assert store.range(RangeRequest(b"k%03d" % number, b"l", 10)).count == 100 - number
    assert len(walked) <= 100 + 10 * (10 + 1) + 10 * 10  # the whole once; every page; and from one to the next
    put(store, b"k0305")
    store.execute(DeleteRangeRequest(b"k090", b"k095"))
    walked.clear()
    assert store.range(RangeRequest(b"k031", b"l", count_only=True)).count == 64
    assert store.range(RangeRequest(b"k0301", b"l", count_only=True)).count == 65
    assert len(walked) <= 4
    monkeypatch.setattr(counts, "NEAR_KEYS", 3)
    assert store.range(RangeRequest(b"k035", b"l", count_only=True)).count == 60
    assert store.range(RangeRequest(b"k031", b"k05", count_only=True)).count == 19  # another end


def test_a_range_that_ends_before_it_begins_holds_nothing_whatever_is_known_of_others(store):
    put(store, b"k1")
    put(store, b"k2")
    assert store.range(RangeRequest(b"k", b"k2", count_only=True)).count == 1
    assert store.range(RangeRequest(b"k3", b"k2", count_only=True)).count == 0


def test_a_count_follows_what_comes_and_goes(store, walked, monkeypatch):
    monkeypatch.setattr(counts, "MAX_MOVES", 50)
    for number in range(100):
        put(store, b"k%03d" % number)
    everything = RangeRequest(b"k", b"l", 0, count_only=True)
    assert store.range(everything).count == 100
    walked.clear()
    put(store, b"k000", b"again")
    assert store.range(everything).count == 100
    put(store, b"j")
    put(store, b"k-new")
    store.execute(DeleteRangeRequest(b"k00", b"k01"))
    assert store.range(everything).count == 91
    assert store.range(RangeRequest(b"k", b"l", 5)).count == 91
    assert len(walked) <= 6
    store.execute_all([PutRequest(b"k-a", b""), PutRequest(b"k-b", b""), PutRequest(b"k-a", b"again")])
    assert store.range(everything).count == 93
    assert len(walked) <= 6
    for number in range(100):  # more than is remembered: walked again
        put(store, b"z%d" % number)
    walked.clear()
    assert store.range(everything).count == 93
    assert len(walked) == 93


def test_a_sorted_read_keeps_no_more_than_its_answer(store, monkeypatch):
    monkeypatch.setattr(scan, "PRUNE_ENTRIES", 10)
    for number in range(200):
        put(store, b"k%03d" % number, b"%d" % (number * 7 % 200))
    newest = RangeRequest(*ALL, 2, sort_order=SortOrder.DESCEND, sort_target=SortTarget.MOD)
    reading = store.scan(newest, store._environment.tables)
    largest = 0
    while not reading.step(3, 1 << 20):
        largest = max(largest, len(reading.kvs))
    assert [kv.key for kv in reading.kvs] == [b"k199", b"k198"]
    assert (reading.count, reading.more) == (200, True)
    assert largest <= 2 * 2 + 10
    assert store.range(newest).kvs == reading.kvs


def test_an_answer_has_a_bound(store):
    for number in range(10):
        put(store, b"k%d" % number, b"v" * 1000)
    reading = store.scan(RangeRequest(*ALL), store._environment.tables, 5000)
    with pytest.raises(AnswerTooLarge, match="ask for the range in pages"):
        reading.step(100, 1 << 20)
    reading = store.scan(RangeRequest(*ALL, 4), store._environment.tables, 5000)
    assert reading.step(100, 1 << 20)
    reading = store.scan(RangeRequest(*ALL, count_only=True), store._environment.tables, 5000)
    assert reading.step(100, 1 << 20)
    assert reading.count == 10


def test_a_read_within_bounds_or_not_at_all(store):
    for number in range(10):
        put(store, b"k%d" % number, b"v" * 1000)
    assert store.range_within(RangeRequest(*ALL), 5, 1 << 20) is None
    assert store.range_within(RangeRequest(*ALL), 100, 5000) is None
    answer = store.range_within(RangeRequest(*ALL), 100, 1 << 20)
    assert answer is not None
    assert answer == store.range(RangeRequest(*ALL))


def test_without_an_order_the_limit_comes_before_the_sort(store):
    """As in etcd, which reads one more than the limit."""
    for key, value in ((b"a", b"3"), (b"b", b"2"), (b"c", b"1"), (b"d", b"0")):
        put(store, key, value)
    by_value = RangeRequest(*ALL, 2, sort_target=SortTarget.VALUE)
    assert names(store.range(by_value)) == [b"c", b"b"]
    assert store.range(by_value).more
    ascending = RangeRequest(*ALL, 2, sort_order=SortOrder.ASCEND, sort_target=SortTarget.VALUE)
    assert names(store.range(ascending)) == [b"d", b"c"]


def test_unknown_sorts_are_refused(store):
    for order, target in ((3, 0), (-1, 0), (0, 5), (1, -1)):
        with pytest.raises(InvalidSortOption, match="etcdserver: invalid sort option"):
            store.range(RangeRequest(b"a", sort_order=order, sort_target=target))
        with pytest.raises(InvalidSortOption):
            store.execute(TxnRequest((), (RangeRequest(b"a", sort_order=order, sort_target=target),)))


def test_a_put_may_keep_what_is_there(store):
    for request in (PutRequest(b"a", b"", ignore_value=True), PutRequest(b"a", b"v", ignore_lease=True)):
        with pytest.raises(KeyNotFound, match="etcdserver: key not found"):
            store.execute(request)
        with pytest.raises(KeyNotFound):
            store.execute(TxnRequest((), (PutRequest(b"b", b"x"), request)))
    assert store.revision == 1, "nothing of the transaction has been done"
    put(store, b"a", b"kept")
    answer = store.execute(PutRequest(b"a", b"", prev_kv=True, ignore_value=True))
    assert answer.prev_kv.value == b"kept"
    assert store.range(RangeRequest(b"a")).kvs == [KeyValue(b"a", b"kept", 2, 3, 2)]


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
    monkeypatch.setattr(late, "REMEMBERED_KEYS", 8)
    store = Store(environment)
    for number in range(50):
        store.execute_all([PutRequest(b"k%d" % (2 * number + more), b"") for more in (0, 1)])
        assert len(store._recent.known) <= 10
    store.forget()
    assert not store._recent.known


# ---------------------------------------------------------------------- what a transaction may read

TEN = Room(11, 10_000)
GREATER = CompareResult.GREATER


@pytest.fixture
def ten_keys(store, monkeypatch):
    """A store with ten keys, where a transaction may read fewer than eleven."""
    monkeypatch.setattr(Room.__init__, "__defaults__", (TEN.keys, TEN.bytes))
    for number in range(10):
        put(store, b"k%d" % number)
    return store


@pytest.mark.parametrize(
    "command",
    [
        TxnRequest((), (RangeRequest(*ALL), RangeRequest(b"k", b"k1"))),
        TxnRequest((), (PutRequest(b"a", b""), RangeRequest(*ALL), RangeRequest(b"k", b"k1"))),
        TxnRequest((), (PutRequest(b"a", b""), TxnRequest((), (RangeRequest(*ALL), RangeRequest(b"k", b"k1"))))),
        TxnRequest((), (DeleteRangeRequest(*ALL, prev_kv=True), RangeRequest(b"k", b"k1"))),
        TxnRequest(
            (Compare(b"k", CompareTarget.MOD, CompareResult.GREATER, 0, range_end=b"k2"),), (RangeRequest(*ALL),)
        ),
        TxnRequest((Compare(b"k", CompareTarget.MOD, GREATER, 0, range_end=b"l"),) * 2, ()),
        TxnRequest((), (PutRequest(b"a", b"v" * 10_000), RangeRequest(b"big", b"bih"))),
    ],
)
def test_a_transaction_that_reads_too_much_is_refused_and_changes_nothing(ten_keys, command):
    ten_keys.execute(PutRequest(b"big", b"v" * 10_001))
    ten_keys.execute(DeleteRangeRequest(b"k9"))
    revision = ten_keys.revision
    with pytest.raises(ReadsTooMuch):
        ten_keys.execute(command)
    assert ten_keys.revision == revision
    assert ten_keys.range(RangeRequest(*ALL)).count == 10


def test_a_delete_that_gives_back_too_much_is_refused_and_one_that_does_not_is_done(ten_keys):
    put(ten_keys, b"one more")
    with pytest.raises(ReadsTooMuch):
        ten_keys.execute(DeleteRangeRequest(*ALL, prev_kv=True))
    assert len(ten_keys.execute(DeleteRangeRequest(b"k", b"l", prev_kv=True)).prev_kvs) == 10


def test_what_is_counted_takes_less_room_and_what_another_member_remembers_makes_no_difference(ten_keys):
    for number in range(60):
        put(ten_keys, b"m%02d" % number)
    counted = TxnRequest((), (RangeRequest(*ALL, count_only=True), PutRequest(b"x", b"")))
    assert ten_keys.execute(counted).responses[0].count == 70
    for number in range(30):
        put(ten_keys, b"n%02d" % number)
    assert ten_keys.range(RangeRequest(*ALL, count_only=True)).count == 101  # it is known here now
    with pytest.raises(ReadsTooMuch):
        ten_keys.execute(counted)


def test_ranges_that_only_read_share_the_room(ten_keys):
    for number in range(2):
        request = TxnRequest((), (RangeRequest(b"k0", b"k5"), RangeRequest(b"k5", b"k8" if number else b"l")))
        assert [len(read.kvs) for read in ten_keys.read_txn(request).responses] == [5, 3 if number else 5]
    with pytest.raises(ReadsTooMuch):
        ten_keys.read_txn(TxnRequest((), (RangeRequest(b"k0", b"k6"), RangeRequest(b"k5", b"l"))))
