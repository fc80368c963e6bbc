"""Rules for Namespaces and Leases."""

from __future__ import annotations

from apilayer.api import field
from apilayer.api.validation.common import Errors, Object, indexed, items, non_negative, part, text
from apilayer.api.validation.metadata import finalizer_name


def namespace(obj: Object) -> Errors:
    """A Namespace's finalizers are qualified names or standard ones."""
    finalizers = items(part(obj, "spec"), "finalizers")
    return [error for name in finalizers for error in finalizer_name(name, "spec.finalizers")]


def namespace_finalize(new: Object, old: Object) -> Errors:
    """As for a new Namespace; here each finalizer is named by its place."""
    del old
    finalizers = indexed(part(new, "spec"), "finalizers", "spec")
    return [error for where, name in finalizers for error in finalizer_name(name, where)]


def namespace_status(new: Object, old: Object) -> Errors:
    """The phase of a Namespace follows its deletion timestamp."""
    del old
    phase = text(part(new, "status"), "phase")
    deleting = bool(part(new, "metadata").get("deletionTimestamp"))
    wanted = "Terminating" if deleting else "Active"
    if phase == wanted:
        return []
    when = "not empty" if deleting else "empty"
    detail = f"may only be '{wanted}' if `deletionTimestamp` is {when}"
    return [field.invalid("status.Phase", phase, detail)]


def lease(obj: Object) -> Errors:
    """Durations are positive, counts not negative."""
    spec = part(obj, "spec")
    wrong: Errors = []
    duration = spec.get("leaseDurationSeconds")
    if duration is not None and duration <= 0:
        wrong.append(field.invalid("spec.leaseDurationSeconds", duration, "must be greater than 0"))
    return wrong + non_negative(spec, "spec", "leaseTransitions")
