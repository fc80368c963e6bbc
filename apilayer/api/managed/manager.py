"""The order in which managedFields follow an update, and in which a configuration is applied.

One `FieldManager` serves one version of a resource, or one of its subresources. Both its methods work on canonical
objects in the stored form; fields are named as its version names them. What comes in is left as it is, but for the
metadata of an update's new object.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from apilayer.api import status
from apilayer.api.decode import DecodeError, decode_document, message_name
from apilayer.api.decode.convert import converter
from apilayer.api.managed import entries, lastapplied
from apilayer.api.managed.compare import compare, field_set
from apilayer.api.managed.entries import APPLY, UPDATE, EntriesError, Manager, Managers, Ownership
from apilayer.api.managed.fieldset import Fields, difference, ordered, recursive_difference, union
from apilayer.api.managed.merge import TypedError, atomic_only, check, merge
from apilayer.api.managed.ownership import Change, Conflicts, take_from_others
from apilayer.api.managed.prune import prune
from apilayer.api.managed.replicas import Replicas
from apilayer.api.managed.reset import STRIPPED, ignored_fields
from apilayer.api.managed.typed import ItemError
from apilayer.api.managed.versions import Versions
from apilayer.api.patch.restore import restore_error

if TYPE_CHECKING:
    from apilayer.api.resources import Resource

Object = dict[str, Any]

BEFORE_FIRST_APPLY = "before-first-apply"
MAX_NAME_BYTES = 128


def manager_name(field_manager: str, user_agent: str) -> str:
    """Who a write is put down to: the name given, else the program that the User-Agent names."""
    if field_manager:
        return field_manager
    name = ""
    for char in user_agent.partition("/")[0]:
        if char.isprintable():
            if len((name + char).encode()) > MAX_NAME_BYTES:
                break
            name += char
    return name or "unknown"


class FieldManager:
    """managedFields of a resource (`subresource` "") or of what is written through a subresource."""

    def __init__(self, resource: Resource, subresource: str = "") -> None:
        self._resource = resource
        self._subresource = subresource
        self._versions = Versions(resource)
        self._ignored = ignored_fields(resource, subresource)
        self._replicas = Replicas()

    def empty(self) -> Object:
        """What a new object is compared with: the kind with nothing filled in."""
        blank: Object = converter(message_name(self._resource))({})
        return {"kind": self._resource.kind, "apiVersion": self._resource.api_version, **blank}

    @functools.cached_property
    def _nothing(self) -> Object:
        """As `empty`, for looking at."""
        return self.empty()

    # ---------------------------------------------------------------- update

    def update(self, old: Object | None, new: Object, name: str, time: str) -> None:
        """Sets the managedFields of `new`, which `name` makes of `old` (None: creates) at `time`.

        managedFields in `new` replace those of `old` where they can be read; an empty list, or one empty entry,
        drops them. An object that has none and is there already gets none.
        """
        metadata = new["metadata"]
        given = metadata.pop("managedFields", None)
        present = old["metadata"].get("managedFields") if old is not None else None
        managers = self._tracked(present, given)
        if not managers and old is not None:
            return
        seen = self._seen(old) if old is not None else None
        try:
            managers = self._updated(managers, seen, self._seen(new), name, time)
        except ItemError:
            return
        if managers:
            metadata["managedFields"] = entries.write(managers)

    def _seen(self, obj: Object) -> Object:
        """An object in the stored form, in the form of the manager's version."""
        seen = self._versions.at(obj, self._versions.stored, self._versions.own)
        return obj if seen is None else seen

    def _tracked(self, present: Any, given: Any) -> Managers:
        """The managers to go on with: those in the request, unless they are of no use, else those there are."""
        if not self._subresource and given != present:
            if entries.is_reset(given):
                return {}
            try:
                managers = entries.read(given, trusted=False, known=present)
            except EntriesError:
                managers = {}
            if managers:
                return managers
        try:
            return entries.read(present, trusted=True)
        except EntriesError:
            return {}

    def _updated(self, managers: Managers, old: Object | None, new: Object, name: str, time: str) -> Managers:
        shape = self._versions.shape
        if old is None:
            before, own = self._nothing, self._replicas.compare_new(shape, self._nothing, new)
        else:
            before = _without_managers(old)
            own = compare(shape, before, new)
        own = own.without(self._ignored)
        change = Change(self._versions, before, new, self._ignored)
        managers = take_from_others(change, own, managers, None, force=True)
        fields = difference(own.touched, STRIPPED)
        if fields:
            manager = Manager(name, UPDATE, self._versions.own, self._subresource)
            known = managers.get(manager)
            if known is not None:
                fields = union(known.fields, fields) if difference(fields, known.fields) else known.fields
            managers[manager] = Ownership(fields, self._versions.own, time)
        return entries.cap_updates(managers)

    # ---------------------------------------------------------------- apply

    def apply(self, old: Object | None, config: Object, name: str, *, force: bool, time: str) -> Object:
        """`old` (None: a new object) as it is once `name` has applied `config` to it, not defaulted yet.

        Raises StatusError 400 for a configuration of another kind, 409 for conflicts, 500 for one that does not
        fit its type.
        """
        present = old["metadata"].get("managedFields") if old is not None else None
        try:
            managers = entries.read(present, trusted=True)
        except EntriesError as error:
            raise status.raw(500, f"failed to decode managed fields: {error}") from error
        self._check_type(config)
        live = _without_managers(self._seen(old)) if old is not None else self.empty()
        if not managers and old is not None:
            managers = self._before_first_apply(live, time)
        try:
            obj, managers = self._applied(live, config, managers, name, force=force, time=time)
        except Conflicts as conflicts:
            if name != lastapplied.KUBECTL:
                raise conflicts.status_error() from None
            remaining = self._not_his_own(conflicts, live)
            if remaining:
                raise Conflicts(remaining).status_error() from None
            obj, managers = self._applied(live, config, managers, name, force=True, time=time)
        stored = self._versions.at(obj, self._versions.own, self._versions.stored) or obj
        obj = {**stored, "metadata": dict(stored.get("metadata") or {})}
        obj["metadata"].pop("managedFields", None)
        if managers:
            obj["metadata"]["managedFields"] = entries.write(managers)
        if name == lastapplied.KUBECTL:
            lastapplied.follow(obj, config)
        return obj

    def _before_first_apply(self, live: Object, time: str) -> Managers:
        """Who is to have made an object that nobody owns; nobody when its lists are not of their types."""
        try:
            return self._updated({}, None, live, BEFORE_FIRST_APPLY, time)
        except ItemError:
            return {}

    def _check_type(self, config: Object) -> None:
        kind, api_version = config.get("kind"), config.get("apiVersion")
        kind, api_version = (value if isinstance(value, str) else "" for value in (kind, api_version))
        if (kind, api_version) != (self._resource.kind, self._resource.api_version):
            group, _, version = api_version.rpartition("/")
            raise status.bad_request(f"invalid object type: {group}/{version}, Kind={kind}")
        metadata = config.get("metadata")
        if isinstance(metadata, dict) and isinstance(metadata.get("managedFields"), list):
            raise status.bad_request("metadata.managedFields must be nil")

    def _not_his_own(self, conflicts: Conflicts, live: Object) -> dict[Manager, Fields]:
        """The conflicts that are not about what the user applied himself on the client's side before."""
        allowed = lastapplied.applied_before(live, self._versions.shape, self._versions.own)
        left = ((manager, difference(fields, allowed)) for manager, fields in conflicts.fields.items())
        return {manager: fields for manager, fields in left if fields}

    def _applied(
        self, live: Object, config: Object, managers: Managers, name: str, *, force: bool, time: str
    ) -> tuple[Object, Managers]:
        """One attempt: the object in canonical form, and its managers. Raises StatusError 500, Conflicts."""
        versions = self._versions
        shape = versions.shape
        try:
            check(shape, config)
        except TypedError as error:
            text = f"failed to create typed patch object ({_described(config)}): {_shown(config, error)}"
            raise status.raw(500, text) from error
        manager = Manager(name, APPLY, "", self._subresource)
        before = managers.get(manager)
        try:
            managers = {
                key: Ownership(atomic_only(versions.shape_of(owned.version), owned.fields), owned.version, owned.time)
                for key, owned in managers.items()
            }
            fields = recursive_difference(ordered_set(field_set(shape, config)), self._ignored)
            managers[manager] = Ownership(fields, versions.own, before.time if before else "")
            merged = prune(merge(shape, live, config), versions, managers, before)
            change = Change(versions, live, merged, self._ignored)
            own = compare(shape, live, merged).without(self._ignored)
            managers = take_from_others(change, own, managers, manager, force=force)
        except ItemError as error:
            raise status.raw(500, f"failed to apply the configuration ({_described(config)}): {error}") from error
        changed = merged != live
        fields = difference(fields, STRIPPED)
        if fields:
            managers[manager] = Ownership(fields, versions.own, time if changed else managers[manager].time)
        else:
            managers.pop(manager, None)
        return (self._decoded(merged, config) if changed else live), managers

    def _decoded(self, merged: Object, config: Object) -> Object:
        try:
            return decode_document(merged, self._resource, field_validation="Ignore").object
        except DecodeError as error:
            problem = restore_error(merged, message_name(self._resource)) or str(error)
            head = f"failed to convert new object ({_described(config)}) to proper version"
            raise status.raw(500, f"{head}: {problem}") from error


def ordered_set(fields: Fields) -> Fields:
    """A set in the order in which it is written."""
    return ordered(fields) if fields else fields


def _without_managers(obj: Object) -> Object:
    return {**obj, "metadata": {key: value for key, value in obj["metadata"].items() if key != "managedFields"}}


def _shown(config: Object, error: TypedError) -> str:
    """What is wrong, without what was found there in a Secret: messages are audited."""
    text = str(error)
    return re.sub(", got .*", "", text) if (config.get("apiVersion"), config.get("kind")) == ("v1", "Secret") else text


def _described(config: Object) -> str:
    """An object as errors name it: namespace, name and kind."""
    metadata = config.get("metadata")
    names = metadata if isinstance(metadata, dict) else {}
    group, _, version = str(config.get("apiVersion", "")).rpartition("/")
    kind = f"{group}/{version}, Kind={config.get('kind', '')}"
    return f"{names.get('namespace') or ''}/{names.get('name') or ''}; {kind}"
