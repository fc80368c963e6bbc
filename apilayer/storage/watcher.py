"""One subscriber of the watch cache: which events concern it, and a bounded queue of those it has yet to send.

Synchronous except for waiting. The cache offers every event of the subscriber's scope; matching happens here.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from apilayer.api.selectors import FieldSelector, LabelSelector
    from apilayer.storage.codec import Entry
    from apilayer.storage.deliveries import Deliveries

EventType = Literal["ADDED", "MODIFIED", "DELETED"]

MAX_PENDING_EVENTS = 8192
MAX_PENDING_BYTES = 32 * 1024 * 1024
FOR_EVER = 2**63
"""No revision is this high."""
STALL_SECONDS = 5.0
"""How long a peer whose queue has overflowed may take for what is being sent to it."""
MAX_DELIVERED_EVENTS = 256
MAX_DELIVERED_BYTES = 64 * 1024
"""More is sent by the watcher's own task, which gives others their turn."""

log = logging.getLogger("apilayer.storage.watcher")


class CachedEvent:
    """One change of one object. `entry` is the new state, None for a deletion; `previous` None for a create.

    `lines` holds the encoded watch lines by type and form, so that each is made once for all watchers.
    """

    __slots__ = ("_gone", "entry", "key", "lines", "previous", "revision", "size")

    def __init__(self, key: bytes, revision: int, entry: Entry | None, previous: Entry | None) -> None:
        self.key = key
        self.revision = revision
        self.entry = entry
        self.previous = previous
        self.lines: dict[object, bytes] = {}
        self.size = len(entry.item if entry else previous.item if previous else b"")
        self._gone: Entry | None = None

    @property
    def gone(self) -> Entry:
        """The last state before the change under the change's revision: what a DELETED event shows."""
        if self._gone is None:
            assert self.previous is not None
            self._gone = self.previous.at(self.revision)
        return self._gone

    def shown(self, event_type: EventType) -> Entry:
        """The state that an event of this type carries."""
        if event_type == "DELETED":
            return self.gone
        assert self.entry is not None
        return self.entry


Item = tuple[EventType, CachedEvent]
"""An event and what it is to who watches."""


