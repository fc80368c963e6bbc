"""A range read in bounded steps: what to show of it, in which order, and how many keys there are.

The rules are etcd's. ``count`` is the whole range's, whatever the limit and the filters leave. A sort needs the whole
range first, and so does a filter; only without an order does the limit come before the sort.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from kvraft.errors import AnswerTooLarge
from kvraft.mvcc.reading import damaged, open_end, read_value, walk_positions
from kvraft.mvcc.records import HEAD, POSITION_BYTES, decode_value
from kvraft.types import KeyValue, RangeRequest, SortOrder, SortTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvraft.storage.tables import Tables

MAX_ANSWER_BYTES = 512 << 20
"""The most that the keys and values of one answer may have; what is larger has to be asked for in pages."""
KEY_OVERHEAD_BYTES = 64
"""What a key counts beside its own and its value's bytes."""
COUNT_BATCH = 500
COUNTED_PER_READ = 8
"""So many keys are counted in the time that it takes to read one with its value."""
PRUNE_ENTRIES = 1000
"""A sorted read with a limit keeps at most twice the limit and so many keys."""

_SORT_KEYS: dict[int, Callable[[KeyValue], int | bytes]] = {
    SortTarget.KEY: attrgetter("key"),
    SortTarget.VERSION: attrgetter("version"),
    SortTarget.CREATE: attrgetter("create_revision"),
    SortTarget.MOD: attrgetter("mod_revision"),
    SortTarget.VALUE: attrgetter("value"),
}


