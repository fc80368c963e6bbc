"""The store over kvraft's client. Translates keys, requests, answers and errors; decides nothing."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, cast

from apilayer.storage import interface
from apilayer.storage.interface import Change, ChangeBatch, Page, Record
from apilayer.storage.prefix import ROOT, Prefix
from kvraft import errors
from kvraft.types import (
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRangeRequest,
    EventKind,
    PutRequest,
    RangeRequest,
    RangeResponse,
    prefix_end,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from kvraft.client import Client, WatchStream
    from kvraft.types import Operation, Response

_PUT = int(EventKind.PUT)
_MOD = int(CompareTarget.MOD)
_EQUAL = int(CompareResult.EQUAL)


_IN_OTHER_WORDS: tuple[tuple[type[errors.KvraftError], type[interface.StoreError]], ...] = (
    (errors.Compacted, interface.RevisionCompacted),
    (errors.FutureRevision, interface.FutureRevision),
    (errors.RequestTooLarge, interface.RequestTooLarge),
    (errors.Unavailable, interface.StoreUnavailable),
)


def _translation(error: errors.KvraftError) -> interface.StoreError:
    for theirs, ours in _IN_OTHER_WORDS:
        if isinstance(error, theirs):
            return ours(str(error))
    return interface.StoreError(str(error)) if error.definite else interface.OutcomeUnknown(str(error))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except errors.KvraftError as error:
        raise _translation(error) from error


def _guard(key: bytes, revision: int) -> tuple[Compare, ...]:
    return (Compare(key, _MOD, _EQUAL, revision),)


class KvraftStore:
    """`Store` over an open kvraft client; the client finds the leader and fails over by itself."""

    def __init__(self, client: Client, prefix: Prefix | None = None) -> None:
        self._client = client
        self._prefix = prefix or Prefix()
        self._question = RangeRequest(self._prefix.outer(ROOT), count_only=True)

    async def get(self, key: bytes) -> tuple[Record | None, int]:
        """See `Store.get`."""
        try:  # the most frequent call: a context of its own is left out
            answer = await self._client.get(self._prefix.outer(key))
        except errors.KvraftError as error:
            raise _translation(error) from error
        return self._first(answer), answer.revision

    async def list(self, prefix: bytes, *, start: bytes = b"", limit: int = 0, revision: int = 0) -> Page:
        """See `Store.list`."""
        outer, inner = self._prefix.outer, self._prefix.inner
        first, end = outer(max(prefix, start)), prefix_end(outer(prefix))
        with _translated():
            answer = await self._client.range(first, end, limit=limit, revision=revision)
        records = [Record(inner(kv.key), kv.value, kv.mod_revision) for kv in answer.kvs]
        at = revision or answer.revision
        return Page(records, at, answer.count - len(records))

    async def create(self, key: bytes, value: bytes) -> int:
        """See `Store.create`."""
        revision, current = await self._swap(key, 0, PutRequest(self._prefix.outer(key), value))
        if revision:
            return revision
        if current is None:
            raise interface.StoreError("a refused create answered without the key that is in its way")
        raise interface.KeyExists(current)

    async def update(self, key: bytes, value: bytes, revision: int) -> int:
        """See `Store.update`."""
        written, current = await self._swap(key, revision, PutRequest(self._prefix.outer(key), value))
        if written:
            return written
        raise interface.KeyChanged(current)

    async def delete(self, key: bytes, revision: int) -> int:
        """See `Store.delete`."""
        written, current = await self._swap(key, revision, DeleteRangeRequest(self._prefix.outer(key)))
        if written:
            return written
        raise interface.KeyChanged(current)

    async def _swap(self, key: bytes, revision: int, operation: Operation) -> tuple[int, Record | None]:
        """One transaction: `operation` if the key is at `revision`, else a read of what is there."""
        key = self._prefix.outer(key)
        try:  # as in `get`
            answer = await self._client.txn(_guard(key, revision), (operation,), (RangeRequest(key),))
        except errors.KvraftError as error:
            raise _translation(error) from error
        if answer.succeeded:
            return answer.revision, None
        return 0, self._first(cast("RangeResponse", answer.responses[0]))

    def _first(self, answer: RangeResponse) -> Record | None:
        if not answer.kvs:
            return None
        kv = answer.kvs[0]
        return Record(self._prefix.inner(kv.key), kv.value, kv.mod_revision)

    async def current_revision(self) -> int:
        """See `Store.current_revision`."""
        with _translated():  # of a key that whoever may use the prefix may read
            return (await self._client.range(self._prefix.outer(ROOT), count_only=True)).revision

    def confirm(self, then: Callable[[int], None]) -> bool:
        """See `Store.confirm`."""

        def heard(answer: Response | errors.KvraftError) -> None:
            then(answer.revision if isinstance(answer, RangeResponse) else 0)

        return self._client.ask(self._question, interface.CONFIRM_SECONDS, heard)

    @asynccontextmanager
    async def watch(self, prefix: bytes, from_revision: int) -> AsyncIterator[KvraftChanges]:
        """See `Store.watch`."""
        prefix = self._prefix.outer(prefix)
        # With progress told now and then, what others have compacted meanwhile is not asked for after a cut.
        async with self._client.watch(
            prefix, prefix_end(prefix), start_revision=from_revision, progress_notify=True
        ) as stream:
            yield self._changes(stream, prefix)

    def _changes(self, stream: WatchStream, prefix: bytes) -> KvraftChanges:
        return KvraftChanges(stream, self._prefix)

    async def compact(self, revision: int) -> None:
        """See `Store.compact`."""
        with _translated():
            await self._client.compact(revision)


class KvraftChanges:
    """`ChangeStream` over the client's watch."""

    def __init__(self, stream: WatchStream, prefix: Prefix) -> None:
        self._stream = stream
        self._prefix = prefix

    def __aiter__(self) -> KvraftChanges:
        return self

    async def __anext__(self) -> ChangeBatch:
        try:  # as in `KvraftStore.get`
            batch = await anext(self._stream)
        except errors.KvraftError as error:
            raise _translation(error) from error
        if batch.compact_revision:
            raise interface.RevisionCompacted(f"compacted at {batch.compact_revision}")
        inner = self._prefix.inner
        changes = [
            Change(inner(event.kv.key), event.kv.value if event.kind == _PUT else None, event.kv.mod_revision)
            for event in batch.events
        ]
        return ChangeBatch(batch.revision, changes)

    async def request_progress(self) -> None:
        """See `ChangeStream.request_progress`."""
        with _translated():
            await self._stream.request_progress()
