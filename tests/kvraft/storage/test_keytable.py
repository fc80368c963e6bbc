"""Keys of any length in order, against a sorted dict, with thresholds so small that buckets nest."""

from __future__ import annotations

import itertools
import tempfile

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvraft.storage.keytable import ID_BYTES, MAX_LMDB_KEY, THRESHOLD, KeyTable

keys = st.lists(st.sampled_from([0, 1, 97, 255]), min_size=1, max_size=9).map(bytes)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), keys, keys),
        st.tuples(st.just("pop"), keys, st.just(b"")),
        st.tuples(st.just("walk"), keys, st.none() | keys),
    ),
    max_size=60,
)


@pytest.fixture(scope="module")
def environment():
    with tempfile.TemporaryDirectory() as directory:
        environment = lmdb.open(directory, map_size=1 << 28, max_dbs=2, sync=False)
        yield environment
        environment.close()


def table_in(environment, txn, threshold: int) -> KeyTable:
    top, long = (environment.open_db(name, txn=txn) for name in (b"top", b"long"))
    txn.drop(top, delete=False)
    txn.drop(long, delete=False)
    counter = itertools.count(1)
    return KeyTable(txn, top, long, threshold, lambda: next(counter))


@settings(max_examples=200, deadline=None)
@given(threshold=st.integers(1, 4), steps=steps)
def test_it_is_an_ordered_map(environment, threshold, steps):
    with environment.begin(write=True) as txn:
        table = table_in(environment, txn, threshold)
        model: dict[bytes, bytes] = {}
        for kind, key, argument in steps:
            if kind == "put":
                table.put(key, argument)
                model[key] = argument
            elif kind == "pop":
                assert table.get(key) == model.get(key)
                assert table.pop(key) == model.pop(key, None)
            else:
                expected = [(k, model[k]) for k in sorted(model) if k >= key and (argument is None or k < argument)]
                assert list(table.walk(key, argument)) == expected
                for batch in 1, 2, 500:
                    assert sum(table.counts(key, argument, batch)) == len(expected)
        for key in sorted(model):
            assert table.pop(key) == model[key]
        assert txn.stat(environment.open_db(b"top", txn=txn))["entries"] == 0
        assert txn.stat(environment.open_db(b"long", txn=txn))["entries"] == 0
        txn.abort()


def test_a_count_ends_in_the_middle_of_what_is_read_for_it(environment):
    with environment.begin(write=True) as txn:
        table = table_in(environment, txn, THRESHOLD)
        for number in range(700):
            table.put(b"%03d" % number, b"")
        for end in 0, 1, 15, 16, 17, 79, 80, 81, 500, 699, 700:
            counted = list(table.counts(b"000", b"%03d" % end, 500))
            assert sum(counted) == end
            assert max(counted) <= 500
        txn.abort()


def test_the_default_threshold_fits_lmdb(environment):
    assert ID_BYTES + THRESHOLD + 1 <= MAX_LMDB_KEY <= environment.max_key_size()
    long = [b"k" * n for n in (THRESHOLD - 1, THRESHOLD, THRESHOLD + 1, 2 * THRESHOLD, 2 * THRESHOLD + 1, 1 << 20)]
    with environment.begin(write=True) as txn:
        table = table_in(environment, txn, THRESHOLD)
        for key in reversed(long):
            table.put(key, b"%d" % len(key))
        assert [key for key, _ in table.walk(b"k", None)] == long
        assert [key for key, _ in table.walk(long[3], long[5])] == long[3:5]
        assert all(table.get(key) == b"%d" % len(key) for key in long)
        txn.abort()
