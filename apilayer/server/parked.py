"""Requests whose first steps are taken by hand, so that one that waits for `Freshness` alone can be parked.

A parked request's connection waits for the next one meanwhile, as if it had answered.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from apilayer.storage.freshness import Freshness

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

    from apilayer.pipeline.request import Headers, Request, Response
    from apilayer.server.h1_parser import Incoming

T = TypeVar("T")


class Parked(msgspec.Struct, eq=False):
    """A request that has been answered as far as can be without knowing what is fresh."""

    incoming: Incoming
    request: Request
    answering: Coroutine[Any, Any, tuple[Response, Headers]]
    freshness: Freshness

    def finish(self) -> tuple[Response, Headers]:
        """The answer, made in this turn, now that the cache is known to be fresh."""
        answering = self.answering
        try:
            answering.send(True)
            # Whoever waits after it was parked has got it wrong; the pipeline logs this and answers 500.
            answering.throw(RuntimeError("a parked request waits"))
        except StopIteration as done:
            answer: tuple[Response, Headers] = done.value
            return answer
        raise RuntimeError("a parked request waits, and again")


@types.coroutine
def going_on(answering: Coroutine[Any, Any, T], waits_for: object) -> Generator[Any, Any, T]:
    """Awaits the rest of a coroutine that has been started by hand; `waits_for` is what came out of it last.

    What is fresh is not asked here: that is for parked requests.
    """
    while True:
        try:
            if type(waits_for) is Freshness:
                waits_for = answering.send(None)
                continue
            try:
                woken = yield waits_for
            except BaseException as error:  # all that a task may be woken with
                waits_for = answering.throw(error)
            else:
                waits_for = answering.send(woken)
        except StopIteration as done:
            found: T = done.value
            return found
