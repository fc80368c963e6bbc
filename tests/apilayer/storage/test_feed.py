"""A feed tells everything once, whatever happens to the cache between two questions."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from apilayer.api.resources import find
from apilayer.storage import resource_cache
from apilayer.storage.feed import Feed
from apilayer.storage.interface import Change, Record
from apilayer.storage.resource_cache import ResourceCache

CONFIGMAPS = find("", "v1", "configmaps")
assert CONFIGMAPS is not None

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abc")),
        st.tuples(st.just("drop"), st.sampled_from("abc")),
        st.tuples(st.just("load"), st.sampled_from("abc")),
        st.tuples(st.just("ask"), st.just("")),
    ),
    max_size=20,
)


def value(cache: ResourceCache, name: str) -> bytes:
    return cache.codec.encode({"metadata": {"name": name, "namespace": "n"}})


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_who_follows_knows_what_the_cache_has(steps: list[tuple[str, str]]) -> None:
    """With a window that holds three events, so that some are missed."""
    assert CONFIGMAPS is not None
    cache, known = ResourceCache(CONFIGMAPS), {}
    feed, revision = Feed(cache), 0
    with patch.object(resource_cache, "MAX_WINDOW_EVENTS", 3):
        for step, name in [*steps, ("ask", "")]:
            key, revision = cache.prefix + f"n/{name}".encode(), revision + 1
            if step == "put":
                cache.apply(Change(key, value(cache, name), revision))
            elif step == "drop":
                cache.apply(Change(key, None, revision))
            elif step == "load":
                cache.load([Record(key, value(cache, name), revision)], revision)
            elif (news := feed.news()) is not None:
                if news.anew:
                    known.clear()
                for path, entry in news.objects:
                    known[path] = entry
                    if entry is None:
                        del known[path]
                assert known == {f"n/{entry.object()['metadata']['name']}": entry for entry in cache.entries()}
        assert feed.news() is None, "nothing is told twice"
