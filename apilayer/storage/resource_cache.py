"""The cached state of one resource: objects in key order, a window of recent events, and who watches them.

Synchronous: `WatchCache` feeds it, readers look at it between two checkpoints.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from itertools import dropwhile, takewhile
from typing import TYPE_CHECKING

from apilayer.storage.codec import Codec, CorruptObject, Entry
from apilayer.storage.watcher import CachedEvent, Selection, Watcher
from kvraft.types import prefix_end

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from apilayer.api.resources import Resource
    from apilayer.storage.interface import Change, Record

MAX_WINDOW_EVENTS = 16_384
MAX_WINDOW_BYTES = 64 * 1024 * 1024

_NOBODY: dict[Selection, dict[Watcher, None]] = {}


class TooOldRevision(Exception):
    """The events after the revision asked for are no longer in the window that starts at `oldest`."""

    def __init__(self, oldest: int) -> None:
        super().__init__(f"window starts at {oldest}")
        self.oldest = oldest


class ResourceCache:
    """Current objects and recent events of one resource."""

    def __init__(self, resource: Resource) -> None:
        self.codec = Codec(resource)
        self.resource = resource
        self.prefix = resource.key_prefix.encode()
        self.corrupt: dict[bytes, str] = {}
        """Keys whose values cannot be read, with the reason."""
        self.last_change = 0
        """The revision of the latest event, or of the load when there was none since."""
        self.window_start = 0
        """Every event after this revision is in the window."""
        self.size_bytes = 0
        """What all objects take as JSON."""
        self.received = 0
        """Changes that were taken in."""
        self.loads = 0
        self.unresponsive = 0
        """Watchers that were let go because they took too little."""
        self._entries: dict[bytes, Entry] = {}
        self._keys: list[bytes] = []
        self._window: deque[CachedEvent] = deque()
        self._window_bytes = 0
        self._watchers: dict[bytes, dict[Selection, dict[Watcher, None]]] = {}
        """By scope and selection: what an event is to them is found out once for all of a group."""

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, records: Iterable[Record], revision: int) -> None:
        """Replaces everything by the state at `revision`. Watchers end: they cannot know what they missed."""
        for watcher in list(self.watchers()):
            watcher.close()
        self._watchers.clear()
        self._window.clear()
        self._window_bytes = 0
        self.corrupt.clear()
        self._entries = {}
        for record in records:
            entry = self._read(record.key, record.value, record.revision)
            if entry is not None:
                self._entries[record.key] = entry
        self._keys = sorted(self._entries)
        self.size_bytes = sum(len(entry.item) for entry in self._entries.values())
        self.last_change = self.window_start = revision
        self.loads += 1

    def apply(self, change: Change) -> None:
        """Takes in one change and hands it to the watchers that it concerns."""
        key = change.key
        previous = self._entries.get(key)
        if change.value is None:
            self.corrupt.pop(key, None)
        entry = None if change.value is None else self._read(key, change.value, change.revision)
        if entry is not None:
            if previous is None:
                insort(self._keys, key)
            self._entries[key] = entry
            self.size_bytes += len(entry.item)
        elif previous is not None:
            del self._entries[key]
            del self._keys[bisect_left(self._keys, key)]
        if previous is not None:
            self.size_bytes -= len(previous.item)
        self.last_change = change.revision
        self.received += 1
        if entry is None and previous is None:
            return
        event = CachedEvent(key, change.revision, entry, previous)
        self._remember(event)
        if self._watchers:
            self._fan_out(event)

    def _read(self, key: bytes, value: bytes, revision: int) -> Entry | None:
        try:
            entry = self.codec.entry(key, value, revision)
        except CorruptObject as error:
            self.corrupt[key] = str(error)
            return None
        self.corrupt.pop(key, None)
        return entry

    def _remember(self, event: CachedEvent) -> None:
        self._window.append(event)
        self._window_bytes += event.size
        while len(self._window) > MAX_WINDOW_EVENTS or self._window_bytes > MAX_WINDOW_BYTES:
            oldest = self._window.popleft()
            self._window_bytes -= oldest.size
            self.window_start = oldest.revision

    def _fan_out(self, event: CachedEvent) -> None:
        key = event.key
        namespace_end = key.rfind(b"/") + 1
        for scope in {self.prefix, key[:namespace_end], key}:
            for selection, watchers in self._watchers.get(scope, _NOBODY).items():
                event_type = selection.event_type(event)
                if event_type is not None:
                    Watcher.offer((event_type, event), watchers)

    # ------------------------------------------------------------------ reading

    def get(self, key: bytes) -> Entry | None:
        """The cached state of one key."""
        return self._entries.get(key)

    def entries(self, prefix: bytes = b"", start: bytes = b"") -> list[Entry]:
        """Every entry under `prefix` (all of them for the empty one) from key `start` on, in key order."""
        keys = self._keys
        if not prefix:
            return [self._entries[key] for key in keys]
        low, high = bisect_left(keys, max(prefix, start)), bisect_left(keys, prefix_end(prefix))
        return [self._entries[key] for key in keys[low:high]]

    def page(self, prefix: bytes, start: bytes, limit: int) -> tuple[list[Entry], int]:
        """The first `limit` entries under `prefix` from key `start` on, and how many keys follow them."""
        keys = self._keys
        low, high = bisect_left(keys, max(prefix, start)), bisect_left(keys, prefix_end(prefix))
        shown = keys[low : min(high, low + limit)]
        return [self._entries[key] for key in shown], high - low - len(shown)

    def since(self, revision: int) -> list[CachedEvent] | None:
        """Every event after `revision`, oldest first; None when some of them have left the window."""
        if revision < self.window_start:
            return None
        found = list(takewhile(lambda event: event.revision > revision, reversed(self._window)))
        found.reverse()
        return found

    # ------------------------------------------------------------------ watching

    def watchers(self) -> Iterator[Watcher]:
        """Every open watcher of the resource."""
        for scoped in self._watchers.values():
            for watchers in scoped.values():
                yield from watchers

    def watched(self, namespace: str, name: str) -> int:
        """How many watchers an event of this object would concern, as far as their scopes tell; name "": a new one."""
        if not self._watchers:
            return 0
        scopes = {self.prefix}
        inside = self.prefix + namespace.encode() + b"/" if namespace else self.prefix
        scopes.add(inside)
        if name:
            scopes.add(inside + name.encode())
        return sum(len(watchers) for scope in scopes for watchers in self._watchers.get(scope, _NOBODY).values())

    def subscribe(self, scope: bytes, selection: Selection, after: int) -> Watcher:
        """A watcher of events after revision `after` in `scope`: a key, or a prefix of one namespace or all.

        Raises TooOldRevision when events after `after` have left the window.
        """
        if after < self.window_start:
            raise TooOldRevision(self.window_start)
        watcher = Watcher(selection, self._events_after(after, scope), after)
        self._watchers.setdefault(scope, {}).setdefault(selection, {})[watcher] = None
        return watcher

    def unsubscribe(self, scope: bytes, watcher: Watcher) -> None:
        """Forgets the watcher; unknown ones are ignored, because a reload has dropped them already."""
        if watcher.overflowed:
            self.unresponsive += 1
        scoped = self._watchers.get(scope, _NOBODY)
        group = scoped.get(watcher.selection)
        if group is not None:
            group.pop(watcher, None)
            if not group:
                del scoped[watcher.selection]
            if not scoped:
                del self._watchers[scope]

    def _events_after(self, after: int, scope: bytes) -> Sequence[CachedEvent]:
        if after >= self.last_change or not self._window:
            return ()
        exact = not scope.endswith(b"/")
        newer = dropwhile(lambda event: event.revision <= after, self._window)
        if exact:
            return [event for event in newer if event.key == scope]
        return [event for event in newer if event.key.startswith(scope)]
