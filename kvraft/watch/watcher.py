"""One watch: what it wants, where it stands, where its batches go."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from kvraft.errors import InvalidArgument

if TYPE_CHECKING:
    from kvraft.types import WatchBatch, WatchRequest


class Sink(Protocol):
    """Where batches go. It must not block; of the hub it may call ``cancel`` alone.

    A sink may have ``prepare(part: WatchBatch, *, is_first: bool)``: it is told the parts of a very large batch as they
    are made, to encode them. Afterwards ``deliver`` gets all of it; or something else, when it has come to nothing.
    """

    def deliver(self, watcher: Watcher, batch: WatchBatch) -> bool:
        """Take ``batch``; False: full, nothing was taken, ``WatchHub.resume`` will be called."""
        ...


class WatcherState(enum.Enum):
    SYNCED = enum.auto()
    """Everything has been delivered; the next changes come as they are applied."""
    LAGGING = enum.auto()
    """Older changes are still to be read for it."""
    BLOCKED = enum.auto()
    """Its sink was full."""
    OVER = enum.auto()
    """Cancelled, or told that what it needed has been compacted."""


class WatchOptions(NamedTuple):
    """What of an event, and which events, are delivered: watchers of one range with the same share what is made."""

    prev_kv: bool = False
    no_put: bool = False
    no_delete: bool = False


class Watcher:
    """A watch of ``[key, end)``: ``end`` is b"" for the one key and None for every key from ``key`` on.

    ``next_revision``: everything below it has been delivered; on a synced watcher a lower bound.
    """

    __slots__ = (
        "end",
        "key",
        "next_revision",
        "options",
        "progress_notify",
        "quiet",
        "sink",
        "start_revision",
        "state",
    )

    def __init__(self, request: WatchRequest, sink: Sink) -> None:
        self.key = request.key or b"\0"
        self.end: bytes | None = None if request.range_end == b"\0" else request.range_end
        if self.end and self.end <= self.key:
            raise InvalidArgument("etcdserver: mvcc: watcher range is empty")
        self.options = WatchOptions(request.prev_kv, request.no_put, request.no_delete)
        self.progress_notify = request.progress_notify
        self.quiet = True
        """Whether no event has been delivered since the last time that periodic progress was due."""
        self.sink = sink
        self.start_revision = max(0, request.start_revision)
        self.next_revision = self.start_revision
        self.state = WatcherState.OVER
