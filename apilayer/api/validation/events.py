"""Rules for Events: lenient ones for those that come as core/v1, strict ones for those of events.k8s.io/v1.

Both judge the stored form; errors name fields as core/v1 does, except for the controller that reports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api import field, names
from apilayer.api.validation import goform
from apilayer.api.validation.common import IMMUTABLE, Errors, Object, named, part, text
from apilayer.api.validation.metadata import validate_meta, validate_meta_update

if TYPE_CHECKING:
    from apilayer.api.validation.vocabulary import Rule

TEXT_MAX_BYTES = 128
MESSAGE_MAX_BYTES = 1024
_UNSET = "needs to be unset"
# What an Event of events.k8s.io never changes, in the order of the errors, with what absence is shown as.
_FIXED: tuple[tuple[str, Any], ...] = (
    ("involvedObject", {}),
    ("reason", ""),
    ("message", ""),
    ("source", {}),
    ("firstTimestamp", None),
    ("lastTimestamp", None),
    ("count", 0),
    ("reason", ""),
    ("type", ""),
    ("eventTime", None),
    ("action", ""),
    ("related", None),
    ("reportingController", ""),
    ("reportingInstance", ""),
)
_MESSAGES = {
    "involvedObject": "core/v1.ObjectReference",
    "related": "core/v1.ObjectReference",
    "source": "core/v1.EventSource",
}
_STORED_NAMES = {"reportingController": "reportingComponent"}


def _lenient(controller_path: str) -> Rule:
    """The rules for an Event of either version; `controller_path` is what errors call the reporting controller."""

    def check(obj: Object) -> Errors:
        namespace = text(part(obj, "metadata"), "namespace")
        involved = text(part(obj, "involvedObject"), "namespace")
        recent = obj.get("eventTime") is not None
        if involved:
            agrees = recent or involved == namespace
        else:
            agrees = namespace in (("default", "kube-system") if recent else ("", "default"))
        wrong: Errors = []
        if not agrees:
            wrong.append(field.invalid("involvedObject.namespace", involved, "does not match event.namespace"))
        if recent:
            wrong += _recent(obj, controller_path)
        return wrong + [field.invalid("namespace", namespace, message) for message in names.dns_subdomain(namespace)]

    return check


def _recent(obj: Object, controller_path: str) -> Errors:
    """One with an eventTime also says who reports what."""
    wrong: Errors = []
    controller = text(obj, "reportingComponent")
    if not controller:
        wrong.append(field.required(controller_path))
    wrong += named(controller_path, controller, names.qualified_name)
    for key in ("reportingInstance", "action", "reason"):
        value = text(obj, key)
        if not value:
            wrong.append(field.required(key))
        if len(value.encode()) > TEXT_MAX_BYTES:
            wrong.append(field.invalid(key, "", f"can have at most {TEXT_MAX_BYTES} characters"))
    if len(text(obj, "message").encode()) > MESSAGE_MAX_BYTES:
        wrong.append(field.invalid("message", "", f"can have at most {MESSAGE_MAX_BYTES} characters"))
    return wrong


core_event = _lenient("reportingComponent")
event = _lenient("reportingController")


def new_event(obj: Object) -> Errors:
    """What a new Event of events.k8s.io has, and which fields of the old form it must not have."""
    wrong = validate_meta(part(obj, "metadata"), namespaced=True, name_rule=names.dns_subdomain)
    wrong += _series(obj)
    if obj.get("eventTime") is None:
        wrong.append(field.required("eventTime"))
    kind = text(obj, "type")
    if kind not in ("Normal", "Warning"):
        wrong.append(field.invalid("type", "", f"has invalid value: {kind}"))
    old_form = ("firstTimestamp", "lastTimestamp", "count")
    wrong += [field.invalid(key, "", _UNSET) for key in old_form if obj.get(key)]
    if any(part(obj, "source").values()):
        wrong.append(field.invalid("source", "", _UNSET))
    return wrong


def _series(obj: Object) -> Errors:
    series = obj.get("series")
    if series is None:
        return []
    wrong: Errors = []
    if series.get("count", 0) < 2:
        wrong.append(field.invalid("series.count", "", "should be at least 2"))
    if series.get("lastObservedTime") is None:
        wrong.append(field.required("series.lastObservedTime"))
    return wrong


def event_update(new: Object, old: Object) -> Errors:
    """Of an Event of events.k8s.io only the series changes."""
    wrong = validate_meta_update(part(new, "metadata"), part(old, "metadata"))
    if new.get("series") != old.get("series"):
        wrong += _series(new)
    for key, absent in _FIXED:
        stored = _STORED_NAMES.get(key, key)
        after = new.get(stored, absent)
        if after != old.get(stored, absent):
            shown = goform.of(after, _MESSAGES[key]) if key in _MESSAGES and after is not None else after
            wrong.append(field.invalid(key, shown, IMMUTABLE))
    return wrong
