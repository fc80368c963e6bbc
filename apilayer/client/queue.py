"""A queue of keys to work on: each is in it once, is worked on by one at a time, and waits longer after each failure.

It holds no more keys than there are objects, because a key that is there already is not added.
"""

from __future__ import annotations

import heapq
import logging
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from apilayer.api.status import StatusError
from apilayer.client.interface import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    Key = TypeVar("Key", bound=Hashable)
else:
    Key = TypeVar("Key")

FIRST_RETRY_SECONDS = 0.05
MAX_RETRY_SECONDS = 60.0
RETRIES_PER_SECOND = 50.0
"""Of all keys together, so that a cluster that refuses everything is not kept busy by it."""

log = logging.getLogger("apilayer.client.queue")


class WorkQueue(Generic[Key]):
    """Keys that are due, keys that will be, and keys that somebody works on."""

    def __init__(self, clock: Callable[[], float] = trio.current_time) -> None:
        self._clock = clock
        self._due: deque[Key] = deque()
        self._waiting: set[Key] = set()
        self._busy: set[Key] = set()
        self._again: set[Key] = set()
        self._later: list[tuple[float, int, Key]] = []
        self._count = 0
        self._failures: dict[Key, int] = {}
        self._next_retry = 0.0
        self._arrived = trio.Event()

    def __len__(self) -> int:
        return len(self._due) + len(self._later)

    @property
    def idle(self) -> bool:
        """Whether nothing is due now and nobody works."""
        self._move_due()
        return not self._due and not self._busy

    def add(self, key: Key) -> None:
        """The key is to be worked on, after whoever works on it now."""
        if key in self._busy:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._due.append(key)
            self._arrived.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """The key is to be worked on some time from now; an `add` before that is not undone."""
        self._count += 1
        heapq.heappush(self._later, (self._clock() + seconds, self._count, key))
        self._arrived.set()

    def retry(self, key: Key) -> float:
        """The work on the key failed: it comes again; answers in how many seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(FIRST_RETRY_SECONDS * (1 << min(failures - 1, 20)), MAX_RETRY_SECONDS)
        now = self._clock()
        at = max(now + delay, self._next_retry)
        self._next_retry = max(self._next_retry, now) + 1 / RETRIES_PER_SECOND
        self.add_after(key, at - now)
        return at - now

    def forget(self, key: Key) -> None:
        """The work on the key succeeded: its failures are forgiven."""
        self._failures.pop(key, None)

    async def take(self) -> Key:
        """The next key that is due; to be handed back with `done`."""
        while True:
            self._move_due()
            if self._due:
                key = self._due.popleft()
                self._waiting.discard(key)
                self._busy.add(key)
                return key
            if self._arrived.is_set():
                self._arrived = trio.Event()
            with trio.move_on_at(self._later[0][0] if self._later else float("inf")):
                await self._arrived.wait()

    def done(self, key: Key) -> None:
        """Nobody works on the key any more."""
        self._busy.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _move_due(self) -> None:
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            self.add(heapq.heappop(self._later)[2])


async def work(queue: WorkQueue[Key], sync: Callable[[Key], Awaitable[None]], name: str) -> None:
    """Works on one key after the other until cancelled; what fails comes again."""
    while True:
        key = await queue.take()
        try:
            await sync(key)
            queue.forget(key)
        except (StatusError, Unavailable) as error:
            seconds = queue.retry(key)
            log.info("%s: %s: %s; again in %.2f s", name, key, error, seconds)
        except Exception:  # one object that a controller cannot handle must not end the server
            log.exception("%s: %s; again in %.2f s", name, key, queue.retry(key))
        finally:
            queue.done(key)
