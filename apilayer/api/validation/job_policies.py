"""Rules for the policies of a Job: which failures of pods count, and when the Job has succeeded."""

from __future__ import annotations

import re

from apilayer.api import field, names
from apilayer.api.gotext import quote
from apilayer.api.validation import goform
from apilayer.api.validation.common import Errors, Object, indexed, items, named, part, text
from apilayer.api.validation.vocabulary import Check, at_most_items, non_negative

_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_OPERATORS = ("In", "NotIn")
_STATUSES = ("False", "True", "Unknown")
_MAX_RULES = 20
_MAX_CODES = 255
_MAX_INDEXES_LENGTH = 64 * 1024
_INTERVAL = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?")


def _chosen(key: str, *values: str) -> Check:
    """`key` has one of `values`; to leave it out is an error of its own that lists them."""
    listed = " ".join(quote(value) for value in values)

    def check(obj: Object, path: str) -> Errors:
        value = text(obj, key)
        if not value:
            return [field.required(f"{path}.{key}", f"valid values: [{listed}]")]
        return [] if value in values else [field.not_supported(f"{path}.{key}", value, values)]

    return check


def failure_policy(spec: Object, path: str) -> Errors:
    """Rules for ``podFailurePolicy``."""
    policy, where = spec.get("podFailurePolicy"), f"{path}.podFailurePolicy"
    if policy is None:
        return []
    pod = part(part(spec, "template"), "spec")
    containers = {item.get("name", "") for key in ("containers", "initContainers") for item in items(pod, key)}
    wrong = at_most_items("rules", _MAX_RULES)(policy, where)
    for at, rule in indexed(policy, "rules", where):
        wrong += _failure_rule(rule, spec, containers, at)
    return wrong


def _failure_rule(rule: Object, spec: Object, containers: set[str], path: str) -> Errors:
    wrong: Errors = []
    if rule.get("action") == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        detail = "requires the backoffLimitPerIndex to be set"
        wrong.append(field.invalid(f"{path}.action", "FailIndex", detail))
    wrong += _chosen("action", *_ACTIONS)(rule, path)
    codes, conditions = rule.get("onExitCodes"), items(rule, "onPodConditions")
    if codes is not None:
        wrong += _exit_codes(codes, containers, f"{path}.onExitCodes")
    wrong += at_most_items("onPodConditions", _MAX_RULES)(rule, path)
    for at, pattern in indexed(rule, "onPodConditions", path):
        wrong += named(f"{at}.type", text(pattern, "type"), names.qualified_name)
        wrong += _chosen("status", *_STATUSES)(pattern, at)
    if codes is not None and conditions:
        detail = "specifying both OnExitCodes and OnPodConditions is not supported"
        wrong.append(field.invalid_unshown(path, detail))
    if codes is None and not conditions:
        detail = "specifying one of OnExitCodes and OnPodConditions is required"
        wrong.append(field.invalid_unshown(path, detail))
    return wrong


def _exit_codes(codes: Object, containers: set[str], path: str) -> Errors:
    wrong = _chosen("operator", *_OPERATORS)(codes, path)
    name, values, where = codes.get("containerName"), items(codes, "values"), f"{path}.values"
    if name is not None and name not in containers:
        detail = "must be one of the container or initContainer names in the pod template"
        wrong.append(field.invalid(f"{path}.containerName", name, detail))
    if not values:
        wrong.append(field.invalid(where, values, "at least one value is required"))
    wrong += at_most_items("values", _MAX_CODES)(codes, path)
    if len(values) > _MAX_CODES:
        return wrong
    seen: set[int] = set()
    for index, value in enumerate(values):
        if value == 0 and codes.get("operator") == "In":
            wrong.append(field.invalid(f"{where}[{index}]", value, "must not be 0 for the In operator"))
        elif value in seen:
            wrong.append(field.duplicate(f"{where}[{index}]", value))
        seen.add(value)
    if values != sorted(values):
        wrong.append(field.invalid(where, values, "must be ordered"))
    return wrong


def success_policy(spec: Object, path: str) -> Errors:
    """Rules for ``successPolicy``."""
    policy, where = spec.get("successPolicy"), f"{path}.successPolicy"
    if policy is None:
        return []
    if spec.get("completionMode") != "Indexed":
        shown = goform.of(policy, "batch/v1.SuccessPolicy")
        return [field.invalid(where, shown, "requires indexed completion mode")]
    wrong: Errors = []
    if not items(policy, "rules"):
        detail = "at least one rules must be specified when the successPolicy is specified"
        wrong.append(field.required(f"{where}.rules", detail))
    wrong += at_most_items("rules", _MAX_RULES)(policy, where)
    for at, rule in indexed(policy, "rules", where):
        wrong += _success_rule(rule, spec.get("completions"), at)
    return wrong


def _success_rule(rule: Object, completions: int | None, path: str) -> Errors:
    indexes, count = rule.get("succeededIndexes"), rule.get("succeededCount")
    wrong: Errors = []
    if indexes is None and count is None:
        detail = "at least one of succeededCount or succeededIndexes must be specified"
        wrong.append(field.required(path, detail))
    total = 0
    if indexes is not None:
        where = f"{path}.succeededIndexes"
        if len(indexes) > _MAX_INDEXES_LENGTH:
            wrong.append(field.too_long(where, indexes, _MAX_INDEXES_LENGTH))
        total, problem = count_indexes(indexes, completions or 0)
        if problem:
            wrong.append(field.invalid(where, indexes, f"error parsing succeededIndexes: {problem}"))
    wrong += non_negative("succeededCount")(rule, path)
    if count is None:
        return wrong
    for limit, what in (
        (completions, "number of specified completions"),
        (total, "number of indexes in the specified succeededIndexes field"),
    ):
        if limit and count > limit:
            detail = f"must be less than or equal to {limit} (the {what})"
            wrong.append(field.invalid(f"{path}.succeededCount", count, detail))
    return wrong


def count_indexes(indexes: str, completions: int) -> tuple[int, str]:
    """How many indexes a text such as "1,3-5" lists, and what is wrong with it."""
    total, last = 0, -1
    if not indexes:
        return 0, ""
    for interval in indexes.split(","):
        match = _INTERVAL.fullmatch(interval)
        if match is None:
            return 0, f"cannot convert string to integer for index: {quote(interval)}"
        start, end = int(match[1]), int(match[2] or match[1])
        for index in (start, end):
            if index >= completions:
                return 0, f"too large index: {quote(str(index))}"
        if last >= start:
            return 0, f"non-increasing order, previous: {last}, current: {start}"
        if match[2] and start >= end:
            return 0, f"non-increasing order, previous: {start}, current: {end}"
        total, last = total + end - start + 1, end
    return total, ""
