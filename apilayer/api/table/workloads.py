"""Cells of jobs, autoscalers and the histories of workloads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api.table.age import UNKNOWN, human_duration, parse_time
from apilayer.api.table.cells import NONE, UNSET, dig
from apilayer.api.table.networking import some_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from apilayer.api.table.cells import Cell

    Obj = Mapping[str, Any]

MAX_METRICS = 2
# Conditions of a job that have a word in its row, the first that is true counts; deletion stands between them.
_JOB_ENDS = (("Complete", "Complete"), ("Failed", "Failed"))
_JOB_STATES = (
    ("Suspended", "Suspended"),
    ("FailureTarget", "FailureTarget"),
    ("SuccessCriteriaMet", "SuccessCriteriaMet"),
)


def job_status(obj: Obj, now: datetime) -> str:
    """One word for the state of a job."""
    del now
    conditions = dig(obj, "status", "conditions") or ()
    true = {condition.get("type") for condition in conditions if condition.get("status") == "True"}
    for name, word in _JOB_ENDS:
        if name in true:
            return word
    if dig(obj, "metadata", "deletionTimestamp"):
        return "Terminating"
    return next((word for name, word in _JOB_STATES if name in true), "Running")


def job_completions(obj: Obj, now: datetime) -> str:
    """How many pods have succeeded, and how many are to."""
    del now
    done = dig(obj, "status", "succeeded") or 0
    wanted = dig(obj, "spec", "completions")
    if wanted is not None:
        return f"{done}/{wanted}"
    at_once = dig(obj, "spec", "parallelism") or 0
    return f"{done}/1 of {at_once}" if at_once > 1 else f"{done}/1"


def job_duration(obj: Obj, now: datetime) -> str:
    """How long a job has run, or ran."""
    start = parse_time(dig(obj, "status", "startTime"))
    if start is None:
        return ""
    end = parse_time(dig(obj, "status", "completionTime")) or now
    return human_duration((end - start).total_seconds())


def autoscaler_targets(obj: Obj, now: datetime) -> str:
    """Current and wanted value of the first metrics of an autoscaler."""
    del now
    specs = dig(obj, "spec", "metrics") or ()
    if not specs:
        return NONE
    states = dig(obj, "status", "currentMetrics") or ()
    texts = [_metric(spec, states[index] if index < len(states) else {}) for index, spec in enumerate(specs)]
    return some_of(texts, MAX_METRICS, ", ")


def _metric(spec: Obj, state: Obj) -> str:
    kind = spec.get("type") or ""
    name = kind[:1].lower() + kind[1:]
    source = spec.get(name)
    if not isinstance(source, dict):
        return "<unknown type>"
    target = source.get("target") or {}
    current = dig(state, name, "current") or {}
    average = target.get("averageValue")
    if name in ("resource", "containerResource"):
        if average is not None:
            return f"{source.get('name')}: {current.get('averageValue', UNKNOWN)}/{average}"
        shown, wanted = current.get("averageUtilization"), target.get("averageUtilization")
        shown = UNKNOWN if shown is None else f"{shown}%"
        return f"{source.get('name')}: {shown}/{'<auto>' if wanted is None else f'{wanted}%'}"
    if average is None:
        return f"{current.get('value', UNKNOWN)}/{target.get('value', UNKNOWN)}"
    suffix = "" if name == "pods" else " (avg)"
    return f"{current.get('averageValue', UNKNOWN)}/{average}{suffix}"


def autoscaler_minimum(obj: Obj, now: datetime) -> str:
    """The least number of replicas, as text."""
    del now
    least = dig(obj, "spec", "minReplicas")
    return UNSET if least is None else str(least)


def autoscaler_reference(obj: Obj, now: datetime) -> str:
    """Kind and name of what is scaled."""
    del now
    ref = dig(obj, "spec", "scaleTargetRef") or {}
    return f"{ref.get('kind', '')}/{ref.get('name', '')}"


def controller(obj: Obj, now: datetime) -> str:
    """What controls the object, e.g. ``statefulset.apps/db``."""
    del now
    for owner in dig(obj, "metadata", "ownerReferences") or ():
        if owner.get("controller"):
            group = owner.get("apiVersion", "").rpartition("/")[0]
            kind = owner.get("kind", "").lower()
            return f"{kind}.{group}/{owner.get('name', '')}" if group else f"{kind}/{owner.get('name', '')}"
    return NONE


def suspended(obj: Obj, now: datetime) -> str:
    """Whether a cron job is suspended, as a word."""
    del now
    value = dig(obj, "spec", "suspend")
    return UNSET if value is None else str(bool(value))


def last_schedule(obj: Obj, now: datetime) -> str:
    """How long ago a cron job last ran."""
    moment = parse_time(dig(obj, "status", "lastScheduleTime"))
    return NONE if moment is None else human_duration((now - moment).total_seconds())


CELLS: dict[str, Cell] = {
    "job_status": job_status,
    "job_completions": job_completions,
    "job_duration": job_duration,
    "autoscaler_targets": autoscaler_targets,
    "autoscaler_minimum": autoscaler_minimum,
    "autoscaler_reference": autoscaler_reference,
    "controller": controller,
    "suspended": suspended,
    "last_schedule": last_schedule,
}
