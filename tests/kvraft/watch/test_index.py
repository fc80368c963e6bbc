"""Matching against a plain scan of all watchers."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kvraft.types import WatchRequest
from kvraft.watch import index as index_module
from kvraft.watch.index import WatcherIndex
from kvraft.watch.watcher import Watcher

keys = st.binary(min_size=1, max_size=2)
requests = st.builds(WatchRequest, keys, st.just(b"") | st.just(b"\0") | keys, st.just(0), st.booleans()).filter(
    lambda request: request.range_end in (b"", b"\0") or request.range_end > request.key
)
steps = st.lists(st.tuples(st.just("add"), requests) | st.tuples(st.just("remove"), st.integers(0)), max_size=60)


def wants(watcher: Watcher, key: bytes) -> bool:
    if watcher.end == b"":
        return key == watcher.key
    return key >= watcher.key and (watcher.end is None or key < watcher.end)


@settings(max_examples=150, deadline=None)
@given(steps=steps, probes=st.lists(keys, max_size=10), pending=st.integers(0, 8))
def test_match_finds_exactly_those_who_want_it(steps, probes, pending):
    before = index_module.PENDING_RANGES
    index_module.PENDING_RANGES = pending
    try:
        index = WatcherIndex()
        known: list[Watcher] = []
        for kind, argument in steps:
            if kind == "add":
                known.append(Watcher(argument, None))
                index.add(known[-1])
            elif known:
                index.remove(known.pop(argument % len(known)))
            for key in probes:
                groups = index.match(key)
                found = [watcher for group in groups for watcher in group.watchers]
                assert len(set(found)) == len(found)
                assert set(found) == {watcher for watcher in known if wants(watcher, key)}
                names = [(group.key, group.end, group.options) for group in groups]
                assert len(set(names)) == len(names), "watchers of one range and option are one group"
        assert set(index.watchers()) == set(known)
        assert bool(index) == bool(known)
    finally:
        index_module.PENDING_RANGES = before


def test_a_match_does_not_look_at_everybody():
    """Exact keys are found by hash, ranges by descending a tree: count the comparisons of groups."""
    index = WatcherIndex()
    looked_at = 0

    class Counting(bytes):
        def __le__(self, other):
            nonlocal looked_at
            looked_at += 1
            return bytes.__le__(self, other)

        __hash__ = bytes.__hash__

    for number in range(5000):
        start = Counting(b"%08d" % number)
        index.add(Watcher(WatchRequest(start), None))
        index.add(Watcher(WatchRequest(start, start + b"x"), None))
    assert len(index.match(b"00001234")) == 2
    assert looked_at < 200
