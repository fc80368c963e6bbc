"""Rules for Jobs and CronJobs."""

from __future__ import annotations

import zoneinfo

from apilayer.api import field, names
from apilayer.api.gotext import quote
from apilayer.api.validation import cron, goform
from apilayer.api.validation.common import Errors, Object, named, non_negative, part, text
from apilayer.api.validation.job_policies import failure_policy, success_policy
from apilayer.api.validation.pod import pod_template
from apilayer.api.validation.selectors import label_selector, matches
from apilayer.api.validation.vocabulary import (
    Check,
    at,
    either,
    fixed,
    maybe_one_of,
    must_have,
    required,
    required_one_of,
    rules,
    still,
)
from apilayer.api.validation.vocabulary import non_negative as not_negative

_LABELS = "batch.kubernetes.io/"
_MISMATCH = "`selector` does not match template `labels`"
_MODES = ("NonIndexed", "Indexed")
MAX_INDEXED = 100_000  # pods at once, or failed indexes, of an indexed Job
_MAX_OF_MANY = 10_000  # the same for a Job with more completions than that
_MANAGED_BY_MAX = 63
_CRON_NAME_MAX = 52  # a Job's name is made of it and 11 characters more
_NO_ZONE = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
_RESTARTS = ("OnFailure", "Never")


def _generated(obj: Object) -> Errors:
    """Unless the user manages the selector, labels and selector are those that the server generates."""
    spec, meta = part(obj, "spec"), part(obj, "metadata")
    if spec.get("manualSelector") or spec.get("selector") is None:
        return []
    expected = {
        "controller-uid": text(meta, "uid"),
        "job-name": text(meta, "name"),
        f"{_LABELS}controller-uid": text(meta, "uid"),
        f"{_LABELS}job-name": text(meta, "name"),
    }
    found = part(part(part(spec, "template"), "metadata"), "labels")
    wrong: Errors = []
    for key, value in expected.items():
        where = f"spec.template.metadata.labels[{key}]"
        if key not in found:
            wrong.append(field.required(where, f"must be '{value}'"))
        elif found[key] != value:
            wrong.append(field.invalid(where, dict(sorted(found.items())), f"must be '{value}'"))
    if not label_selector(spec["selector"], "") and not matches(spec["selector"], expected):
        wrong.append(field.invalid("spec.selector", spec["selector"], "`selector` not auto-generated"))
    return wrong


def _managed_by(spec: Object, path: str) -> Errors:
    manager = spec.get("managedBy")
    if manager is None:
        return []
    wrong = named(f"{path}.managedBy", manager, names.domain_prefixed_path)
    if len(manager) > _MANAGED_BY_MAX:
        wrong.append(field.too_long(f"{path}.managedBy", manager, _MANAGED_BY_MAX))
    return wrong


def _failed_indexes(spec: Object, path: str) -> Errors:
    if spec.get("maxFailedIndexes") is None:
        return []
    wrong = non_negative(spec, path, "maxFailedIndexes")
    return wrong + must_have("backoffLimitPerIndex", detail="when maxFailedIndexes is specified")(spec, path)


def _indexed(spec: Object, path: str) -> Errors:
    """What only makes sense for numbered completions, and how many there may be."""
    if spec.get("completionMode") != "Indexed":
        return [
            field.invalid(f"{path}.{key}", spec[key], "requires indexed completion mode")
            for key in ("backoffLimitPerIndex", "maxFailedIndexes")
            if spec.get(key) is not None
        ]
    completions, failed = spec.get("completions"), spec.get("maxFailedIndexes")
    wrong = must_have("completions", detail="when completion mode is Indexed")(spec, path)
    wrong += _limit(spec, "parallelism", path, MAX_INDEXED, " when completion mode is Indexed")
    if completions is not None and failed is not None and failed > completions:
        detail = "must be less than or equal to completions"
        wrong.append(field.invalid(f"{path}.maxFailedIndexes", failed, detail))
    wrong += _limit(spec, "maxFailedIndexes", path, MAX_INDEXED, "")
    if completions is not None and completions > MAX_INDEXED and spec.get("backoffLimitPerIndex") is not None:
        detail = f"must be specified when completions is above {MAX_INDEXED}"
        wrong += must_have("maxFailedIndexes", detail=detail)(spec, path)
        which = f" when completions are above {MAX_INDEXED} and used with backoff limit per index"
        wrong += _limit(spec, "parallelism", path, _MAX_OF_MANY, which)
        wrong += _limit(spec, "maxFailedIndexes", path, _MAX_OF_MANY, which)
    return wrong


def _limit(spec: Object, key: str, path: str, limit: int, which: str) -> Errors:
    value = spec.get(key)
    if value is None or value <= limit:
        return []
    return [field.invalid(f"{path}.{key}", value, f"must be less than or equal to {limit}{which}")]


def _replacement(spec: Object, path: str) -> Errors:
    valid = ("Failed",) if spec.get("podFailurePolicy") is not None else ("Failed", "TerminatingOrFailed")
    return maybe_one_of("podReplacementPolicy", *valid)(spec, path)


