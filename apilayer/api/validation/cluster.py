"""Rules for Namespaces, Leases and Events."""

from __future__ import annotations

from apilayer.api import field, names
from apilayer.api.validation.common import Errors, Object, indexed, items, named, non_negative, part, text
from apilayer.api.validation.metadata import finalizer_name

EVENT_TEXT_MAX = 128
EVENT_MESSAGE_MAX = 1024


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


def event(obj: Object) -> Errors:
    """An Event is in the namespace of its object; one with an eventTime also says who reports what."""
    namespace_of = text(part(obj, "metadata"), "namespace")
    involved = text(part(obj, "involvedObject"), "namespace")
    recent = obj.get("eventTime") is not None
    if involved:
        agrees = recent or involved == namespace_of
    else:
        agrees = namespace_of in (("default", "kube-system") if recent else ("", "default"))
    wrong: Errors = []
    if not agrees:
        detail = "does not match event.namespace"
        wrong.append(field.invalid("involvedObject.namespace", involved, detail))
    if recent:
        wrong += _recent_event(obj)
    return wrong + [field.invalid("namespace", namespace_of, message) for message in names.dns_subdomain(namespace_of)]


def _recent_event(obj: Object) -> Errors:
    wrong: Errors = []
    controller = text(obj, "reportingComponent")
    if not controller:
        wrong.append(field.required("reportingComponent"))
    wrong += named("reportingComponent", controller, names.qualified_name)
    for key in ("reportingInstance", "action", "reason"):
        value = text(obj, key)
        if not value:
            wrong.append(field.required(key))
        if len(value.encode()) > EVENT_TEXT_MAX:
            wrong.append(field.invalid(key, "", f"can have at most {EVENT_TEXT_MAX} characters"))
    if len(text(obj, "message").encode()) > EVENT_MESSAGE_MAX:
        wrong.append(field.invalid("message", "", f"can have at most {EVENT_MESSAGE_MAX} characters"))
    return wrong
