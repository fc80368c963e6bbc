"""Rules for the status of a Job: its conditions, times and counts fit each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.api import field
from apilayer.api.validation.common import Errors, Object, items, non_negative, part, text
from apilayer.api.validation.job_policies import count_indexes

if TYPE_CHECKING:
    from collections.abc import Callable

_WHERE = "status.conditions"
_COUNTS = ("active", "succeeded", "failed", "ready", "terminating")
# Two conditions that are not both true, and one that is not true without the other.
_EXCLUSIVE = (("Complete", "Failed"), ("Complete", "FailureTarget"))
_NEEDED = (("Failed", "FailureTarget"), ("Complete", "SuccessCriteriaMet"))


def job_status(new: Object, old: Object) -> Errors:
    """Rules for a new status; what was wrong in the old one may stay wrong."""
    wrong = non_negative(part(new, "status"), "status", *_COUNTS)
    for rule in _RULES:
        if not rule(old):
            wrong += rule(new)
    return wrong


def _true(obj: Object) -> set[str]:
    conditions = items(part(obj, "status"), "conditions")
    return {text(item, "type") for item in conditions if item.get("status") == "True"}


def _exclusive(obj: Object) -> Errors:
    found = _true(obj)
    return [
        field.invalid_unshown(_WHERE, f"cannot set {first}=True and {second}=true conditions")
        for first, second in _EXCLUSIVE
        if {first, second} <= found
    ]


def _completion_time(obj: Object) -> Errors:
    status = part(obj, "status")
    done, start, where = status.get("completionTime"), status.get("startTime"), "status.completionTime"
    complete = "Complete" in _true(obj)
    wrong: Errors = []
    if done is not None and not complete:
        detail = "cannot set completionTime when there is no Complete=True condition"
        wrong.append(field.invalid(where, done, detail))
    if done is None and complete:
        wrong.append(field.required(where, "completionTime is required for Complete jobs"))
    if done is not None and start is not None and done < start:
        wrong.append(field.invalid(where, done, "completionTime cannot be set before startTime"))
    return wrong


def _needed(obj: Object) -> Errors:
    found = _true(obj)
    return [
        field.invalid_unshown(_WHERE, f"cannot set {first}=True condition without the {needed}=true condition")
        for first, needed in _NEEDED
        if first in found and needed not in found
    ]


def _finished(obj: Object) -> Errors:
    status = part(obj, "status")
    if not _true(obj) & {"Complete", "Failed"}:
        return []
    wrong: Errors = []
    if status.get("active", 0) > 0:
        wrong.append(field.invalid("status.active", status["active"], "active>0 is invalid for finished job"))
    if status.get("startTime") is None:
        wrong.append(field.required("status.startTime", "startTime is required for finished job"))
    uncounted = part(status, "uncountedTerminatedPods")
    if items(uncounted, "succeeded") or items(uncounted, "failed"):
        detail = "uncountedTerminatedPods needs to be empty for finished job"
        wrong.append(field.invalid("status.uncountedTerminatedPods", uncounted, detail))
    return wrong


def _indexes(key: str) -> Callable[[Object], Errors]:
    def rule(obj: Object) -> Errors:
        spec, listed, where = part(obj, "spec"), text(part(obj, "status"), key), f"status.{key}"
        if not listed:
            return []
        if spec.get("completionMode") != "Indexed":
            detail = f"cannot set non-empty {key} when non-indexed completion mode"
            return [field.invalid(where, listed, detail)]
        _, problem = count_indexes(listed, spec.get("completions") or 0)
        return [field.invalid(where, listed, f"error parsing {key}: {problem}")] if problem else []

    return rule


_RULES = (_exclusive, _completion_time, _needed, _finished, _indexes("completedIndexes"), _indexes("failedIndexes"))
