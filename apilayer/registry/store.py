"""The generic store of one resource: get, create, update, patch and delete of single objects.

Order of a write: defaults, admission (changes), strategy, validation, admission (refusals), one compare-and-swap.
Updates start from the cached object and read the store only when that turns out to be stale, so that most cost a
single round trip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from apilayer.admission.chain import UNCONCERNED
from apilayer.admission.plugin import CREATE, DELETE, UPDATE
from apilayer.api import field, meta, status
from apilayer.api.decode import message_name
from apilayer.api.decode.emptied import without_empty
from apilayer.api.defaults import apply_defaults, drop_disabled
from apilayer.api.managed import FieldManager, keep_times
from apilayer.api.validation import validate_create, validate_update
from apilayer.registry import deletion
from apilayer.registry.listing import FRESHNESS_TIMEOUT_SECONDS
from apilayer.registry.options import named_revision, parse_revision
from apilayer.registry.unreadable import delete_unreadable
from apilayer.storage.codec import CorruptObject
from apilayer.storage.interface import KeyChanged, KeyExists, RequestTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from apilayer.admission.chain import Review
    from apilayer.admission.plugin import Operation
    from apilayer.registry.options import DeleteOptions, WriteOptions
    from apilayer.registry.strategy import Strategy
    from apilayer.storage.codec import Entry
    from apilayer.storage.interface import Record, Store
    from apilayer.storage.watch_cache import WatchCache

    Transform = Callable[[Entry, dict[str, Any]], dict[str, Any]]
    """What makes the new state of an object, which is given parsed as well: that is to stay as it is."""

Object = dict[str, Any]

GENERATE_NAME_ATTEMPTS = 8
MAX_WRITTEN = 256
"""So many states that this server has just written are known before the cache has heard of them."""


@attrs.frozen
class Deleted:
    """What a DELETE did: the object's last state (None: it could not be read), and whether it is gone for good."""

    entry: Entry | None
    gone: bool


