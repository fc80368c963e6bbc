"""Lists: which state a request wants (most recent, at least, exactly), where it is read, and its pages.

Source: Kubernetes API concepts, "Resource versions" and "Retrieving large results sets in chunks".
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import attrs

from apilayer.api import status
from apilayer.api.gotext import quote
from apilayer.api.selectors import parse_field_selector, parse_label_selector
from apilayer.pipeline.turns import turn
from apilayer.registry import paging
from apilayer.registry.options import named_revision
from apilayer.storage.codec import CorruptObject
from apilayer.storage.interface import FutureRevision, RevisionCompacted
from apilayer.storage.watcher import Selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apilayer.api.resources import Resource
    from apilayer.registry.options import ListOptions
    from apilayer.storage.codec import Entry
    from apilayer.storage.interface import Store
    from apilayer.storage.watch_cache import WatchCache

FRESHNESS_TIMEOUT_SECONDS = 3.0
"""How long a read waits for the cache to reach a revision."""
CHUNK_RECORDS = 500
MATCHED_AT_ONCE = 50
MATCHING_SECONDS = 0.001
"""After so long others get their turn: an object that no selector has met before takes a hundred times as long."""


@attrs.frozen
class Listing:
    """A page of a list: `continue_token` "" at the end, `remaining` None where it is not known."""

    entries: list[Entry]
    revision: int
    continue_token: str = ""
    remaining: int | None = None


class ListCounts:
    """What lists from the cache have cost."""

    __slots__ = ("lists", "looked_at", "returned")

    def __init__(self) -> None:
        self.lists = 0
        self.looked_at = 0
        self.returned = 0

    def add(self, looked_at: int, returned: int) -> None:
        """Counts a list that looked at so many objects."""
        self.lists += 1
        self.looked_at += looked_at
        self.returned += returned


def parse_selection(resource: Resource, options: ListOptions) -> Selection:
    """The selectors of a list or watch. Raises StatusError 400."""
    return Selection(
        parse_label_selector(options.label_selector),
        parse_field_selector(options.field_selector, resource),
    )


def list_revision(text: str) -> int:
    """The resourceVersion of a list. Raises StatusError 400."""
    try:
        return named_revision(text)
    except ValueError as error:
        raise status.bad_request(f"invalid resource version: {error}") from error


async def matching(entries: Sequence[Entry], selection: Selection, limit: int = 0) -> list[Entry]:
    """Those that are selected, `limit` at most (0: all of them); long ones are gone through in turns."""
    if selection.everything and not limit:
        return list(entries)
    found: list[Entry] = []
    began = perf_counter()
    for start in range(0, len(entries), MATCHED_AT_ONCE):
        if perf_counter() - began > MATCHING_SECONDS:
            await turn()
            began = perf_counter()
        for entry in selection.among(entries[start : start + MATCHED_AT_ONCE]):
            found.append(entry)
            if len(found) == limit:
                return found
    return found


class Lister:
    """Lists one resource from the cache where it can, from the store where it must."""

    def __init__(self, resource: Resource, store: Store, cache: WatchCache) -> None:
        self._resource = resource
        self._store = store
        self._all = cache
        self._cache = cache.of(resource)
        self.counts = ListCounts()

    def prefix(self, namespace: str) -> bytes:
        """The key prefix of a namespace, or of the whole resource for ""."""
        return self._cache.prefix + namespace.encode() + b"/" if namespace else self._cache.prefix

    async def list(self, namespace: str, options: ListOptions, row: Resource | None = None) -> Listing:
        """One page; `row` is the version whose field labels are meant. Raises StatusError 400, 410, 422 or 504."""
        options.validate()
        selection = parse_selection(row or self._resource, options)
        prefix = self.prefix(namespace)
        wanted = options.resource_version
        revision = list_revision(wanted)
        if options.continue_token:
            if wanted and wanted != "0":
                raise status.bad_request("specifying resource version is not allowed when using continue")
            start, at = paging.decode(options.continue_token, prefix)
            if at == paging.INCONSISTENT:
                return await self._latest(prefix, selection, start, options.limit)
            return await self._exact(prefix, selection, start, options.limit, at, continued=True)
        if not wanted:
            return await self._latest(prefix, selection, b"", options.limit)
        if wanted == "0":
            await self.wait_until(0)
            return await self._from_cache(prefix, selection, b"", 0)
        match = options.resource_version_match
        if match == "Exact" or (not match and options.limit):
            return await self._exact(prefix, selection, b"", options.limit, revision, continued=False)
        await self.wait_until(revision)
        return await self._from_cache(prefix, selection, b"", options.limit)

    async def wait_until(self, revision: int) -> None:
        """Waits for the cache to hold `revision`. Raises StatusError 504 when it lies ahead."""
        if not await self._all.wait_for(revision, FRESHNESS_TIMEOUT_SECONDS):
            if not self._all.synced:
                raise status.service_unavailable("the watch cache is not synced with the store yet")
            raise status.too_large_resource_version(revision, self._all.revision)

    async def refresh(self) -> int:
        """Brings the cache up to the store's present revision (linearizable) and answers that."""
        revision = await self._store.current_revision()
        await self.wait_until(revision)
        return revision

    async def _latest(self, prefix: bytes, selection: Selection, start: bytes, limit: int) -> Listing:
        revision = await self._store.current_revision()
        if await self._all.wait_for(revision, FRESHNESS_TIMEOUT_SECONDS):
            return await self._from_cache(prefix, selection, start, limit)
        return await self._from_store(prefix, selection, start, limit, revision)

    async def _exact(
        self, prefix: bytes, selection: Selection, start: bytes, limit: int, revision: int, *, continued: bool
    ) -> Listing:
        if self._cache.last_change <= revision <= self._all.revision and self._all.synced:
            return await self._from_cache(prefix, selection, start, limit, revision)
        try:
            return await self._from_store(prefix, selection, start, limit, revision)
        except FutureRevision as error:
            raise status.too_large_resource_version(revision, self._all.revision) from error
        except RevisionCompacted as error:
            if continued:
                token = paging.encode_start(prefix, start)
                raise status.expired(paging.COMPACTED_MESSAGE, token) from error
            raise status.expired("The resourceVersion for the provided list is too old.") from error

    async def _from_cache(
        self, prefix: bytes, selection: Selection, start: bytes, limit: int, revision: int = 0
    ) -> Listing:
        for key, reason in self._cache.corrupt.items():  # mostly none; to leave one out would look as if it were gone
            if key.startswith(prefix):
                raise _unreadable(key, reason)
        revision = revision or self._all.revision
        if limit and selection.everything:
            entries, remaining = self._cache.page(prefix, start, limit)
            self.counts.add(len(entries), len(entries))
            if not remaining:
                return Listing(entries, revision)
            return Listing(entries, revision, paging.encode(prefix, entries[-1].key, revision), remaining)
        # What there is at this moment: choosing among it may take long, and the cache goes on meanwhile.
        entries = self._cache.entries(prefix, start)
        if selection.everything:
            self.counts.add(len(entries), len(entries))
            return Listing(entries, revision)
        found = await matching(entries, selection, limit + 1 if limit else 0)
        self.counts.add(len(entries), min(len(found), limit) if limit else len(found))
        if not limit or len(found) <= limit:
            return Listing(found, revision)
        return Listing(found[:limit], revision, paging.encode(prefix, found[limit - 1].key, revision))

    async def _from_store(
        self, prefix: bytes, selection: Selection, start: bytes, limit: int, revision: int
    ) -> Listing:
        codec = self._cache.codec
        found: list[Entry] = []
        while True:
            chunk = limit if limit and selection.everything else CHUNK_RECORDS
            page = await self._store.list(prefix, start=start, limit=chunk, revision=revision)
            for index, record in enumerate(page.records):
                try:
                    entry = codec.entry(record.key, record.value, record.revision)
                except CorruptObject as error:
                    raise _unreadable(record.key, str(error)) from error
                if selection.matches(entry):
                    found.append(entry)
                remaining = page.remaining + len(page.records) - index - 1
                if limit and len(found) == limit and remaining:
                    token = paging.encode(prefix, record.key, page.revision)
                    return Listing(found, page.revision, token, remaining if selection.everything else None)
            if not page.remaining:
                return Listing(found, page.revision)
            start = page.records[-1].key + b"\0"
            revision = page.revision


def _unreadable(key: bytes, reason: str) -> status.StatusError:
    """500, as kube-apiserver answers when it cannot read one of the objects."""
    return status.internal_error(f"unable to transform key {quote(key.decode(errors='replace'))}: {reason}")
