"""managedFields entries to managers with their sets of fields, and back.

A manager is told apart by its name, operation, subresource and, for updates, the version that it used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from apilayer.api.gotext import quote
from apilayer.api.managed.fieldset import EMPTY, Fields, FieldSetError, ordered, parse, union

if TYPE_CHECKING:
    from collections.abc import Iterable

APPLY = "Apply"
UPDATE = "Update"
ANCIENT = "ancient-changes"
"""The manager that the oldest updates are put together under once there are too many."""
MAX_UPDATE_MANAGERS = 10
_FIELDS_TYPE = "FieldsV1"


class Manager(NamedTuple):
    """Who made changes; `version` is "" for appliers, which stay the same when they change their version."""

    name: str
    operation: str
    version: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        text = quote(self.name)
        if self.subresource:
            text += f" with subresource {quote(self.subresource)}"
        return f"{text} using {self.version}" if self.operation == UPDATE else text


class Ownership(msgspec.Struct, frozen=True):
    """The fields of one manager, the version that they are named in, and when it last changed them ("" unknown)."""

    fields: Fields
    version: str
    time: str = ""


Managers = dict[Manager, Ownership]


class EntriesError(ValueError):
    """managedFields that cannot be read."""


def read(entries: Any, *, trusted: bool, known: Any = ()) -> Managers:
    """The managers in a decoded ``managedFields``. Raises EntriesError.

    `trusted` entries were written by this server, as those in `known` were, so their sets are taken as they are:
    a client sends back those that it once got.
    """
    managers: Managers = {}
    sets = [entry.get("fieldsV1") or EMPTY for entry in known or ()] if not trusted else []
    for index, entry in enumerate(entries or ()):
        operation, version = entry.get("operation", ""), entry.get("apiVersion", "")
        if operation not in (APPLY, UPDATE):
            raise EntriesError("operation must be `Update` or `Apply`")
        if not version:
            raise EntriesError("apiVersion must not be empty")
        kind = entry.get("fieldsType", "")
        if kind != _FIELDS_TYPE:
            problem = f"invalid fieldsType {quote(kind)}" if kind else "missing fieldsType"
            raise EntriesError(f"{problem} in managed fields entry {index}")
        fields = entry.get("fieldsV1") or {}
        if fields.__class__ is not dict:
            raise EntriesError("error decoding set: not an object")
        if not trusted:
            fields = _read_set(fields, index, sets)
        manager = Manager(
            entry.get("manager", ""),
            operation,
            "" if operation == APPLY else version,
            entry.get("subresource", ""),
        )
        managers[manager] = Ownership(fields, version, entry.get("time") or "")
    return managers


def _read_set(fields: Fields, index: int, known: list[Fields]) -> Fields:
    """The set in an entry that a client sent; most are among the `known` ones, or much like that at `index`."""
    if fields in known:
        return known[known.index(fields)]
    try:
        return parse(fields, known[index] if index < len(known) else EMPTY)
    except FieldSetError as error:
        raise EntriesError(f"error decoding set: {error}") from error


def write(managers: Managers) -> list[dict[str, Any]]:
    """``managedFields``: appliers first, then by time, name, version and subresource."""
    rows = sorted(
        (manager.operation, owned.time, manager.name, owned.version, manager.subresource, manager)
        for manager, owned in managers.items()
    )
    return [_entry(row[-1], managers[row[-1]]) for row in rows]


def _entry(manager: Manager, owned: Ownership) -> dict[str, Any]:
    entry: dict[str, Any] = {"manager": manager.name, "operation": manager.operation, "apiVersion": owned.version}
    if owned.time:
        entry["time"] = owned.time
    entry["fieldsType"] = _FIELDS_TYPE
    entry["fieldsV1"] = owned.fields
    if manager.subresource:
        entry["subresource"] = manager.subresource
    return entry


def is_reset(entries: Any) -> bool:
    """Whether the client asks for all managers to be forgotten: an empty list, or one empty entry."""
    return isinstance(entries, list) and entries in ([], [{}])


def cap_updates(managers: Managers) -> Managers:
    """At most ten managers that update: the oldest of each version become one."""
    updates = [manager for manager in managers if manager.operation == UPDATE]
    excess = len(updates) - MAX_UPDATE_MANAGERS
    if excess <= 0:
        return managers
    updates.sort(key=lambda manager: (managers[manager].time, manager))
    out = dict(managers)
    first: dict[str, Manager] = {}
    for manager in updates:
        if excess <= 0:
            break
        owned = out[manager]
        oldest = first.setdefault(owned.version, manager)
        if oldest is manager:
            continue
        bucket = Manager(ANCIENT, UPDATE, owned.version)
        if bucket not in out:
            out[bucket] = out.pop(oldest)
        fields = ordered(union(owned.fields, out[bucket].fields))
        if manager != bucket:
            del out[manager]
        out[bucket] = Ownership(fields, owned.version, owned.time)
        excess -= 1
    return out


def keep_times(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Gives `new` the managedFields of `old` when the two objects differ in nothing but times in them.

    So that a write that changes nothing is seen as such.
    """
    before, after = old["metadata"].get("managedFields"), new["metadata"].get("managedFields")
    if not before or not after or before == after or not _same_but_for_time(before, after):
        return
    if {**new, "metadata": {**new["metadata"], "managedFields": before}} == old:
        new["metadata"]["managedFields"] = before


def _same_but_for_time(left: Iterable[Any], right: Iterable[Any]) -> bool:
    return [_timeless(entry) for entry in left] == [_timeless(entry) for entry in right]


def _timeless(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "time"}