def _template(spec: Object, path: str) -> Errors:
    template, where = part(spec, "template"), f"{path}.template"
    wrong = pod_template(template, where)
    policy, where = text(part(template, "spec"), "restartPolicy"), f"{where}.spec.restartPolicy"
    if policy in ("", "Always"):
        listed = ", ".join(quote(value) for value in _RESTARTS)
        wrong.append(field.required(where, f"valid values: {listed}"))
    elif policy not in _RESTARTS:
        wrong.append(field.not_supported(where, policy, _RESTARTS))
    elif spec.get("podFailurePolicy") is not None and policy != "Never":
        wrong.append(field.invalid(where, policy, 'only "Never" is supported when podFailurePolicy is specified'))
    return wrong


def _selected(spec: Object, path: str) -> Errors:
    selector = spec.get("selector")
    wrong = [field.required(f"{path}.selector")] if selector is None else label_selector(selector, f"{path}.selector")
    labels = part(part(spec, "template"), "metadata").get("labels")
    if not label_selector(selector, "") and not matches(selector, labels or {}):
        shown = labels and dict(sorted(labels.items()))
        wrong.append(field.invalid(f"{path}.template.metadata.labels", shown, _MISMATCH))
    return wrong


_SPEC: tuple[Check, ...] = (
    not_negative("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit"),
    not_negative("ttlSecondsAfterFinished", "backoffLimitPerIndex"),
    _failed_indexes,
    _managed_by,
    maybe_one_of("completionMode", *_MODES),
    _indexed,
    failure_policy,
    success_policy,
    _replacement,
    _template,
)

_job_spec = rules(at("spec", *_SPEC, _selected))
JOB = (_generated, _job_spec)


def _completions(new: Object, old: Object) -> Errors:
    """Only an indexed Job changes its completions, together with its parallelism."""
    after, before = part(new, "spec"), part(old, "spec")
    wanted = after.get("completions")
    if wanted == before.get("completions"):
        return []
    if after.get("completionMode") != "Indexed":
        return fixed("spec.completions")(new, old)
    if wanted is not None and wanted == after.get("parallelism"):
        return []
    return [field.invalid("spec.completions", wanted, "can only be modified in tandem with spec.parallelism")]


def _pods_fixed(new: Object, old: Object) -> Errors:
    after = part(part(part(new, "spec"), "template"), "spec")
    if after == part(part(part(old, "spec"), "template"), "spec"):
        return fixed("spec.template")(new, old)
    return [field.invalid("spec.template.spec", goform.of(after, "core/v1.PodSpec"), "field is immutable")]


JOB_UPDATE = (
    still(_job_spec),
    _completions,
    fixed("spec.selector"),
    _pods_fixed,
    fixed("spec.completionMode"),
    fixed("spec.podFailurePolicy"),
    fixed("spec.backoffLimitPerIndex"),
    fixed("spec.managedBy"),
    fixed("spec.successPolicy"),
)


def _schedule(spec: Object, path: str) -> Errors:
    schedule = text(spec, "schedule")
    wrong = named(f"{path}.schedule", schedule, cron.schedule_errors)
    if "TZ" in schedule and not wrong:
        detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        wrong.append(field.invalid(f"{path}.schedule", schedule, detail))
    return wrong


def _zone(spec: Object, path: str) -> Errors:
    zone, where = spec.get("timeZone"), f"{path}.timeZone"
    if zone is None:
        return []
    if not zone:
        return [field.invalid(where, zone, "timeZone must be nil or non-empty string")]
    if zone.lower() == "local":
        return [field.invalid(where, zone, _NO_ZONE)]
    if zone in zoneinfo.available_timezones():
        return []
    return [field.invalid(where, zone, f"unknown time zone {zone}")]


def _job_template(template: Object, path: str) -> Errors:
    wrong = at("spec", *_SPEC)(template, path)
    spec = part(template, "spec")
    if spec.get("selector") is not None:
        wrong.append(field.invalid(f"{path}.spec.selector", spec["selector"], "`selector` will be auto-generated"))
    if spec.get("manualSelector"):
        wrong.append(field.not_supported(f"{path}.spec.manualSelector", True, ("nil", "false")))
    return wrong


cron_job = rules(
    at(
        "spec",
        either(required("schedule"), _schedule),
        not_negative("startingDeadlineSeconds"),
        _zone,
        required_one_of("concurrencyPolicy", "Allow", "Forbid", "Replace"),
        at("jobTemplate", _job_template),
        not_negative("successfulJobsHistoryLimit", "failedJobsHistoryLimit"),
    ),
)


def cron_job_name(obj: Object) -> Errors:
    """The name leaves room for what is added to name the Jobs."""
    name = text(part(obj, "metadata"), "name")
    if len(name) <= _CRON_NAME_MAX:
        return []
    return [field.invalid("metadata.name", name, f"must be no more than {_CRON_NAME_MAX} characters")]
