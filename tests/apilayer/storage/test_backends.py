"""What is promised of a store, on every backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from apilayer.storage.interface import Change, FutureRevision, KeyChanged, KeyExists, RevisionCompacted
from apilayer.storage.prefix import Prefix
from tests.apilayer.storage.backends import ON_A_STORE

if TYPE_CHECKING:
    from apilayer.storage.kvraft_backend import KvraftStore

KEY = b"/registry/configmaps/ns/a"


async def test_create_then_get(store: KvraftStore) -> None:
    revision = await store.create(KEY, b"1")
    record, current = await store.get(KEY)
    assert record is not None
    assert (record.key, record.value, record.revision, current) == (KEY, b"1", revision, revision)
    assert await store.current_revision() == revision


async def test_the_revision_is_told_without_a_task(store: KvraftStore) -> None:
    told: list[int] = []
    await store.current_revision()  # who has never been asked has no connection yet
    for _ in range(3):
        revision = await store.create(KEY, b"1")
        assert store.confirm(told.append)
        await store.delete(KEY, revision)
        assert store.confirm(told.append)
    with trio.fail_after(5):
        while len(told) < 6:
            await store.current_revision()
    assert told[-1] == await store.current_revision()
    assert (len(told), told) == (6, sorted(told))


async def test_absent_key(store: KvraftStore) -> None:
    record, revision = await store.get(KEY)
    assert record is None
    assert revision == await store.current_revision()


async def test_create_of_a_taken_key_tells_what_is_there(store: KvraftStore) -> None:
    revision = await store.create(KEY, b"1")
    with pytest.raises(KeyExists) as caught:
        await store.create(KEY, b"2")
    assert (caught.value.current.value, caught.value.current.revision) == (b"1", revision)


async def test_update_swaps_only_at_the_revision(store: KvraftStore) -> None:
    first = await store.create(KEY, b"1")
    second = await store.update(KEY, b"2", first)
    assert second > first
    with pytest.raises(KeyChanged) as caught:
        await store.update(KEY, b"3", first)
    assert caught.value.current is not None
    assert caught.value.current.value == b"2"


async def test_delete_swaps_only_at_the_revision(store: KvraftStore) -> None:
    first = await store.create(KEY, b"1")
    with pytest.raises(KeyChanged):
        await store.delete(KEY, first + 1)
    await store.delete(KEY, first)
    with pytest.raises(KeyChanged) as caught:
        await store.delete(KEY, first)
    assert caught.value.current is None


async def test_list_pages_at_one_revision(store: KvraftStore) -> None:
    for name in (b"a", b"b", b"c"):
        await store.create(b"/registry/x/" + name, name)
    await store.create(b"/registry/y/z", b"other")
    page = await store.list(b"/registry/x/", limit=2)
    assert [record.value for record in page.records] == [b"a", b"b"]
    assert page.remaining == 1
    await store.create(b"/registry/x/bb", b"late")
    rest = await store.list(b"/registry/x/", start=page.records[-1].key + b"\0", revision=page.revision)
    assert [record.value for record in rest.records] == [b"c"]
    assert rest.revision == page.revision
    assert rest.remaining == 0


async def test_revisions_out_of_reach(store: KvraftStore) -> None:
    revision = await store.create(KEY, b"1")
    with pytest.raises(FutureRevision):
        await store.list(b"/registry/", revision=revision + 100)
    second = await store.update(KEY, b"2", revision)
    await store.compact(second)
    with pytest.raises(RevisionCompacted):
        await store.list(b"/registry/", revision=revision)
    with pytest.raises(RevisionCompacted):
        await store.compact(revision)


async def test_watch_from_a_revision(store: KvraftStore) -> None:
    first = await store.create(KEY, b"1")
    second = await store.update(KEY, b"2", first)
    third = await store.delete(KEY, second)
    seen: list[Change] = []
    with trio.fail_after(5):
        async with store.watch(b"/registry/", second) as stream:
            async for batch in stream:
                seen.extend(batch.changes)
                if batch.revision >= third:
                    break
    assert seen == [Change(KEY, b"2", second), Change(KEY, None, third)]


async def test_progress_without_changes(store: KvraftStore) -> None:
    first = await store.create(KEY, b"1")
    with trio.fail_after(10):
        async with store.watch(b"/registry/", first) as stream:
            assert len((await anext(aiter(stream))).changes) == 1
            revision = await store.create(b"elsewhere", b"1")
            reached = 0
            while reached < revision:
                await stream.request_progress()
                with trio.move_on_after(0.02):
                    batch = await anext(aiter(stream))
                    reached = batch.revision
    assert KEY not in [change.key for change in batch.changes]


async def test_watch_of_compacted_history_ends(store: KvraftStore) -> None:
    first = await store.create(KEY, b"1")
    second = await store.update(KEY, b"2", first)
    await store.compact(second)
    with trio.fail_after(5):
        async with store.watch(b"/registry/", first) as stream:
            with pytest.raises(RevisionCompacted):
                await anext(aiter(stream))


@pytest.mark.parametrize("store", ON_A_STORE, indirect=True)
async def test_another_prefix_holds_the_same_keys_elsewhere(store: KvraftStore) -> None:
    other = type(store)(store._client, Prefix("cluster/one/"))
    first = await store.create(KEY, b"default")
    second = await other.create(KEY, b"other")
    raw, _ = await store.get(b"/cluster/one/configmaps/ns/a")
    assert raw is not None
    assert (raw.value, raw.revision) == (b"other", second)
    record, _ = await other.get(KEY)
    assert record is not None
    assert (record.key, record.value) == (KEY, b"other")
    assert [each.key for each in (await other.list(b"/registry/", start=KEY)).records] == [KEY]
    with pytest.raises(KeyExists) as caught:
        await other.create(KEY, b"again")
    assert caught.value.current.key == KEY
    third = await other.update(KEY, b"changed", second)
    with trio.fail_after(10):
        async with other.watch(b"/registry/", first) as stream:
            seen: list[Change] = []
            while len(seen) < 2:
                seen += (await anext(aiter(stream))).changes
    assert seen == [Change(KEY, b"other", second), Change(KEY, b"changed", third)]
    await other.delete(KEY, third)
    assert (await store.get(KEY))[0] is not None


@pytest.mark.parametrize(("prefix", "key"), [("/registry", KEY), ("", b"/configmaps/ns/a"), ("/", b"/configmaps/ns/a")])
def test_prefixes(prefix: str, key: bytes) -> None:
    assert Prefix(prefix).outer(KEY) == key
    assert Prefix(prefix).inner(key) == KEY
    assert Prefix(prefix).outer(b"compact_rev_key") == b"compact_rev_key"