class ResourceStore:
    """Single-object operations of one resource. Keys, codec and strategy are fixed at start."""

    def __init__(
        self,
        strategy: Strategy,
        store: Store,
        cache: WatchCache,
        clock: Callable[[], datetime] = meta.utc_now,
    ) -> None:
        self.strategy = strategy
        self.resource = strategy.resource
        self._store = store
        self._all = cache
        self._cache = cache.of(self.resource)
        self._codec = self._cache.codec
        self._clock = clock
        self._managers: dict[tuple[str, str], FieldManager] = {}
        self._written: dict[bytes, Entry] = {}

    def key(self, namespace: str, name: str) -> bytes:
        """The store's key of an object; `namespace` "" for cluster-scoped resources."""
        path = f"{namespace}/{name}" if namespace else name
        return self._cache.prefix + path.encode()

    def not_found(self, name: str) -> status.StatusError:
        """404 of this resource."""
        return status.not_found(self.resource.plural, self.resource.group, name)

    # ------------------------------------------------------------------ read

    async def get(self, namespace: str, name: str, resource_version: str = "", *, parked: bool = False) -> Entry:
        """One object: the latest by default, "0" as the cache has it, a revision at least as new.

        `parked`: the latest need not come from the store, see `Freshness`; after that nothing is waited for.
        Raises StatusError 404, 500 for an unreadable resourceVersion, 504 for one that lies ahead.
        """
        key = self.key(namespace, name)
        if not resource_version:
            fresh = parked and await self._all.freshness.confirmed()
            entry = self._cached(key) if fresh else await self._read(key)
        else:
            try:
                revision = 0 if resource_version == "0" else named_revision(resource_version)
            except ValueError as error:
                raise status.raw(500, str(error)) from error
            if not self._all.has(revision) and not await self._all.wait_for(revision, FRESHNESS_TIMEOUT_SECONDS):
                raise status.too_large_resource_version(revision, self._all.revision)
            entry = self._cache.get(key)
        if entry is None:
            raise self.not_found(name)
        return entry

    def _cached(self, key: bytes) -> Entry | None:
        """As `_read` where the cache is as new as the store. Raises StatusError 500."""
        reason = self._cache.corrupt.get(key)
        if reason is not None:
            raise status.internal_error(reason)
        return self._cache.get(key)

    async def _read(self, key: bytes) -> Entry | None:
        record, _ = await self._store.get(key)
        return self._entry(record)

    def _entry(self, record: Record | None) -> Entry | None:
        if record is None:
            return None
        try:
            entry = self._codec.entry(record.key, record.value, record.revision)
        except CorruptObject as error:
            raise status.internal_error(str(error)) from error
        entry.stale = record.stale
        return entry

    def _note(self, entry: Entry) -> Entry:
        """Keeps a state that was just written, for the write that follows before the cache has heard of it."""
        self._written[entry.key] = entry
        if len(self._written) > MAX_WRITTEN:
            del self._written[next(iter(self._written))]
        return entry

    def _newest(self, key: bytes) -> Entry | None:
        """The newest state known here. It may be stale: what is made of it is only stored if it is not."""
        cached, written = self._cache.get(key), self._written.get(key)
        if written is None:
            return cached
        if self._all.revision < written.revision:
            return written
        del self._written[key]
        return cached

    def _fields(self, subresource: str, options: WriteOptions) -> FieldManager:
        row = options.row or self.resource
        manager = self._managers.get((row.api_version, subresource))
        if manager is None:
            manager = self._managers[row.api_version, subresource] = FieldManager(row, subresource)
        return manager

    def _track(self, old: Object | None, new: Object, options: WriteOptions, subresource: str) -> Object:
        """Sets the managedFields of `new`, which the write makes of `old`. What comes of it is in the stored form."""
        if options.manager:
            self._fields(subresource, options).update(old, new, options.manager, self._time())
        elif old is not None and "managedFields" in old["metadata"]:
            new["metadata"].setdefault("managedFields", old["metadata"]["managedFields"])
        return without_empty(new, message_name(self.resource)) if options.emptied else new

    def _review(
        self,
        operation: Operation,
        namespace: str,
        name: str,
        options: WriteOptions | DeleteOptions,
        subresource: str = "",
    ) -> Review:
        if options.admission is None:
            return UNCONCERNED
        return options.admission.review(operation, self.resource, subresource, namespace, name, options)

    def _time(self) -> str:
        return meta.timestamp(self._clock())

    # ------------------------------------------------------------------ create

    async def create(self, namespace: str, obj: Object, options: WriteOptions, *, applied: bool = False) -> Entry:
        """Stores a new object, which this call owns and changes. Raises StatusError 403, 409, 422 or 500.

        `applied`: the object comes from an apply, so its managedFields are as they should be.
        """
        metadata = obj["metadata"]
        if namespace:
            metadata["namespace"] = namespace
        else:
            metadata.pop("namespace", None)
        apply_defaults(self.resource, obj)
        if applied:
            metadata.pop("resourceVersion", None)
        else:
            obj = self._track(None, obj, options, "")
            metadata = obj["metadata"]
        meta.init_metadata(metadata, self._clock())
        review = self._review(CREATE, namespace, metadata.get("name") or "", options)
        await review.mutate(obj, None)
        drop_disabled(self.resource, obj)
        generate = bool(metadata.get("generateName")) and not metadata.get("name")
        attempts = GENERATE_NAME_ATTEMPTS if generate else 1
        while True:
            attempts -= 1
            if generate:
                metadata["name"] = meta.generate_name(metadata["generateName"])
            self.strategy.prepare_create(obj)
            errors = validate_create(options.row or self.resource, obj)
            if errors:
                raise status.invalid(self.resource.kind, self.resource.group, metadata.get("name") or "", errors)
            self.strategy.settle(obj)
            if metadata.get("resourceVersion"):
                raise status.raw(500, "resourceVersion should not be set on objects to be created")
            await review.validate(obj, None)
            await review.reserve(obj, None)
            try:
                return await self._put_new(self.key(namespace, metadata["name"]), obj, options)
            except KeyExists as error:
                if not attempts:
                    raise self._already_exists(metadata, error.current) from error

    async def _put_new(self, key: bytes, obj: Object, options: WriteOptions) -> Entry:
        """Creates the key. What is too large with its managedFields is stored without them."""
        value = self._codec.encode(obj)
        if options.dry_run:
            record, _ = await self._store.get(key)
            if record is not None:
                raise KeyExists(record)
            return self._codec.entry(key, value, 0)
        try:
            return self._note(self._codec.entry(key, value, await self._store.create(key, value)))
        except RequestTooLarge as error:
            if obj["metadata"].pop("managedFields", None) is not None:
                return await self._put_new(key, obj, options)
            raise status.too_many_items(str(error)) from error

    def _already_exists(self, metadata: Object, current: Record) -> status.StatusError:
        named = self.resource.plural, self.resource.group, metadata["name"]
        taken = status.generated_name_taken if metadata.get("generateName") else status.already_exists
        error = taken(*named)
        existing = self._entry(current)
        if existing is not None and "deletionTimestamp" in existing.object()["metadata"]:
            error.status["message"] = f"object is being deleted: {error.status['message']}"
        return error

    # ------------------------------------------------------------------ update and patch

    async def update(
        self, namespace: str, name: str, obj: Object, options: WriteOptions, subresource: str = ""
    ) -> tuple[Entry, bool]:
        """Replaces an object, or creates it where the resource allows that: (stored state, created).

        Raises StatusError 404, 409 or 422.
        """
        apply_defaults(self.resource, obj)
        metadata = obj["metadata"]
        try:
            revision = parse_revision(metadata.get("resourceVersion") or "")
        except ValueError as error:
            raise status.raw(500, str(error)) from error
        uid = metadata.get("uid")

        def transform(_: Entry, old: Object) -> Object:
            if uid and uid != old["metadata"].get("uid"):
                raise self._uid_conflict(namespace, name, uid, old)
            self._check_version(name, old, revision, patching=False)
            new = {**obj, "metadata": dict(metadata)}
            return self._track(old, new, options, subresource)

        try:
            return await self._change(namespace, name, transform, options, subresource), False
        except status.StatusError as error:
            if error.code == 404 and uid:
                raise self._uid_conflict(namespace, name, uid, {"metadata": {}}) from error
            if error.code != 404 or subresource or not self.resource.allow_create_on_update:
                raise
        # Whatever version the absent object is said to have: who renews a Lease that is gone makes it anew.
        fresh = {key: value for key, value in metadata.items() if key != "resourceVersion"}
        return await self.create(namespace, {**obj, "metadata": fresh}, options), True

    async def patch(
        self,
        namespace: str,
        name: str,
        apply: Callable[[Object], Object],
        options: WriteOptions,
        subresource: str = "",
        *,
        pure: bool = False,
    ) -> Entry:
        """Stores what `apply` makes of the present object; done anew when somebody else was faster.

        `apply` gets an object that it may keep, unless it is `pure`: then it leaves the object as it is, and what
        both share of it is not changed later. Raises StatusError 404, 409 for a stale resourceVersion in the
        patch, 422, and whatever `apply` raises.
        """

        def transform(entry: Entry, present: Object) -> Object:
            old = present if pure else entry.object()
            patched = apply(old)
            self._complete(name, old, patched)
            return self._track(old, patched, options, subresource)

        return await self._change(namespace, name, transform, options, subresource)

    async def apply(
        self,
        namespace: str,
        name: str,
        config: Object,
        check: Callable[[Object], None],
        options: WriteOptions,
        subresource: str = "",
    ) -> tuple[Entry, bool]:
        """Applies a configuration: (stored state, whether that created the object).

        `check` looks at what came out. Raises StatusError 400, 403, 404 for a subresource of an absent object, 409 for
        conflicts, 422, 500, and whatever `check` raises.
        """
        fields = self._fields(subresource, options)

        def transform(entry: Entry, _: Object) -> Object:
            old = entry.object()
            new = fields.apply(old, config, options.manager, force=options.force, time=self._time())
            check(new)
            self._complete(name, old, new)
            return new

        while True:
            try:
                return await self._change(namespace, name, transform, options, subresource), False
            except status.StatusError as error:
                if error.code != 404 or subresource:
                    raise
            new = fields.apply(None, config, options.manager, force=options.force, time=self._time())
            check(new)
            if new["metadata"].get("uid"):
                raise self._no_such_uid(name, new["metadata"]["uid"])
            try:
                return await self.create(namespace, new, options, applied=True), True
            except status.StatusError as error:
                if error.status.get("reason") != "AlreadyExists":
                    raise

    def _no_such_uid(self, name: str, uid: str) -> status.StatusError:
        message = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        return status.conflict(self.resource.plural, self.resource.group, name, message)

    def _complete(self, name: str, old: Object, patched: Object) -> None:
        """Fills in defaults and holds the patch to the resourceVersion that it gives."""
        apply_defaults(self.resource, patched)
        try:
            revision = parse_revision(patched["metadata"].get("resourceVersion") or "")
        except ValueError as error:
            raise status.raw(500, str(error)) from error
        self._check_version(name, old, revision, patching=True)

    def _check_version(self, name: str, old: Object, revision: int, *, patching: bool) -> None:
        if not revision:
            if patching or self.resource.allow_unconditional_update:
                return
            raise self._version_required(name)
        if str(revision) != old["metadata"]["resourceVersion"]:
            raise status.conflict(self.resource.plural, self.resource.group, name)

    def _version_required(self, name: str) -> status.StatusError:
        error = field.invalid("metadata.resourceVersion", 0, "must be specified for an update")
        return status.invalid(self.resource.plural, self.resource.group, name, [error])

    def _uid_conflict(self, namespace: str, name: str, uid: str, old: Object) -> status.StatusError:
        message = (
            f"StorageError: invalid object, Code: 4, Key: {self.key(namespace, name).decode()}, "
            f"ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, "
            f"UID in object meta: {old['metadata'].get('uid', '')}"
        )
        return status.conflict(self.resource.plural, self.resource.group, name, message)

    async def _change(
        self, namespace: str, name: str, transform: Transform, options: WriteOptions, subresource: str
    ) -> Entry:
        """Reads, transforms, validates and swaps until it fits."""
        key = self.key(namespace, name)
        review = self._review(UPDATE, namespace, name, options, subresource)
        entry = self._newest(key)
        fresh = entry is None
        if entry is None:
            entry = await self._read(key)
        while True:
            if entry is None:
                raise self.not_found(name)
            try:
                old = entry.object()
                new = transform(entry, old)
                await self._settle(new, old, name, options, review, subresource)
            except status.StatusError:
                if fresh:
                    raise
                entry, fresh = await self._read(key), True
                continue
            unchanged = new == old
            if unchanged and not fresh:
                known = entry.revision
                entry, fresh = await self._read(key), True
                if entry is None or entry.revision != known:
                    continue
            if unchanged and not entry.stale:
                return entry
            if review is not UNCONCERNED:
                await review.reserve(new, old)
            try:
                return await self._store_change(key, entry, new, options)
            except KeyChanged as error:
                entry, fresh = self._entry(error.current), True

    async def _settle(
        self, new: Object, old: Object, name: str, options: WriteOptions, review: Review, subresource: str
    ) -> None:
        """Brings `new` into the form to store in place of `old`. Raises StatusError 403 or 422."""
        await review.mutate(new, old)
        new["kind"], new["apiVersion"] = self.resource.kind, self.resource.api_version
        meta.carry_metadata(new["metadata"], old["metadata"])
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        if "namespace" in old["metadata"]:
            new["metadata"].setdefault("namespace", old["metadata"]["namespace"])
        owners = new["metadata"].get("managedFields")
        drop_disabled(self.resource, new)
        self.strategy.prepare(new, old, subresource)
        _put_owners(new, owners)
        errors = validate_update(options.row or self.resource, new, old, subresource)
        if errors:
            raise status.invalid(self.resource.kind, self.resource.group, name, errors)
        await review.validate(new, old)
        keep_times(old, new)

    async def _store_change(self, key: bytes, entry: Entry, new: Object, options: WriteOptions) -> Entry:
        """Swaps, or deletes when the change let go of an object that is being deleted."""
        value = self._codec.encode(new)
        if "deletionTimestamp" in new["metadata"] and self.strategy.may_be_removed(new):
            if not options.dry_run:
                await self._store.delete(key, entry.revision)
            return self._codec.entry(key, value, entry.revision)
        if options.dry_run:
            return self._codec.entry(key, value, entry.revision)
        try:
            return self._note(self._codec.entry(key, value, await self._store.update(key, value, entry.revision)))
        except RequestTooLarge as error:
            if new["metadata"].pop("managedFields", None) is not None:
                return await self._store_change(key, entry, new, options)
            raise status.too_many_items(str(error)) from error

    # ------------------------------------------------------------------ delete

    async def delete(self, namespace: str, name: str, options: DeleteOptions) -> Deleted:
        """Deletes an object or starts its deletion. Raises StatusError 403, 404 or 409."""
        self.strategy.check_delete(name)
        key = self.key(namespace, name)
        review = self._review(DELETE, namespace, name, options)
        if options.ignore_read_error:
            await delete_unreadable(self._store, self._codec, key, review)
            return Deleted(None, gone=True)
        entry = await self._read(key)
        while True:
            if entry is None:
                raise self.not_found(name)
            decision = deletion.decide(self.strategy, entry.object(), options, self._clock())
            if decision.update is None and not decision.remove:
                return Deleted(entry, gone=False)
            if review is not UNCONCERNED:
                await review.whole(None, entry.object())
            try:
                if decision.update is not None and decision.update != entry.object():
                    entry = await self._mark(key, entry, decision.update, dry_run=options.dry_run)
                if not decision.remove:
                    return Deleted(entry, gone=False)
                if not options.dry_run:
                    entry = entry.at(await self._store.delete(key, entry.revision))
                return Deleted(entry, gone=True)
            except KeyChanged as error:
                entry = self._entry(error.current)

    async def _mark(self, key: bytes, entry: Entry, obj: Object, *, dry_run: bool) -> Entry:
        value = self._codec.encode(obj)
        revision = entry.revision if dry_run else await self._store.update(key, value, entry.revision)
        return self._codec.entry(key, value, revision)


def _put_owners(obj: Object, entries: list[Object] | None) -> None:
    """Sets managedFields, whatever metadata the strategy went back to."""
    metadata = obj["metadata"]
    if metadata.get("managedFields") != entries:
        obj["metadata"] = {key: value for key, value in metadata.items() if key != "managedFields"}
        if entries:
            obj["metadata"]["managedFields"] = entries
