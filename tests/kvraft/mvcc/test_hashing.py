"""The hash that members compare: the same however far each has come with removing, different when anything else is."""

from __future__ import annotations

import tempfile
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvraft.errors import KvraftError
from kvraft.mvcc import store as store_module
from kvraft.mvcc.hashing import KvHash, StateHash
from kvraft.mvcc.store import Store
from kvraft.storage.state import StateEnvironment
from kvraft.types import CompactRequest, DeleteRangeRequest, PutRequest
from tests.kvraft.mvcc.strategies import KEY_THRESHOLD, commands


def kv_hash(store: Store, revision: int) -> int:
    hashed = KvHash(store._environment.tables, store.compacted_revision, revision)
    while not hashed.step(3):
        pass
    return hashed.value


def state_hash(store: Store) -> int:
    tables = store._environment.tables
    hashed = StateHash(tables.txn, tables.databases)
    while not hashed.step(3):
        pass
    return hashed.value


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_it_does_not_show_how_far_a_compaction_has_come(data):
    with (
        tempfile.TemporaryDirectory() as first,
        tempfile.TemporaryDirectory() as second,
        mock.patch.object(store_module, "ANCHOR", 3),
    ):
        environments = [StateEnvironment.open(path, sync=False, threshold=KEY_THRESHOLD) for path in (first, second)]
        quick, slow = map(Store, environments)
        for _ in range(data.draw(st.integers(1, 25))):
            command = data.draw(commands(quick.revision) | st.just(CompactRequest(quick.revision)))
            for store in (quick, slow):
                try:
                    store.execute(command)
                except KvraftError:
                    continue
            quick.compact_step(data.draw(st.integers(0, 6)))
            slow.compact_step(data.draw(st.integers(0, 1)))
            for revision in range(max(1, quick.compacted_revision), quick.revision + 1):
                assert kv_hash(quick, revision) == kv_hash(slow, revision)
        for environment in environments:
            environment.close()


@pytest.fixture
def store(tmp_path):
    environment = StateEnvironment.open(tmp_path, sync=False)
    store = Store(environment)
    for number in range(20):
        store.execute(PutRequest(b"k%d" % (number % 7), b"value %d" % number))
    store.execute(DeleteRangeRequest(b"k3"))
    yield store
    environment.close()


def test_it_shows_what_has_been_damaged(store):
    right = kv_hash(store, store.revision), state_hash(store)
    rev = store._environment.tables.rev
    rev.first()
    seen = {right}
    for _ in range(21):
        key, raw = rev.item()
        at = raw.index(b"k") + 1 if b"value" not in raw else raw.index(b"value")
        rev.put(key, raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        seen.add((kv_hash(store, store.revision), state_hash(store)))
        rev.set_key(key)
        rev.put(key, raw)
        rev.set_key(key)
        rev.next()
    assert len(seen) == 22
    assert len({value for value, _ in seen}) == 22
    assert (kv_hash(store, store.revision), state_hash(store)) == right


def test_it_is_of_the_revisions_up_to_one(store):
    known = [kv_hash(store, revision) for revision in range(2, store.revision + 1)]
    assert len(set(known)) == len(known)
    store.execute(PutRequest(b"later", b""))
    assert [kv_hash(store, revision) for revision in range(2, store.revision)] == known


def test_what_has_been_removed_and_what_is_about_to_be_count_the_same(store):
    """Superseded puts, a deleted key, and one that came back; before, while and after the removal."""
    store.execute(PutRequest(b"k3", b"back"))
    store.execute(CompactRequest(store.revision))
    seen = {kv_hash(store, store.revision)}
    while store.compact_step(1):
        seen.add(kv_hash(store, store.revision))
    seen.add(kv_hash(store, store.revision))
    assert len(seen) == 1
