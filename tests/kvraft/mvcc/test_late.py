"""Heads of keys that are put again and again: not written each time, and never missed."""

from __future__ import annotations

import pytest

from kvraft.mvcc import late as late_module
from kvraft.mvcc.records import HEAD, POSITION
from kvraft.mvcc.store import Store
from kvraft.storage.errors import StorageError
from kvraft.storage.state import StateEnvironment
from kvraft.types import CompactRequest, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest

KEYS = [b"a", b"b", b"c", b"d"]
ALL = RangeRequest(b"\0", b"\0")


def put(store, *keys):
    """Plain puts of one entry."""
    return [answer.revision for answer in store.put_all([(2, key, b"of %d" % store.revision) for key in keys])]


def commit(store, environment, *, whole=False):
    store.prepare_commit(whole=whole)
    environment.commit()


def written(environment):
    """Which revisions the heads in ``cur`` are of, late ones left as they are."""
    return {key: HEAD.unpack(head)[0] for key, head in environment.tables.cur.walk(b"\0", None)}


def seen(store):
    return {kv.key: (kv.mod_revision, kv.version) for kv in store.range(ALL).kvs}


def test_a_new_key_has_its_head_at_once_and_a_known_one_when_somebody_looks(store, environment):
    put(store, b"a", b"b")
    assert written(environment) == {b"a": 2, b"b": 3}
    put(store, b"a", b"c")
    commit(store, environment)
    assert written(environment) == {b"a": 2, b"b": 3, b"c": 5}
    assert (environment.meta.late_from, environment.is_whole) == (4, False)
    assert seen(store) == {b"a": (4, 2), b"b": (3, 1), b"c": (5, 1)}
    assert written(environment) == {b"a": 4, b"b": 3, b"c": 5}
    assert environment.meta.late_from == 0


@pytest.mark.parametrize(
    "look",
    [
        lambda store: store.execute(PutRequest(b"a", b"", prev_kv=True)),
        lambda store: store.execute(PutRequest(b"a", b"", ignore_value=True)),
        lambda store: store.execute(DeleteRangeRequest(b"a", b"z")),
        lambda store: store.execute(TxnRequest((), (RangeRequest(b"a"),))),
        lambda store: store.read_txn(TxnRequest((), (RangeRequest(b"a"),))),
        lambda store: store.range_within(RangeRequest(b"a"), 10, 1000),
        lambda store: store.takes_long([DeleteRangeRequest(b"a", b"z")]),
        lambda store: (store.execute(CompactRequest(store.revision)), store.compact_step(1)),
        lambda store: store.prepare_commit(whole=True),
    ],
)
def test_who_looks_at_heads_or_changes_others_finds_all_of_them(store, environment, look):
    put(store, b"a", b"b")
    put(store, b"b", b"a")
    assert environment.meta.late_from == 4
    look(store)
    assert environment.meta.late_from == 0
    if b"b" in (heads := written(environment)):
        assert heads[b"b"] == 4


def test_watchers_do_not_need_them(store, environment):
    put(store, b"a")
    put(store, b"a")
    found, _ = store.changes(2, 10, 1000)
    assert [change.kv.version for change in found] == [1, 2]
    assert store.previous(found[1]).version == 1
    assert store.part(3, 0, 10)[0] == found[1:]
    assert environment.meta.late_from == 3


def test_a_key_that_is_not_put_any_more_has_its_head_a_generation_later(store, environment, monkeypatch):
    monkeypatch.setattr(late_module, "LATE_PUTS", 4)
    put(store, *KEYS)
    for keys in ((b"a", b"b"), (b"c", b"d"), (b"a", b"b"), (b"a", b"b")):
        put(store, *keys)
        commit(store, environment)
    assert written(environment) == {b"a": 2, b"b": 3, b"c": 8, b"d": 9}
    assert environment.meta.late_from == 10  # the younger generation is of a and b, and full
    assert seen(store) == {b"a": (12, 4), b"b": (13, 4), b"c": (8, 2), b"d": (9, 2)}


def test_a_restart_has_a_bounded_number_of_puts_to_look_at(store, environment, monkeypatch):
    monkeypatch.setattr(late_module, "LATE_PUTS", 8)
    put(store, *KEYS)
    for _ in range(50):
        put(store, *KEYS)
        commit(store, environment)
        assert environment.meta.revision - environment.meta.late_from < 2 * 8 + len(KEYS)
    assert written(environment) == dict(zip(KEYS, (2, 3, 4, 5), strict=True))


@pytest.mark.parametrize("keys", [KEYS, KEYS[:1]])
def test_a_restart_finds_the_late_heads(tmp_path, keys):
    environment = StateEnvironment.open(tmp_path, sync=False)
    store = Store(environment)
    put(store, *KEYS)
    store.execute(DeleteRangeRequest(b"d"))
    put(store, *keys)
    commit(store, environment)
    before = seen(store)
    environment.close()  # what has been looked up since the commit is lost
    environment = StateEnvironment.open(tmp_path, sync=False)
    assert environment.meta.late_from
    assert not environment.is_whole
    with pytest.raises(AssertionError):
        environment.view()
    store = Store(environment)
    assert seen(store) == before
    assert [put(store, key) for key in KEYS] == [[store.revision + place] for place in (-3, -2, -1, 0)]
    commit(store, environment, whole=True)
    assert environment.is_whole
    assert store.range(ALL).kvs[0].version == before[b"a"][1] + 1
    environment.close()


def test_a_restart_names_the_record_that_it_cannot_read(tmp_path):
    environment = StateEnvironment.open(tmp_path, sync=False)
    store = Store(environment)
    put(store, b"a", b"a")
    environment.tables.rev.put(POSITION.pack(3, 0), b"\xc1")
    commit(store, environment)
    environment.close()
    environment = StateEnvironment.open(tmp_path, sync=False)
    with pytest.raises(StorageError, match=r"the state is damaged: revision 3\.0 is unreadable"):
        Store(environment)
    environment.close()


def test_what_is_remembered_is_given_up_only_after_its_head_is_written(store, environment, monkeypatch):
    monkeypatch.setattr(late_module, "REMEMBERED_KEYS", 4)
    put(store, *KEYS)
    put(store, *KEYS)
    assert environment.meta.late_from == 6
    put(store, b"e")
    assert written(environment) == {b"a": 6, b"b": 7, b"c": 8, b"d": 9, b"e": 10}
    assert put(store, b"a") == [11]
    assert seen(store)[b"a"] == (11, 3)


def test_what_has_been_written_is_not_late_any_more(store, environment, monkeypatch):
    monkeypatch.setattr(late_module, "LATE_PUTS", 4)
    for _ in range(2):
        put(store, *KEYS)
    commit(store, environment)
    assert environment.meta.late_from == 6
    for key in KEYS:
        store.execute(DeleteRangeRequest(key))
    assert environment.meta.late_from == 0
    for _ in range(3):
        put(store, b"e", b"f", b"g", b"h")
        commit(store, environment)
    assert seen(store).keys() == {b"e", b"f", b"g", b"h"}
