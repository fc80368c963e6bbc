"""The file of ``--audit-policy-file`` to a `Policy`; what is wrong with it is said with field and reason.

Source: Kubernetes' ``apiserver/pkg/audit/policy/reader.go`` and ``apis/audit/validation``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api import field
from apilayer.api.names import dns_subdomain
from apilayer.audit.policy import LEVELS, STAGES, Decision, GroupResources, Level, Policy, Rule
from apilayer.later import Later

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import yaml

    from apilayer.api.field import FieldError
else:
    yaml = Later("yaml")

API_VERSION = "audit.k8s.io/v1"
MAX_FILE_BYTES = 1024 * 1024
_LISTS = ("users", "userGroups", "verbs", "namespaces", "nonResourceURLs", "omitStages")
_OF_POLICY = frozenset({"kind", "apiVersion", "metadata", "rules", "omitStages", "omitManagedFields"})
_OF_RULE = frozenset({*_LISTS, "level", "resources", "omitManagedFields"})
_OF_RESOURCES = frozenset({"group", "resources", "resourceNames"})


class PolicyError(Exception):
    """The policy cannot be used; one line."""


def read_policy(path: Path) -> tuple[Policy, list[str]]:
    """The policy that a file holds, and the fields in it that mean nothing. Raises PolicyError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise PolicyError(f'failed to read file path "{path}": {error.strerror}') from error
    try:
        return parse_policy(data)
    except PolicyError as error:
        raise PolicyError(f"{error}: from file {path}") from error


