"""What an applier no longer speaks of goes away, unless somebody else owns it.

Source: structured-merge-diff's ``merge.Updater``: removed is what the manager applied last time, does not apply
now, and no other manager (nor its own new configuration) claims; what nobody ever owned stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api.managed.compare import field_set
from apilayer.api.managed.fieldset import Fields, difference, intersection, union
from apilayer.api.managed.merge import remove, with_named_fields

if TYPE_CHECKING:
    from apilayer.api.managed.entries import Managers, Ownership
    from apilayer.api.managed.typed import Type
    from apilayer.api.managed.versions import Versions

Object = dict[str, Any]


def prune(merged: Object, versions: Versions, managers: Managers, last: Ownership | None) -> Object:
    """`merged`, of the served version, without what the applier gave up; `managers` has its new fields already.

    `last` is what the applier owned before. Raises ItemError.
    """
    if last is None or not last.fields:
        return merged
    at_last = versions.at(merged, versions.own, last.version)
    if at_last is None:
        return merged
    shape = versions.shape_of(last.version)
    doomed = with_named_fields(shape, last.fields)
    pruned = _removed(shape, at_last, doomed)
    pruned, version = _add_back_owned(at_last, pruned, last.version, versions, managers)
    at_end = versions.at(pruned, version, last.version)
    pruned = pruned if at_end is None else at_end
    pruned = _add_back_dangling(shape, at_last, pruned, doomed)
    result = versions.at(pruned, last.version, versions.own)
    return pruned if result is None else result


def _removed(shape: Type, obj: Object, doomed: Fields) -> Object:
    return remove(shape, obj, doomed) or {}


def _add_back_owned(
    merged: Object, pruned: Object, version: str, versions: Versions, managers: Managers
) -> tuple[Object, str]:
    """Adds back what any manager owns, the pruned version first; the result and the version that it is in."""
    by_version: dict[str, Fields] = {version: {}}
    for owned in managers.values():
        by_version[owned.version] = union(by_version.get(owned.version, {}), owned.fields)
    for wanted, fields in by_version.items():
        merged_there = versions.at(merged, version, wanted)
        pruned_there = versions.at(pruned, version, wanted)
        if merged_there is None or pruned_there is None:
            continue
        merged, pruned, version = merged_there, pruned_there, wanted
        shape = versions.shape_of(wanted)
        everything = with_named_fields(shape, field_set(shape, merged))
        kept = with_named_fields(shape, field_set(shape, pruned))
        owned_here = with_named_fields(shape, fields)
        pruned = _removed(shape, merged, difference(everything, union(kept, owned_here)))
    return pruned, version


def _add_back_dangling(shape: Type, merged: Object, pruned: Object, last: Fields) -> Object:
    """Removes only what the applier owned: what hung below it and had no owner stays."""
    everything = with_named_fields(shape, field_set(shape, merged))
    kept = with_named_fields(shape, field_set(shape, pruned))
    return _removed(shape, merged, intersection(difference(everything, kept), last))
