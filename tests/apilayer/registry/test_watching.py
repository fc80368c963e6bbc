"""Watches: where they start and what they show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from apilayer.api.status import StatusError
from apilayer.registry import watching
from apilayer.registry.options import DeleteOptions, ListOptions, WriteOptions
from apilayer.storage import resource_cache

if TYPE_CHECKING:
    from apilayer.registry.registry import Registry
    from apilayer.registry.watching import Watch


async def make(registry: Registry, name: str, namespace: str = "default") -> int:
    obj = {"metadata": {"name": name, "labels": {"l": name}}}
    return (await registry.create(registry.of("configmaps"), namespace, obj, WriteOptions())).revision


async def opened(registry: Registry, name: str = "", **options: object) -> Watch:
    wanted = ListOptions(watch=True, **options)  # type: ignore[arg-type]
    return await registry.of("configmaps").watches.open("default", name, wanted)


def initial(watch: Watch) -> list[str]:
    return [entry.object()["metadata"]["name"] for entry in watch.initial]


async def following(watch: Watch, count: int) -> list[tuple[str, str]]:
    seen: list[tuple[str, str]] = []
    with trio.fail_after(5):
        while len(seen) < count:
            batch = await watch.next_batch()
            assert batch is not None
            seen.extend((kind, event.shown(kind).object()["metadata"]["name"]) for kind, event in batch)
    return seen


@pytest.mark.parametrize("version", ["", "0"])
async def test_the_present_state_then_what_follows(registry: Registry, version: str) -> None:
    await make(registry, "a")
    await registry.of("configmaps").lists.refresh()
    watch = await opened(registry, resource_version=version)
    assert initial(watch) == ["a"]
    await make(registry, "b")
    await registry.of("configmaps").store.delete("default", "a", DeleteOptions())
    assert await following(watch, 2) == [("ADDED", "b"), ("DELETED", "a")]
    watch.close()
    watch.close()


async def test_from_a_revision(registry: Registry) -> None:
    revision = await make(registry, "a")
    await make(registry, "b")
    await make(registry, "c", "kube-system")
    await registry.of("configmaps").lists.refresh()
    watch = await opened(registry, resource_version=str(revision))
    assert initial(watch) == []
    assert await following(watch, 1) == [("ADDED", "b")]


async def test_a_revision_that_left_the_window(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource_cache, "MAX_WINDOW_EVENTS", 2)
    revision = await make(registry, "a")
    for name in "bcde":
        await make(registry, name)
    await registry.of("configmaps").lists.refresh()
    watch = await opened(registry, resource_version=str(revision))
    assert watch.failure is not None
    assert watch.failure.code == 410
    assert str(watch.failure).startswith(f"too old resource version: {revision} (")
    assert await watch.next_batch() is None


async def test_one_object(registry: Registry) -> None:
    await make(registry, "a")
    await make(registry, "b")
    by_selector = await opened(registry, field_selector="metadata.name=a")
    by_path = await opened(registry, "a")
    assert initial(by_selector) == initial(by_path) == ["a"]
    absent = await opened(registry, "a", field_selector="metadata.name=b")
    assert initial(absent) == []


async def test_streamed_lists(registry: Registry) -> None:
    revision = await make(registry, "a")
    listed = {"send_initial_events": True, "resource_version_match": "NotOlderThan"}
    watch = await opened(registry, allow_bookmarks=True, **listed)
    assert (initial(watch), watch.end_bookmark) == (["a"], True)
    assert watch.start_revision >= revision
    assert not (await opened(registry, **listed)).end_bookmark
    quiet = await opened(registry, send_initial_events=False, resource_version_match="NotOlderThan")
    assert initial(quiet) == []


async def test_bookmarks_come_in_time_and_before_the_end(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "BOOKMARK_INTERVAL_SECONDS", 0.01)
    revision = await make(registry, "a", "kube-system")
    await registry.of("configmaps").lists.refresh()
    watch = await opened(registry, allow_bookmarks=True)
    with trio.fail_after(5):
        assert await watch.next_batch() == []
    assert watch.bookmark_revision >= revision
    monkeypatch.setattr(watching, "BOOKMARK_BEFORE_END_SECONDS", 0.99)
    short = await opened(registry, allow_bookmarks=True, timeout_seconds=1)
    with trio.fail_after(5):
        assert await short.next_batch() == []


async def test_the_time_of_a_watch_is_bounded(registry: Registry) -> None:
    watch = await opened(registry, timeout_seconds=1)
    with trio.fail_after(5):
        assert await watch.next_batch() is None


async def test_closing_the_cache_ends_a_watch_after_its_events(registry: Registry) -> None:
    watch = await opened(registry)
    await make(registry, "a")
    await registry.of("configmaps").lists.refresh()
    for watcher in registry.cache.watchers():
        watcher.close()
    assert await following(watch, 1) == [("ADDED", "a")]
    assert await watch.next_batch() is None


async def test_bad_options(registry: Registry) -> None:
    with pytest.raises(StatusError) as caught:
        await opened(registry, resource_version="x")
    assert caught.value.code == 500
    with pytest.raises(StatusError) as caught:
        await opened(registry, field_selector="data.x=1")
    assert caught.value.code == 400
    with pytest.raises(StatusError) as caught:
        await opened(registry, resource_version_match="NotOlderThan")
    assert caught.value.code == 422