class RangeScan:
    """One read of a range (not of a single key) at revision ``at`` (None: the latest), over any transaction.

    Call :meth:`step` until it says that it is done; then ``kvs``, ``count`` and ``more`` are the answer. ``recall``
    is asked for the count of the range once counting is all that is left to do; None from it: walk on.
    """

    def __init__(
        self,
        tables: Tables,
        request: RangeRequest,
        at: int | None,
        recall: Callable[[], int | None] = lambda: None,
        max_bytes: int | None = None,
    ) -> None:
        self._tables = tables
        self._request = request
        self._at = at
        self._recall = recall
        self._max_bytes = max_bytes
        order, target = request.sort_order, request.sort_target
        ordered = order == SortOrder.DESCEND or (order == SortOrder.ASCEND and target != SortTarget.KEY)
        self._filters = _filters(request)
        self._walks_all = self._filters or ordered
        sorts = ordered or target != SortTarget.KEY
        self._sort_key = _SORT_KEYS[target] if sorts else None
        self._descends = order == SortOrder.DESCEND
        self._limit = max(0, request.limit)
        # Without an order etcd reads one more than the limit, sorts those, and then lets the last one go.
        self._fetch = 0 if self._walks_all or not self._limit else self._limit + (1 if sorts else 0)
        # Values are read on the way when they are sorted by, or when all that is read on the way is shown.
        self._reads_value = target == SortTarget.VALUE or not (self._walks_all or request.keys_only)
        self._places: dict[bytes, bytes] | None = None if self._reads_value or request.keys_only else {}
        self._end = open_end(request.range_end)
        self._walk: Iterator[tuple[bytes, bytes]] | None = walk_positions(tables, request.key, self._end, at)
        self._counts: Iterator[int] | None = None
        self._walked = 0
        self.work_keys = self.work_bytes = 0
        """What has been read so far, as the bounds of :meth:`step` count it."""
        self._held_bytes = 0
        self._filled = 0
        self.kvs: list[KeyValue] = []
        self.more = False
        self.count = 0
        self.counting = request.count_only
        """Whether all that is shown has been read, and counting went, or goes, on."""

    @property
    def is_page(self) -> bool:
        """Whether ``kvs`` are the first keys of the range, in order, and the next page starts behind them."""
        return self._sort_key is None and not self._walks_all and bool(self.kvs)

    def step(self, max_keys: int, max_bytes: int) -> bool:
        """Go on for about that much; True when done. Raises AnswerTooLarge."""
        room = self.work_bytes + max_bytes
        while self._walk is not None:
            if max_keys <= 0 or self.work_bytes >= room:
                return False
            if self.counting:
                read = self._count_on(max_keys * COUNTED_PER_READ) // COUNTED_PER_READ + 1
            else:
                read = self._pick(max_keys, room)
            self.work_keys += read
            max_keys -= read
        return self._fill(max_keys, room)

    def _count_on(self, max_keys: int) -> int:
        """Walk without looking, unless somebody knows where that ends."""
        assert self._walk is not None
        known = self._recall()
        if known is not None:
            self._walked = known
            self._settle()
            return 1
        if self._counts is None:
            self._counts = self._count_from(self._request.key)
        before = self._walked
        for found in self._counts:
            self._walked += found
            if self._walked - before >= max_keys:
                break
        else:
            self._settle()
        return self._walked - before

    def _count_from(self, key: bytes) -> Iterator[int]:
        if self._at is None:
            return self._tables.cur.counts(key, self._end, COUNT_BATCH)
        return (1 for _ in walk_positions(self._tables, key, self._end, self._at))

    def _pick(self, max_keys: int, room: int) -> int:
        """Read what may be shown."""
        assert self._walk is not None
        if self._reads_value and not self._walks_all:
            return self._pick_first(max_keys, room)
        before = self._walked
        for name, place in self._walk:
            if self._fetch and len(self.kvs) == self._fetch:
                self._stop_picking(name)
                break
            self._walked += 1
            kv = read_value(self._tables, place[:POSITION_BYTES]) if self._reads_value else self._describe(name, place)
            if not self._filters or passes(self._request, kv):
                self._take(kv, place)
            if self._walked - before >= max_keys or self.work_bytes >= room:
                break
        else:
            self._settle()
        return self._walked - before

    def _pick_first(self, max_keys: int, room: int) -> int:
        """The usual read, of the first keys with their values, once more without the questions of the others."""
        assert self._walk is not None
        kvs, fetch, get = self.kvs, self._fetch, self._tables.rev.get
        before, size = len(kvs), 0
        stop, room = before + max_keys, room - self.work_bytes
        for name, place in self._walk:
            if len(kvs) == fetch and fetch:
                self._stop_picking(name)
                break
            raw = get(place[:POSITION_BYTES])
            if raw is None:
                raise damaged(place[:POSITION_BYTES])
            kvs.append(decode_value(raw))
            size += len(raw) + KEY_OVERHEAD_BYTES
            if len(kvs) == stop or size >= room:
                break
        else:
            self._walk = None
        self._walked = len(kvs)
        self._charge(size)
        if self._walk is None:
            self._settle()
        return max(1, len(kvs) - before)

    def _stop_picking(self, following: bytes) -> None:
        """All that is shown has been read: what is left is to count, from the key ``following`` on."""
        self.counting = True
        self._counts = self._count_from(following)

    def _describe(self, name: bytes, place: bytes) -> KeyValue:
        """The key without its value; of the latest revision its head knows everything else."""
        if self._at is None:
            mod, _, create, version, lease, _ = HEAD.unpack(place)
            return KeyValue(name, b"", create, mod, version, lease)
        return without_value(read_value(self._tables, place[:POSITION_BYTES]))

    def _take(self, kv: KeyValue, place: bytes) -> None:
        self.kvs.append(kv)
        if self._places is not None:
            self._places[kv.key] = place[:POSITION_BYTES]
        self._charge(len(kv.key) + len(kv.value) + KEY_OVERHEAD_BYTES)
        if self._walks_all and self._limit and len(self.kvs) >= 2 * self._limit + PRUNE_ENTRIES:
            self._prune()

    def _charge(self, size: int) -> None:
        self.work_bytes += size
        self._held_bytes += size
        if self._max_bytes is not None and self._held_bytes > self._max_bytes:
            raise AnswerTooLarge

    def _sort(self) -> None:
        if self._sort_key is not None:
            # Stable in either direction: keys of the same rank stay in their order, as in etcd.
            self.kvs.sort(key=self._sort_key, reverse=self._descends)

    def _prune(self) -> None:
        """Let go of what the limit will leave out, so that a long range needs no more memory than its answer."""
        self._sort()
        for kv in self.kvs[self._limit + 1 :]:
            self._held_bytes -= len(kv.key) + len(kv.value) + KEY_OVERHEAD_BYTES
            if self._places is not None:
                del self._places[kv.key]
        del self.kvs[self._limit + 1 :]

    def _settle(self) -> None:
        """Everything has been walked: decide what is shown."""
        self._walk = None
        self.count = self._walked
        if self._request.count_only:
            return
        self._sort()
        self.more = bool(self._limit) and (self.counting or len(self.kvs) > self._limit)
        if self.more:
            del self.kvs[self._limit :]
        if self._reads_value and self._request.keys_only:
            self.kvs = [without_value(kv) for kv in self.kvs]

    def _fill(self, max_keys: int, room: int) -> bool:
        """Read the values of what is shown, where that has not been done on the way."""
        while self._places is not None and self._filled < len(self.kvs):
            if max_keys <= 0 or self.work_bytes >= room:
                return False
            kv = self.kvs[self._filled] = read_value(self._tables, self._places[self.kvs[self._filled].key])
            self._charge(len(kv.value))
            self._filled += 1
            max_keys -= 1
        return True


def _filters(request: RangeRequest) -> bool:
    return bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def passes(request: RangeRequest, kv: KeyValue) -> bool:
    """Whether the key is within the revisions that are asked for; the bounds are inclusive, 0 is none."""
    return not (
        (request.max_mod_revision and kv.mod_revision > request.max_mod_revision)
        or (request.min_mod_revision and kv.mod_revision < request.min_mod_revision)
        or (request.max_create_revision and kv.create_revision > request.max_create_revision)
        or (request.min_create_revision and kv.create_revision < request.min_create_revision)
    )


def without_value(kv: KeyValue) -> KeyValue:
    """The same without what ``keys_only`` leaves out."""
    return KeyValue(kv.key, b"", kv.create_revision, kv.mod_revision, kv.version, kv.lease)
