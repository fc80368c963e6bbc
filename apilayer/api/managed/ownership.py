"""What a change does to the fields that others own: updates take them away, applies meet conflicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from apilayer.api import status
from apilayer.api.managed.compare import Comparison, compare
from apilayer.api.managed.entries import Manager, Managers, Ownership
from apilayer.api.managed.fieldset import Fields, difference, intersection, paths

if TYPE_CHECKING:
    from apilayer.api.managed.versions import Versions

Object = dict[str, Any]

_MAX_CONFLICTS = 1000


class Conflicts(Exception):  # a finding, handled where it is raised
    """Fields that an apply would change and other managers own."""

    def __init__(self, fields: dict[Manager, Fields]) -> None:
        super().__init__("conflicts")
        self.fields = fields

    def status_error(self) -> status.StatusError:
        """409 with one cause per field."""
        found = [(manager, path) for manager in sorted(self.fields) for path in paths(self.fields[manager])]
        if len(found) == 1:
            manager, path = found[0]
            text = f"1 conflict: conflict with {manager}: {path}"
        else:
            lines = []
            for manager in sorted(self.fields):
                lines.append(f"conflicts with {manager}:")
                lines += [f"- {path}" for path in paths(self.fields[manager])][:_MAX_CONFLICTS]
            text = f"{len(found)} conflicts: " + "\n".join(lines)
        causes = [
            {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": path}
            for manager, path in found[:_MAX_CONFLICTS]
        ]
        return status.apply_conflict(f"Apply failed with {text}", causes)


class Change(msgspec.Struct, frozen=True):
    """An object before and after, in the served version, and what of it is not tracked."""

    versions: Versions
    old: Object
    new: Object
    ignored: Fields

    def comparison(self, api_version: str) -> Comparison | None:
        """The difference as that version names it; None when the kind has no such version."""
        versions = self.versions
        old = versions.at(self.old, versions.own, api_version)
        new = versions.at(self.new, versions.own, api_version)
        if old is None or new is None:
            return None
        return compare(versions.shape_of(api_version), old, new).without(self.ignored)


def take_from_others(
    change: Change, own: Comparison, managers: Managers, actor: Manager | None, *, force: bool
) -> Managers:
    """The managers after the change; `actor` (None: everybody) keeps what it has.

    `own` is the change's comparison in the served version. Raises Conflicts unless `force` is set.
    """
    known: dict[str, Comparison | None] = {change.versions.own: own}
    conflicts: dict[Manager, Fields] = {}
    out: Managers = {}
    for manager, owned in managers.items():
        if manager == actor:
            out[manager] = owned
            continue
        if owned.version not in known:
            known[owned.version] = change.comparison(owned.version)
        seen = known[owned.version]
        if seen is None:
            continue
        if not force:
            common = intersection(owned.fields, seen.touched)
            if common:
                conflicts[manager] = common
        fields = difference(difference(owned.fields, seen.touched), seen.removed)
        if fields is owned.fields:
            out[manager] = owned
        elif fields:
            out[manager] = Ownership(fields, owned.version, owned.time)
    if conflicts:
        raise Conflicts(conflicts)
    return out