class Selection:
    """The label and field selector of a list or watch; `everything` when neither restricts.

    Equal ones select the same.
    """

    __slots__ = ("everything", "fields", "labels")

    def __init__(self, labels: LabelSelector, fields: FieldSelector) -> None:
        self.labels = labels
        self.fields = fields
        self.everything = labels.empty and fields.empty

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selection) and (self.labels, self.fields) == (other.labels, other.fields)

    def __hash__(self) -> int:
        return hash((self.labels, self.fields))

    def matches(self, entry: Entry) -> bool:
        """Whether the entry's object is selected."""
        if not self.labels.empty and not self.labels.matches(entry.labels):
            return False
        return self.fields.empty or self.fields.matches(entry.selectable)

    def among(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Those of the entries that are selected; each term is asked about what the former ones have left."""
        for requirement in self.labels.requirements:
            selected = requirement.predicate()
            entries = [entry for entry in entries if selected(entry.labels)]
        for fits in self.fields.predicates():
            entries = [entry for entry in entries if fits(entry.selectable)]
        return entries

    def event_type(self, event: CachedEvent) -> EventType | None:
        """What the event is to somebody who sees only the selected objects; None: nothing."""
        entry, previous = event.entry, event.previous
        is_in = entry is not None and (self.everything or self.matches(entry))
        was_in = previous is not None and (self.everything or self.matches(previous))
        if is_in:
            return "MODIFIED" if was_in else "ADDED"
        return "DELETED" if was_in else None


class Watcher:
    """A bounded queue of (type, event). Too slow a reader is cut off after what it already has: never a gap.

    The reader's task waits for events, or names a function that sends them while the task waits.
    """

    __slots__ = (
        "__weakref__",
        "_bytes",
        "_deaf_until",
        "_deliver",
        "_deliveries",
        "_due",
        "_queue",
        "_waiting",
        "after",
        "closed",
        "held_up",
        "overflowed",
        "selection",
        "stalled_scope",
    )

    def __init__(self, selection: Selection, backlog: Iterable[CachedEvent], after: int) -> None:
        self.selection = selection
        self.after = after
        """Only events after this revision are of interest; it may lie ahead of the cache."""
        self._deaf_until = after
        """Events up to this revision are not taken in."""
        self.overflowed = False
        self.closed = False
        self.held_up = False
        """What was delivered last has not gone whole: the reader's task has to see to the rest."""
        self.stalled_scope: trio.CancelScope | None = None
        """Set by the sender while it sends, so that a peer that takes nothing can be let go."""
        self._queue: list[Item] = []  # mostly empty, and taken whole: a deque is twelve times as large
        self._bytes = 0
        self._waiting: trio.lowlevel.Task | None = None
        self._deliveries: Deliveries | None = None
        self._deliver: Callable[[list[Item]], bool]
        self._due = False
        for event in backlog:
            event_type = selection.event_type(event)
            if event_type is not None:
                self._queue.append((event_type, event))

    @staticmethod
    def offer(item: Item, watchers: Iterable[Watcher]) -> None:
        """Queues an event for all of the watchers, whose selection lets it through, to whom it is not too old.

        One loop for all: to many watchers this is most of what an event costs that is sent together with others.
        """
        revision, size = item[1].revision, item[1].size
        for watcher in watchers:
            if revision <= watcher._deaf_until:
                continue
            queue = watcher._queue
            if len(queue) >= MAX_PENDING_EVENTS or watcher._bytes > MAX_PENDING_BYTES:
                watcher._overflow()
                continue
            queue.append(item)
            watcher._bytes += size
            if not watcher._due and watcher._waiting is not None:
                watcher._announce()

    def _overflow(self) -> None:
        self.overflowed = True
        self._deaf_until = FOR_EVER
        if self.stalled_scope is not None:
            self.stalled_scope.deadline = trio.current_time() + STALL_SECONDS
        self.wake()

    def _announce(self) -> None:
        """There is something for who waits."""
        if self._deliveries is None:
            self.wake()
        else:
            self._due = True
            self._deliveries.add(self)

    def close(self) -> None:
        """Ends the watch cleanly once its queue is drained."""
        self.closed = True
        self._deaf_until = FOR_EVER
        self.wake()

    def wake(self) -> None:
        """Has who waits look again."""
        if self._waiting is not None:
            trio.lowlevel.reschedule(self._waiting)
            self._waiting = None

    @property
    def finished(self) -> bool:
        """Whether nothing will come any more."""
        return (self.closed or self.overflowed) and not self._queue

    def take(self, limit: int) -> list[Item]:
        """Up to `limit` queued events, oldest first, without waiting."""
        queue = self._queue
        taken = queue[:limit]
        del queue[:limit]
        self._bytes = max(0, self._bytes - sum(event.size for _, event in taken)) if queue else 0
        self.held_up = False
        return taken

    @property
    def pending(self) -> int:
        """How many events wait to be taken."""
        return len(self._queue)

    async def wait(self) -> None:
        """Returns once there is something to take, the watch has ended or it was woken. For one task at a time."""
        if self._queue or self.closed or self.overflowed:
            return
        self._waiting = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._waiting = None
        return trio.lowlevel.Abort.SUCCEEDED

    # ------------------------------------------------------------------ without a task switch

    def deliver_by(self, deliveries: Deliveries, deliver: Callable[[list[Item]], bool]) -> None:
        """From now on `deliver` sends what comes while the task waits; False: some of it is yet to go.

        It must not have sent anything when it raises.
        """
        self._deliveries = deliveries
        self._deliver = deliver

    def deliver(self) -> None:
        """Sends what there is, if the task still waits; has the task do it where it is much, or fails."""
        self._due = False
        queue = self._queue
        if self._waiting is None or not queue:
            return
        if self._bytes > MAX_DELIVERED_BYTES or len(queue) > MAX_DELIVERED_EVENTS:
            self.wake()
            return
        try:
            gone = self._deliver(queue)
        except Exception:  # the task meets it again, where it ends one connection and not all
            log.debug("events could not be delivered", exc_info=True)
            self.wake()
            return
        self._queue, self._bytes = [], 0
        if not gone:
            self.held_up = True
            self.wake()
