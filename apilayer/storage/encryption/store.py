"""A store whose values of some resources are sealed in the store below it.

What cannot be opened is handed on as a value that says why when it is decoded, so that one such value is not the end of
every read. Values of other resources pass through as they are.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from apilayer.api.resources import RESOURCES
from apilayer.storage.codec import Undecodable
from apilayer.storage.encryption.configuration import AESCBC, AESGCM, IDENTITY, SECRETBOX
from apilayer.storage.encryption.counts import SealingCounts
from apilayer.storage.encryption.transformers import (
    NO_PREFIX,
    AesCbc,
    AesGcm,
    Identity,
    InTurn,
    Secretbox,
    Unreadable,
)
from apilayer.storage.interface import Change, ChangeBatch, KeyChanged, KeyExists, Page, Record, StoreUnavailable
from apilayer.storage.prefix import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from apilayer.storage.encryption.configuration import Configuration, Provider
    from apilayer.storage.encryption.kms import KmsTransformer
    from apilayer.storage.encryption.transformers import Transformer
    from apilayer.storage.interface import ChangeStream, Store
    from apilayer.storage.prefix import Prefix

MAX_REMEMBERED = 4096
"""Prefixes whose resource is remembered; there are as many as resources, if nothing odd is stored."""
_CIPHERS: dict[str, tuple[bytes, Callable[[bytes], Transformer], str]] = {
    AESCBC: (b"k8s:enc:aescbc:v1:", AesCbc, "AES"),
    AESGCM: (b"k8s:enc:aesgcm:v1:", AesGcm, "AES"),
    SECRETBOX: (b"k8s:enc:secretbox:v1:", Secretbox, "Secretbox"),
}
_KMS_PREFIX = "k8s:enc:kms:v2:"
_RESOURCES = {row.key_prefix.encode(): row.group_resource for row in RESOURCES if not row.virtual}

log = logging.getLogger("apilayer.storage.encryption")


class Transformers:
    """The transformers of a configuration, by resource. `plugins` are those of its KMS providers, in its order."""

    def __init__(self, configuration: Configuration) -> None:
        self.plugins: list[KmsTransformer] = []
        self._configuration = configuration
        self._made: dict[Provider, tuple[bytes, Transformer]] = {}
        for rule in configuration.rules:
            for provider in rule.providers:
                if provider not in self._made:
                    self._made[provider] = self._make(provider)

    def _make(self, provider: Provider) -> tuple[bytes, Transformer]:
        """With the prefix of what it seals."""
        if provider.kind == IDENTITY:
            return b"", Identity()
        if provider.kms is not None:
            from apilayer.storage.encryption.kms import KmsTransformer  # with what speaks to plugins

            plugin = KmsTransformer(provider.kms)
            self.plugins.append(plugin)
            return f"{_KMS_PREFIX}{provider.kms.name}:".encode(), plugin
        prefix, cipher, name = _CIPHERS[provider.kind]
        keys = [(f"{key.name}:".encode(), cipher(key.secret)) for key in provider.keys]
        return prefix, InTurn(keys, f"no matching key was found for the provided {name} transformer")

    def of(self, group_resource: str, counts: SealingCounts) -> Transformer | None:
        """Who seals values of a resource; None when they are stored as they are."""
        providers = self._configuration.providers_of(group_resource)
        if not providers:
            return None
        told = partial(counts.transformed, group_resource)
        return InTurn([self._made[provider] for provider in providers], NO_PREFIX, told)


def resource_of(key: bytes) -> tuple[bytes, str]:
    """The prefix of a key that is all its resource's, and the resource; "" for keys of none.

    Objects of custom resources are under ``/registry/GROUP/RESOURCE/``.
    """
    first = key.find(b"/", len(ROOT)) + 1
    prefix = key[:first]
    if prefix in _RESOURCES:
        return prefix, _RESOURCES[prefix]
    second = key.find(b"/", first) + 1 if first else 0
    longer = key[:second]
    if longer in _RESOURCES:
        return longer, _RESOURCES[longer]
    group, _, resource = longer[len(ROOT) :].rstrip(b"/").partition(b"/")
    if b"." in group and resource:
        return longer, f"{resource.decode(errors='replace')}.{group.decode(errors='replace')}"
    return prefix, ""


class EncryptedStore:
    """`Store` over another one. `transformers` may be replaced while it is in use: see `use`."""

    def __init__(self, store: Store, transformers: Transformers, prefix: Prefix) -> None:
        self.counts = SealingCounts()
        self._store = store
        self._outer = prefix.outer
        self._transformers = transformers
        self._by_segment: dict[bytes, Transformer | None] = {}
        self._unreadable: set[bytes] = set()
        self._watches: set[trio.CancelScope] = set()

    @property
    def plugins(self) -> Sequence[KmsTransformer]:
        """The KMS providers in use."""
        return self._transformers.plugins

    def use(self, transformers: Transformers) -> None:
        """Seals and opens otherwise from now on. Who watches begins anew if that may open what could not be read."""
        self._transformers = transformers
        self._by_segment.clear()
        if self._unreadable:
            self._unreadable.clear()
            for scope in self._watches:
                scope.cancel()

    def concerns(self, changes: Sequence[Change]) -> bool:
        """Whether values of any of them may be sealed; False for nearly all that is written."""
        known, start = self._by_segment, len(ROOT)
        for change in changes:
            key = change.key
            if known.get(key[: key.find(b"/", start) + 1], key) is not None:
                return True
        return False

    def _transformer(self, key: bytes) -> Transformer | None:
        """Who seals the value of `key`."""
        segment = key[: key.find(b"/", len(ROOT)) + 1]
        try:
            return self._by_segment[segment]
        except KeyError:
            pass
        prefix, resource = resource_of(key)
        found = self._transformers.of(resource, self.counts) if resource else None
        if prefix == segment and resource:
            if len(self._by_segment) >= MAX_REMEMBERED:
                self._by_segment.clear()
            self._by_segment[segment] = found
        return found

    async def _open(self, record: Record, transformer: Transformer) -> Record:
        key = record.key
        try:
            plain, stale = await transformer.open(record.value, self._outer(key))
        except Unreadable as error:
            if key not in self._unreadable:
                log.error("the value of %s cannot be read: %s", key.decode(errors="replace"), error)
                self._unreadable.add(key)
            return Record(key, Undecodable(str(error)), record.revision)
        self._unreadable.discard(key)
        return Record(key, plain, record.revision, stale)

    async def _opened(self, record: Record) -> Record:
        transformer = self._transformer(record.key)
        return record if transformer is None else await self._open(record, transformer)

    async def _sealed(self, key: bytes, value: bytes) -> bytes:
        transformer = self._transformer(key)
        return value if transformer is None else await transformer.seal(value, self._outer(key))

    async def get(self, key: bytes) -> tuple[Record | None, int]:
        """See `Store.get`."""
        record, revision = await self._store.get(key)
        transformer = None if record is None else self._transformer(key)
        if record is not None and transformer is not None:
            record = await self._open(record, transformer)
        return record, revision

    async def list(self, prefix: bytes, *, start: bytes = b"", limit: int = 0, revision: int = 0) -> Page:
        """See `Store.list`."""
        page = await self._store.list(prefix, start=start, limit=limit, revision=revision)
        if prefix != ROOT and self._transformer(prefix) is None:
            return page
        return attrs.evolve(page, records=[await self._opened(record) for record in page.records])

    async def create(self, key: bytes, value: bytes) -> int:
        """See `Store.create`."""
        try:
            return await self._store.create(key, await self._sealed(key, value))
        except KeyExists as error:
            raise KeyExists(await self._opened(error.current)) from error

    async def update(self, key: bytes, value: bytes, revision: int) -> int:
        """See `Store.update`."""
        sealed = await self._sealed(key, value)
        try:
            return await self._store.update(key, sealed, revision)
        except KeyChanged as error:
            raise await self._changed(error) from error

    async def delete(self, key: bytes, revision: int) -> int:
        """See `Store.delete`."""
        try:
            return await self._store.delete(key, revision)
        except KeyChanged as error:
            raise await self._changed(error) from error

    async def _changed(self, error: KeyChanged) -> KeyChanged:
        return KeyChanged(None if error.current is None else await self._opened(error.current))

    async def current_revision(self) -> int:
        """See `Store.current_revision`."""
        return await self._store.current_revision()

    def confirm(self, then: Callable[[int], None]) -> bool:
        """See `Store.confirm`."""
        return self._store.confirm(then)

    @asynccontextmanager
    async def watch(self, prefix: bytes, from_revision: int) -> AsyncIterator[OpenedChanges]:
        """See `Store.watch`. Ends with StoreUnavailable when other keys are used that may open more."""
        with trio.CancelScope() as scope:
            self._watches.add(scope)
            try:
                async with self._store.watch(prefix, from_revision) as stream:
                    yield OpenedChanges(stream, self)
            finally:
                self._watches.discard(scope)
        if scope.cancelled_caught:
            raise StoreUnavailable("other keys are used from now on")

    async def compact(self, revision: int) -> None:
        """See `Store.compact`."""
        await self._store.compact(revision)


class OpenedChanges:
    """`ChangeStream` with values that have been opened."""

    def __init__(self, stream: ChangeStream, store: EncryptedStore) -> None:
        self._stream = stream
        self._changes = aiter(stream)
        self._store = store

    def __aiter__(self) -> OpenedChanges:
        return self

    async def __anext__(self) -> ChangeBatch:
        batch = await anext(self._changes)
        return await self._opened(batch) if self._store.concerns(batch.changes) else batch

    async def _opened(self, batch: ChangeBatch) -> ChangeBatch:
        changes: list[Change] = []
        for change in batch.changes:
            transformer = self._store._transformer(change.key)
            if transformer is not None and change.value is not None:
                record = await self._store._open(Record(change.key, change.value, change.revision), transformer)
                change = Change(change.key, record.value, change.revision)
            elif transformer is not None:
                self._store._unreadable.discard(change.key)
            changes.append(change)
        return ChangeBatch(batch.revision, changes)

    async def request_progress(self) -> None:
        """See `ChangeStream.request_progress`."""
        await self._stream.request_progress()
