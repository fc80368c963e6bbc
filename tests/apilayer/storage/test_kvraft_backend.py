"""The store interface over a real member."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from apilayer.storage.interface import Change, FutureRevision, KeyChanged, KeyExists, RevisionCompacted

if TYPE_CHECKING:
    from apilayer.storage.kvraft_backend import KvraftStore

KEY = b"/registry/configmaps/ns/a"


async def test_create_then_get(store: KvraftStore) -> None:
    revision = await store.create(KEY, b"1")
    record, current = await store.get(KEY)
    assert record is not None
    assert (record.key, record.value, record.revision, current) == (KEY, b"1", revision, revision)
    assert await store.current_revision() == revision


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
    with trio.fail_after(5):
        async with store.watch(b"/registry/", first) as stream:
            assert len((await anext(aiter(stream))).changes) == 1
            revision = await store.create(b"elsewhere", b"1")
            await stream.request_progress()
            batch = await anext(aiter(stream))
    assert (batch.revision, list(batch.changes)) == (revision, [])


async def test_watch_of_compacted_history_ends(store: KvraftStore) -> None:
    first = await store.create(KEY, b"1")
    second = await store.update(KEY, b"2", first)
    await store.compact(second)
    with trio.fail_after(5):
        async with store.watch(b"/registry/", first) as stream:
            with pytest.raises(RevisionCompacted):
                await anext(aiter(stream))