def parse_policy(data: bytes) -> tuple[Policy, list[str]]:
    """See `read_policy`."""
    if len(data) > MAX_FILE_BYTES:
        raise PolicyError(f"failed decoding: larger than {MAX_FILE_BYTES} bytes")
    try:
        document = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise PolicyError(f"failed decoding: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise PolicyError("failed decoding: must be an object")
    if document.get("kind") != "Policy" or document.get("apiVersion") != API_VERSION:
        found = f"{document.get('apiVersion', '')}, Kind={document.get('kind', '')}"
        raise PolicyError(f"unknown group version field {found} in policy: {API_VERSION}, Kind=Policy is required")
    try:
        errors = list(_shape(document)) or [*_stages(document, ""), *_rules(document)]
    except TypeError as error:  # YAML has values that JSON, in which messages show them, has not
        raise PolicyError(f"failed decoding: {error}") from error
    if errors:
        texts = [str(error) for error in errors]
        raise PolicyError(texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")
    rules = document.get("rules") or []
    if not rules:
        raise PolicyError("loaded illegal policy with 0 rules")
    return _policy(document, rules), list(_unknown(document, rules))


# ------------------------------------------------------------------ what is wrong


def _shape(document: Mapping[str, Any]) -> Iterator[FieldError]:
    """Fields of another type than theirs."""
    rules = document.get("rules")
    yield from _texts(document, "omitStages", "")
    yield from _truth(document, "")
    if rules is not None and not isinstance(rules, list):
        yield field.invalid("rules", rules, "must be a list")
        return
    for index, rule in enumerate(rules or []):
        where = f"rules[{index}]"
        if not isinstance(rule, dict):
            yield field.invalid(where, rule, "must be an object")
            continue
        for key in _LISTS:
            yield from _texts(rule, key, f"{where}.")
        yield from _truth(rule, f"{where}.")
        resources = rule.get("resources")
        if resources is not None and not (isinstance(resources, list) and all(isinstance(r, dict) for r in resources)):
            yield field.invalid(f"{where}.resources", resources, "must be a list of objects")
            continue
        for number, item in enumerate(resources or []):
            if not isinstance(item.get("group", ""), str):
                yield field.invalid(f"{where}.resources[{number}].group", item["group"], "must be a string")
            for key in ("resources", "resourceNames"):
                yield from _texts(item, key, f"{where}.resources[{number}].")


def _texts(fields: Mapping[str, Any], key: str, where: str) -> Iterator[FieldError]:
    value = fields.get(key)
    if value is not None and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        yield field.invalid(f"{where}{key}", value, "must be a list of strings")


def _truth(fields: Mapping[str, Any], where: str) -> Iterator[FieldError]:
    value = fields.get("omitManagedFields")
    if value is not None and not isinstance(value, bool):
        yield field.invalid(f"{where}omitManagedFields", value, "must be true or false")


def _rules(document: Mapping[str, Any]) -> Iterator[FieldError]:
    for index, rule in enumerate(document.get("rules") or []):
        where = f"rules[{index}]"
        level = rule.get("level") or ""
        if not level:
            yield field.required(f"{where}.level")
        elif level not in LEVELS:
            yield field.not_supported(f"{where}.level", level, LEVELS)
        yield from _urls(rule, where)
        yield from _resources(rule, where)
        yield from _stages(rule, f"{where}.")
        urls = rule.get("nonResourceURLs")
        if urls and (rule.get("resources") or rule.get("namespaces")):
            detail = "rules cannot apply to both regular resources and non-resource URLs"
            yield field.invalid(f"{where}.nonResourceURLs", urls, detail)


def _urls(rule: Mapping[str, Any], where: str) -> Iterator[FieldError]:
    for index, url in enumerate(rule.get("nonResourceURLs") or []):
        path = f"{where}.nonResourceURLs[{index}]"
        if url == "*":
            continue
        if not url.startswith("/"):
            yield field.invalid(path, url, "non-resource URL rules must begin with a '/' character")
        if "*" in url[:-1]:
            yield field.invalid(path, url, "non-resource URL wildcards '*' must be the final character of the rule")


def _resources(rule: Mapping[str, Any], where: str) -> Iterator[FieldError]:
    for item in rule.get("resources") or []:
        group = item.get("group") or ""
        wrong = dns_subdomain(group) if group else []
        if wrong:
            yield field.invalid(f"{where}.resources.group", group, ",".join(wrong))
        names = item.get("resourceNames")
        if names and not item.get("resources"):
            yield field.invalid(
                f"{where}.resources.resourceNames", names, "using resourceNames requires at least one resource"
            )


def _stages(fields: Mapping[str, Any], where: str) -> Iterator[FieldError]:
    for index, stage in enumerate(fields.get("omitStages") or []):
        if stage not in STAGES:
            yield field.invalid(f"{where}omitStages[{index}]", stage, f"allowed stages are {','.join(STAGES)}")


def _unknown(document: Mapping[str, Any], rules: list[Any]) -> Iterator[str]:
    """Paths of fields that mean nothing: kube-apiserver goes on without them, and warns."""
    yield from (str(key) for key in document if key not in _OF_POLICY)
    for index, rule in enumerate(rules):
        yield from (f"rules[{index}].{key}" for key in rule if key not in _OF_RULE)
        for number, item in enumerate(rule.get("resources") or []):
            yield from (f"rules[{index}].resources[{number}].{key}" for key in item if key not in _OF_RESOURCES)


# ------------------------------------------------------------------ what it says


def _policy(document: Mapping[str, Any], rules: list[Any]) -> Policy:
    stages = frozenset(document.get("omitStages") or ())
    managed = bool(document.get("omitManagedFields"))
    return Policy(tuple(_rule(rule, stages, managed=managed) for rule in rules))


def _rule(rule: Mapping[str, Any], stages: frozenset[str], *, managed: bool) -> Rule:
    own = rule.get("omitManagedFields")
    decision = Decision(
        Level(LEVELS.index(rule["level"])),
        stages | frozenset(rule.get("omitStages") or ()),
        managed if own is None else own,
    )
    return Rule(
        decision,
        frozenset(rule.get("users") or ()),
        frozenset(rule.get("userGroups") or ()),
        frozenset(rule.get("verbs") or ()),
        tuple(_group(item) for item in rule.get("resources") or ()),
        frozenset(rule.get("namespaces") or ()),
        tuple(rule.get("nonResourceURLs") or ()),
    )


def _group(item: Mapping[str, Any]) -> GroupResources:
    names = frozenset(item.get("resourceNames") or ())
    return GroupResources(item.get("group") or "", tuple(item.get("resources") or ()), names)
