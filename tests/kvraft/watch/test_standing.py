"""Where watchers stand: a step finds those whom it serves, and touches no other."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kvraft.types import WatchRequest
from kvraft.watch.standing import Standing
from kvraft.watch.watcher import Watcher


class Nowhere:
    def deliver(self, watcher, batch) -> bool:
        raise AssertionError


def watcher(revision: int) -> Watcher:
    return Watcher(WatchRequest(b"k", start_revision=revision), Nowhere())


@settings(max_examples=100)
@given(
    st.lists(st.integers(1, 9), max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.integers(1, 9), st.integers(1, 9)), max_size=12),
)
def test_those_within_are_found_whatever_has_moved(starts, moves):
    standing = Standing()
    watchers = [watcher(start) for start in starts]
    for each in watchers:
        standing.add(each)
    for place, revision, high in moves:
        if place < len(watchers):
            if revision == high:
                standing.remove(watchers.pop(place))
            else:
                standing.move(watchers[place], revision)
        found = standing.within(revision, high)
        assert {id(each) for each in found} == {id(each) for each in watchers if revision <= each.next_revision <= high}
        assert [each.next_revision for each in found] == sorted(each.next_revision for each in found)


class Counted(Watcher):
    """Counts how often anybody asks where it stands."""

    __slots__ = ()
    looks = 0

    def __getattribute__(self, name: str):
        if name == "next_revision":
            Counted.looks += 1
        return super().__getattribute__(name)


def test_who_stands_elsewhere_costs_nothing():
    standing = Standing()
    for revision in range(1000):
        standing.add(Counted(WatchRequest(b"k", start_revision=100 + revision), Nowhere()))
    behind = watcher(5)
    standing.add(behind)
    Counted.looks = 0
    assert standing.within(5, 50) == [behind]
    standing.move(behind, 51)
    assert Counted.looks == 0
