"""The watch cache over a real member."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from apilayer.api.resources import RESOURCES, find
from apilayer.api.selectors import parse_field_selector, parse_label_selector
from apilayer.storage import watch_cache
from apilayer.storage.watch_cache import WatchCache
from apilayer.storage.watcher import Selection

if TYPE_CHECKING:
    import pytest

    from apilayer.storage.kvraft_backend import KvraftStore

CONFIGMAPS = find("", "v1", "configmaps")
assert CONFIGMAPS is not None
EVERYTHING = Selection(parse_label_selector(""), parse_field_selector("", CONFIGMAPS))
VALUE = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x"}}'


def key(name: str) -> bytes:
    return f"/registry/configmaps/n/{name}".encode()


async def test_loads_then_follows(store: KvraftStore, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_cache, "LOAD_PAGE_RECORDS", 2)
    for index in range(5):
        await store.create(key(str(index)), VALUE)
    await store.create(b"/registry/unknown/n/x", b"not ours")
    cache = WatchCache(store, RESOURCES)
    assert not cache.synced
    nursery.start_soon(cache.run)
    with trio.fail_after(5):
        await cache.loaded.wait()
        assert len(cache.of(CONFIGMAPS)) == 5
        revision = await store.create(key("new"), VALUE)
        assert await cache.wait_for(revision, 5)
    assert cache.synced
    assert cache.of(CONFIGMAPS).last_change == revision
    assert cache.statistics()["configmaps"] == 6


async def test_a_quiet_prefix_catches_up_by_progress(store: KvraftStore, nursery: trio.Nursery) -> None:
    cache = WatchCache(store, RESOURCES)
    nursery.start_soon(cache.run)
    with trio.fail_after(5):
        await cache.loaded.wait()
        revision = await store.create(b"/elsewhere", b"1")
        assert await cache.wait_for(revision, 5)
    assert cache.revision >= revision


async def test_a_revision_ahead_is_given_up(store: KvraftStore, nursery: trio.Nursery) -> None:
    cache = WatchCache(store, RESOURCES)
    nursery.start_soon(cache.run)
    await cache.loaded.wait()
    assert not await cache.wait_for(cache.revision + 100, 0.05)


async def test_a_closed_cache_ends_its_watches(store: KvraftStore, nursery: trio.Nursery) -> None:
    cache = WatchCache(store, RESOURCES)
    nursery.start_soon(cache.run)
    await cache.loaded.wait()
    watching = cache.of(CONFIGMAPS).subscribe(b"/registry/configmaps/", EVERYTHING, cache.revision)
    for watching in cache.watchers():
        watching.close()
    assert watching.finished
