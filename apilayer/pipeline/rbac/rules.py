"""Rules of roles: what they allow, and which of them others cover. Pure.

Source: Kubernetes documentation, "Using RBAC Authorization"; component-helpers' ``auth/rbac/validation``.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import attrs

from apilayer.api.gotext import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from apilayer.pipeline.request_info import RequestInfo

Object = dict[str, Any]

ALL = "*"
_PARTS = (
    ("apiGroups", "APIGroups"),
    ("resources", "Resources"),
    ("nonResourceURLs", "NonResourceURLs"),
    ("resourceNames", "ResourceNames"),
    ("verbs", "Verbs"),
)


@attrs.frozen
class Rule:
    """One rule, ready to be matched."""

    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    names: frozenset[str]
    paths: tuple[str, ...]
    written: Object = attrs.field(eq=False, repr=False)
    """As the role has it."""

    def allows(self, info: RequestInfo) -> bool:
        """Whether the rule allows what a request asks for."""
        if info.verb not in self.verbs and ALL not in self.verbs:
            return False
        if not info.is_resource:
            return any(_path_matches(path, info.path) for path in self.paths)
        return (
            (info.group in self.groups or ALL in self.groups)
            and self._has_resource(info.resource, info.subresource)
            and (not self.names or info.name in self.names)
        )

    def _has_resource(self, resource: str, subresource: str) -> bool:
        if ALL in self.resources:
            return True
        if not subresource:
            return resource in self.resources
        return f"{resource}/{subresource}" in self.resources or f"*/{subresource}" in self.resources


def _path_matches(path: str, asked: str) -> bool:
    return path in (ALL, asked) or (path.endswith(ALL) and asked.startswith(path.rstrip(ALL)))


def parse_rule(written: Object) -> Rule:
    """A rule as a role has it."""

    def words(key: str) -> frozenset[str]:
        return frozenset(written.get(key) or ())

    paths = tuple(written.get("nonResourceURLs") or ())
    return Rule(words("verbs"), words("apiGroups"), words("resources"), words("resourceNames"), paths, written)


def parse_rules(role: Object) -> tuple[Rule, ...]:
    """The rules of a role."""
    return tuple(parse_rule(written) for written in role.get("rules") or ())


# ---------------------------------------------------------------------- who has what another would get


def missing_from(owned: Sequence[Rule], wanted: Iterable[Object]) -> list[Object]:
    """The least parts of the rules in `wanted` that no single rule in `owned` covers."""
    return [part for rule in wanted for part in _parts(rule) if not any(_covers(own, part) for own in owned)]


def _parts(rule: Object) -> Iterator[Object]:
    """The rule in pieces of one verb on one resource (of one name) or path."""
    groups, resources = rule.get("apiGroups") or (), rule.get("resources") or ()
    names = rule.get("resourceNames") or ()
    for group, resource, verb in product(groups, resources, rule.get("verbs") or ()):
        part: Object = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
        if not names:
            yield part
        for name in names:
            yield {**part, "resourceNames": [name]}
    for path, verb in product(rule.get("nonResourceURLs") or (), rule.get("verbs") or ()):
        yield {"nonResourceURLs": [path], "verbs": [verb]}


def _covers(own: Rule, part: Object) -> bool:
    """Whether one rule allows all that a piece does."""
    (verb,) = part["verbs"]
    if verb not in own.verbs and ALL not in own.verbs:
        return False
    if "nonResourceURLs" in part:
        (path,) = part["nonResourceURLs"]
        return any(_path_matches(mine, path) for mine in own.paths)
    (group,), (resource,) = part["apiGroups"], part["resources"]
    if group not in own.groups and ALL not in own.groups:
        return False
    if not _covers_resource(own.resources, resource):
        return False
    return not own.names or set(part.get("resourceNames") or ("",)) <= own.names


def _covers_resource(owned: frozenset[str], resource: str) -> bool:
    if resource in owned or ALL in owned:
        return True
    _, slash, subresource = resource.partition("/")
    return bool(slash) and f"*/{subresource}" in owned


def shown(parts: Iterable[Object]) -> str:
    """Pieces as messages list them: those that differ in their verbs alone put together, a line each."""
    merged: dict[tuple[Any, ...], Object] = {}
    for part in parts:
        key = tuple(tuple(part.get(name) or ()) for name, _ in _PARTS[:-1])
        if key in merged:
            merged[key]["verbs"] += part["verbs"]
        else:
            merged[key] = {**part, "verbs": list(part["verbs"])}
    return "\n".join(sorted({_line(rule) for rule in merged.values()}))


def _line(rule: Object) -> str:
    texts = []
    for key, name in _PARTS:
        if rule.get(key):
            texts.append(f"{name}:[{' '.join(quote(item) for item in rule[key])}]")
    return "{" + ", ".join(texts) + "}"
