"""Encoded batches: made once for all watchers of a range, and of very large ones some events at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kvraft.types import WatchBatch


class Shared:
    """``encode``, asked by one watcher after the other for the same batch."""

    __slots__ = ("_encode", "_last", "_last_batch")

    def __init__(self, encode: Callable[[WatchBatch], bytes]) -> None:
        self._encode = encode
        self._last_batch: WatchBatch | None = None
        self._last = b""

    def __call__(self, batch: WatchBatch) -> bytes:
        if self._last_batch is not batch:
            self._last_batch, self._last = batch, self._encode(batch)
        return self._last


class Preparing:
    """What a sink keeps of a very large batch, whose parts are encoded as they are made; see ``watcher.Sink``."""

    __slots__ = ("_events", "_parts", "_revision")

    def __init__(self) -> None:
        self._parts: list[bytes] | None = None
        self._revision = self._events = 0

    def add_prepared(self, part: WatchBatch, encoded: Iterable[bytes], *, is_first: bool) -> None:
        """``part`` has become ``encoded``."""
        if is_first or self._parts is None:
            self._parts, self._revision, self._events = [], part.revision, 0
        self._parts += encoded
        self._events += len(part.events)

    def take_prepared(self, batch: WatchBatch) -> list[bytes]:
        """``batch``, if that is what has been prepared, else nothing; and nothing is kept."""
        prepared, self._parts = self._parts, None
        if prepared is None or (self._revision, self._events) != (batch.revision, len(batch.events)):
            return []
        return prepared
