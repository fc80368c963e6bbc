"""The cache of one resource: state, pages, window, fan-out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilayer.api.resources import find
from apilayer.api.selectors import parse_field_selector, parse_label_selector
from apilayer.storage import resource_cache, watcher
from apilayer.storage.interface import Change, Record
from apilayer.storage.resource_cache import ResourceCache, TooOldRevision
from apilayer.storage.watcher import Selection, Watcher

CONFIGMAPS = find("", "v1", "configmaps")
assert CONFIGMAPS is not None
PREFIX = b"/registry/configmaps/"


def select(labels: str = "", fields: str = "") -> Selection:
    return Selection(parse_label_selector(labels), parse_field_selector(fields, CONFIGMAPS))


EVERYTHING = select()


def value_of(cache: ResourceCache, key: bytes, **labels: str) -> bytes:
    namespace, name = key.removeprefix(PREFIX).decode().split("/")
    return cache.codec.encode({"metadata": {"name": name, "namespace": namespace, "labels": labels}})


def put(cache: ResourceCache, key: bytes, revision: int, **labels: str) -> None:
    cache.apply(Change(key, value_of(cache, key, **labels), revision))


def drop(cache: ResourceCache, key: bytes, revision: int) -> None:
    cache.apply(Change(key, None, revision))


def loaded(revision: int = 1) -> ResourceCache:
    cache = ResourceCache(CONFIGMAPS)
    cache.load([], revision)
    return cache


def taken(watcher: Watcher) -> list[tuple[str, bytes, int]]:
    return [
        (event_type, event.key.removeprefix(PREFIX), event.shown(event_type).revision)
        for event_type, event in watcher.take(10**6)
    ]


@given(
    st.lists(
        st.tuples(st.sampled_from([b"a/x", b"a/y", b"ab/x", b"b/x", b"b/y"]), st.booleans(), st.sampled_from("01")),
        max_size=25,
    ),
    st.sampled_from(["", "l=0", "l=1", "l!=1"]),
    st.sampled_from(["", "a", "ab"]),
    st.integers(0, 25),
)
def test_watching_from_any_point_rebuilds_the_state(
    changes: list[tuple[bytes, bool, str]], labels: str, namespace: str, at: int
) -> None:
    """A list at some revision plus the events after it is the list at the end: no gap, no duplicate, in order."""
    cache = loaded()
    selection = select(labels)
    scope = PREFIX + namespace.encode() + b"/" if namespace else PREFIX
    state: dict[bytes, int] = {}
    early = at
    watcher_now: Watcher | None = None
    for index, (key, present, label) in enumerate(changes):
        if index == early:
            state = {e.key: e.revision for e in cache.entries(scope) if selection.matches(e)}
            watcher_now = cache.subscribe(scope, selection, cache.last_change)
        if present:
            put(cache, PREFIX + key, index + 2, l=label)
        else:
            drop(cache, PREFIX + key, index + 2)
    if watcher_now is None:
        return
    later = cache.subscribe(scope, selection, early + 1)
    events = [(t, e.key, e.shown(t).revision) for t, e in watcher_now.take(1000)]
    assert events == [(t, e.key, e.shown(t).revision) for t, e in later.take(1000)]
    assert [revision for _, _, revision in events] == sorted({revision for _, _, revision in events})
    for event_type, key, revision in events:
        assert (event_type == "ADDED") is (key not in state)
        if event_type == "DELETED":
            del state[key]
        else:
            state[key] = revision
    assert state == {e.key: e.revision for e in cache.entries(scope) if selection.matches(e)}


def test_pages_are_in_key_order_with_the_rest_counted() -> None:
    cache = loaded()
    for revision, key in enumerate([b"b/x", b"a/z", b"a/x", b"a/y", b"ab/x"], start=2):
        put(cache, PREFIX + key, revision)
    entries, following = cache.page(PREFIX + b"a/", b"", 2)
    assert [entry.key for entry in entries] == [PREFIX + b"a/x", PREFIX + b"a/y"]
    assert following == 1
    entries, following = cache.page(PREFIX + b"a/", PREFIX + b"a/y\0", 2)
    assert [entry.key for entry in entries] == [PREFIX + b"a/z"]
    assert following == 0
    assert len(cache.entries(PREFIX)) == 5
    assert [entry.key for entry in cache.entries(PREFIX + b"a/", PREFIX + b"a/y")] == [PREFIX + b"a/y", PREFIX + b"a/z"]


def test_leaving_and_entering_a_selector() -> None:
    cache = loaded()
    watcher = cache.subscribe(PREFIX, select("l=1"), 1)
    key = PREFIX + b"n/a"
    put(cache, key, 2, l="1")
    put(cache, key, 3, l="1", other="x")
    put(cache, key, 4, l="2")
    put(cache, key, 5, l="1")
    drop(cache, key, 6)
    assert taken(watcher) == [
        ("ADDED", b"n/a", 2),
        ("MODIFIED", b"n/a", 3),
        ("DELETED", b"n/a", 4),
        ("ADDED", b"n/a", 5),
        ("DELETED", b"n/a", 6),
    ]


def test_a_deletion_shows_the_last_matching_state_under_the_new_revision() -> None:
    cache = loaded()
    watcher = cache.subscribe(PREFIX, select("l=1"), 1)
    put(cache, PREFIX + b"n/a", 2, l="1")
    put(cache, PREFIX + b"n/a", 3, l="2")
    (_, (event_type, event)) = watcher.take(10)
    shown = event.shown(event_type).object()["metadata"]
    assert (shown["labels"], shown["resourceVersion"]) == ({"l": "1"}, "3")


def test_scopes_of_one_object_one_namespace_and_all() -> None:
    cache = loaded()
    one = cache.subscribe(PREFIX + b"a/x", EVERYTHING, 1)
    namespace = cache.subscribe(PREFIX + b"a/", EVERYTHING, 1)
    everything = cache.subscribe(PREFIX, EVERYTHING, 1)
    for revision, key in enumerate([b"a/x", b"a/xx", b"ab/x"], start=2):
        put(cache, PREFIX + key, revision)
    assert [len(taken(w)) for w in (one, namespace, everything)] == [1, 2, 3]


def test_a_revision_ahead_is_waited_for() -> None:
    cache = loaded()
    watcher = cache.subscribe(PREFIX, EVERYTHING, 3)
    for revision in (2, 3, 4):
        put(cache, PREFIX + b"n/a", revision)
    assert taken(watcher) == [("MODIFIED", b"n/a", 4)]


def test_the_window_is_bounded_by_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource_cache, "MAX_WINDOW_EVENTS", 3)
    cache = loaded()
    for revision in range(2, 7):
        put(cache, PREFIX + b"n/a", revision)
    assert cache.window_start == 3
    with pytest.raises(TooOldRevision) as caught:
        cache.subscribe(PREFIX, EVERYTHING, 2)
    assert caught.value.oldest == 3
    assert [revision for _, _, revision in taken(cache.subscribe(PREFIX, EVERYTHING, 3))] == [4, 5, 6]


def test_the_window_is_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource_cache, "MAX_WINDOW_BYTES", 250)
    cache = loaded()
    for revision in range(2, 10):
        put(cache, PREFIX + b"n/a", revision)
    assert cache.window_start > 1


def test_a_slow_watcher_is_cut_off_without_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "MAX_PENDING_EVENTS", 2)
    cache = loaded()
    slow = cache.subscribe(PREFIX, EVERYTHING, 1)
    quick = cache.subscribe(PREFIX, EVERYTHING, 1)
    seen = []
    for revision in range(2, 6):
        put(cache, PREFIX + b"n/a", revision)
        seen.extend(taken(quick))
    assert [revision for _, _, revision in seen] == [2, 3, 4, 5]
    assert slow.overflowed
    assert not slow.finished
    assert [revision for _, _, revision in taken(slow)] == [2, 3]
    assert slow.finished
    put(cache, PREFIX + b"n/a", 6)  # there would be room again
    assert slow.finished


def test_a_reload_ends_the_watchers() -> None:
    cache = loaded()
    watching = cache.subscribe(PREFIX, EVERYTHING, 1)
    put(cache, PREFIX + b"n/a", 2)
    cache.load([Record(PREFIX + b"n/b", value_of(cache, PREFIX + b"n/b"), 5)], 7)
    assert [revision for _, _, revision in taken(watching)] == [2]
    assert watching.finished
    assert [entry.key for entry in cache.entries(PREFIX)] == [PREFIX + b"n/b"]
    with pytest.raises(TooOldRevision):
        cache.subscribe(PREFIX, EVERYTHING, 6)
    cache.unsubscribe(PREFIX, watching)


def test_unreadable_values_are_left_out_and_named() -> None:
    cache = loaded()
    cache.apply(Change(PREFIX + b"n/bad", b"\xff", 2))
    assert list(cache.corrupt) == [PREFIX + b"n/bad"]
    assert len(cache) == 0
    put(cache, PREFIX + b"n/bad", 3)
    assert not cache.corrupt
    assert len(cache) == 1


async def test_waiting_ends_with_an_event_or_the_end() -> None:
    cache = loaded()
    watching = cache.subscribe(PREFIX, EVERYTHING, 1)
    put(cache, PREFIX + b"n/a", 2)
    await watching.wait()
    watching.take(1)
    watching.close()
    await watching.wait()
    assert watching.finished
    put(cache, PREFIX + b"n/a", 3)
    assert watching.finished
