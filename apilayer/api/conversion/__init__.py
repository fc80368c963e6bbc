"""Objects from the form of one version to that of another, for the resources that have more than one.

Each resource is kept in the form of one version (`Resource.storage`). A request speaks the form of its own: what
it brings is converted on the way in, what it gets on the way out. Both forms are canonical.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api.conversion import autoscalers, events
from apilayer.api.decode import message_name
from apilayer.api.decode.convert import converter

if TYPE_CHECKING:
    from collections.abc import Callable

    from apilayer.api.resources import Resource

    Object = dict[str, Any]
    Conversion = Callable[[Object], Object]

__all__ = ["from_storage", "to_storage"]

# By the row of the version that is not kept: (into the stored form, out of it). They may leave out kind and version.
_CONVERSIONS: dict[tuple[str, str, str], tuple[Conversion, Conversion]] = {
    ("autoscaling", "v1", "horizontalpodautoscalers"): (autoscalers.to_v2, autoscalers.from_v2),
    ("events.k8s.io", "v1", "events"): (events.to_core, events.from_core),
}


def to_storage(row: Resource, obj: Object) -> Object:
    """`obj`, which is in the form of `row`, in the stored form; the same object when that is the same."""
    if row.stored_as is None:
        return obj
    return _in_form_of(row.storage, _CONVERSIONS[row.group, row.version, row.plural][0](obj))


def from_storage(row: Resource, obj: Object) -> Object:
    """`obj`, which is in the stored form, in the form of `row`; the same object when that is the same."""
    if row.stored_as is None:
        return obj
    return _in_form_of(row, _CONVERSIONS[row.group, row.version, row.plural][1](obj))


def _in_form_of(row: Resource, obj: Object) -> Object:
    members = {key: value for key, value in obj.items() if key not in ("kind", "apiVersion")}
    return {"kind": row.kind, "apiVersion": row.api_version, **converter(message_name(row))(members)}
