"""Whether the watch cache holds all that the store does: asked without a task, so that none is woken by the answer.

A read that is to be as new as the store waits for one small word of it. To wake the read's task for that word would
cost as much as all the rest of it. So its coroutine is parked instead, and whoever brings the word goes on with it.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from apilayer.storage.interface import Store
    from apilayer.storage.watch_cache import WatchCache

    Then = Callable[[bool], None]


class Freshness:
    """Asks the store for its revision, for all at once who wait for the same question.

    One question is under way at a time. Who comes meanwhile has come too late for it, and waits for the next one, which
    leaves as soon as it is answered. Where the store has told of a change that the cache has not heard of, it is
    nearly always on its way: the cache has until the next answer to take it in.
    """

    def __init__(self, store: Store, cache: WatchCache) -> None:
        self._store = store
        self._cache = cache
        self._under_way = False
        self._asked: list[Then] = []
        """Who waits for the answer to the question that is under way ..."""
        self._next: list[Then] = []
        """... to the one after it ..."""
        self._late: list[Then] = []
        """... or for the cache alone, which is to take in `_awaited`."""
        self._awaited = 0
        self._least = 0
        """The cache's revision when the question was asked: a store that knows less is not the one that it was."""

    @types.coroutine
    def confirmed(self) -> Generator[Freshness, bool | None, bool]:
        """Whether the cache holds, now, whatever the store did when this was called.

        For coroutines whose first steps are taken by hand. Who gets this object out of one is to `ask`, and to go on
        with the answer in the turn in which it comes; who cannot goes on with None, at any time.
        """
        return (yield self) is True

    def ask(self, then: Then) -> bool:
        """Has `then` called, once, later, in whose turn it may be. It must neither raise nor ask.

        False: nobody can be asked at the moment, and it is not called.
        """
        if self._under_way:
            self._next.append(then)
        elif self._question():
            self._asked.append(then)
        else:
            return False
        return True

    def advanced(self) -> None:
        """The cache has taken in more."""
        if self._late and self._cache.has(self._awaited):
            late, self._late = self._late, []
            for then in late:
                then(True)

    def _question(self) -> bool:
        self._least = self._cache.revision
        self._under_way = self._store.confirm(self._heard)
        return self._under_way

    def _heard(self, revision: int) -> None:
        """Asks for who has come meanwhile, so that the store has something to do while the others are answered."""
        self._under_way = False
        refused, asked = self._late, self._asked
        self._late, self._asked, self._next = [], self._next, []
        fresh = revision >= self._least and self._cache.has(revision)
        if not fresh and revision > self._cache.revision:
            self._late, self._awaited, asked = asked, revision, []
        if (self._late or self._asked) and not (revision and self._question()):
            refused += self._late + self._asked
            self._late, self._asked = [], []
        for then in asked:
            then(fresh)
        for then in refused:
            then(False)
