"""Which requests are recorded, and how much of them: the first rule that matches decides. Pure.

Source: Kubernetes' ``apiserver/pkg/audit/policy/checker.go``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from apilayer.pipeline.authentication import User
    from apilayer.pipeline.request_info import RequestInfo

REQUEST_RECEIVED = "RequestReceived"
RESPONSE_STARTED = "ResponseStarted"
RESPONSE_COMPLETE = "ResponseComplete"
PANIC = "Panic"
STAGES = (REQUEST_RECEIVED, RESPONSE_STARTED, RESPONSE_COMPLETE, PANIC)

_SECRET = {
    ("", "secrets"),
    ("", "serviceaccounts/token"),
    ("authentication.k8s.io", "tokenreviews"),
}
"""Group and resource of requests whose bodies hold secrets."""


class Level(IntEnum):
    """How much is recorded; each level holds what the one before it does."""

    NONE = 0
    METADATA = 1
    REQUEST = 2
    REQUEST_RESPONSE = 3

    @property
    def text(self) -> str:
        """As policies and events spell it."""
        return LEVELS[self]


LEVELS = ("None", "Metadata", "Request", "RequestResponse")


@attrs.frozen
class GroupResources:
    """Resources of a group ("pods", "pods/log", "*/status", "pods/*", "*"; none: all), perhaps by name."""

    group: str = ""
    resources: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()

    def matches(self, info: RequestInfo) -> bool:
        """Whether the request asks for one of these."""
        if self.group != info.group:
            return False
        if not self.resources:
            return True
        if self.names and info.name not in self.names:
            return False
        combined = _combined(info)
        for pattern in self.resources:
            if pattern in ("*", combined) or (pattern[-1:] == "*" and pattern == f"{info.resource}/*"):
                return True
            if info.subresource and pattern == f"*/{info.subresource}":
                return True
        return False


def _combined(info: RequestInfo) -> str:
    return f"{info.resource}/{info.subresource}" if info.subresource else info.resource


@attrs.frozen
class Decision:
    """What is recorded of one request."""

    level: Level
    omit_stages: frozenset[str] = frozenset()
    omit_managed_fields: bool = False


NOTHING = Decision(Level.NONE)


@attrs.frozen
class Rule:
    """Who asks for what (what is empty matches everything), and what is recorded then."""

    decision: Decision
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    verbs: frozenset[str] = frozenset()
    resources: tuple[GroupResources, ...] = ()
    namespaces: frozenset[str] = frozenset()
    paths: tuple[str, ...] = ()

    def matches(self, user: User | None, info: RequestInfo) -> bool:
        """Whether the rule is about the request; nobody is known in one that failed to authenticate."""
        if self.users and (user is None or user.name not in self.users):
            return False
        if self.groups and (user is None or self.groups.isdisjoint(user.groups)):
            return False
        if self.verbs and info.verb not in self.verbs:
            return False
        if self.namespaces or self.resources:
            return info.is_resource and self._matches_resource(info)
        if self.paths:
            return not info.is_resource and any(_leads_to(spec, info.path) for spec in self.paths)
        return True

    def _matches_resource(self, info: RequestInfo) -> bool:
        if self.namespaces and info.namespace not in self.namespaces:
            return False
        if not self.resources:
            return True
        for item in self.resources:  # noqa: SIM110 - every request comes by here, and a generator takes longer
            if item.matches(info):
                return True
        return False

    def names(self, info: RequestInfo) -> bool:
        """Whether the rule says the resource's very name."""
        combined = _combined(info)
        return any(item.group == info.group and combined in item.resources for item in self.resources)


def _leads_to(spec: str, path: str) -> bool:
    return spec in ("*", path) or (spec.endswith("*") and path.startswith(spec.rstrip("*")))


@attrs.frozen
class Policy:
    """Rules in their order. Their stages to omit are already those of the policy as well."""

    rules: tuple[Rule, ...]

    def decide(self, user: User | None, info: RequestInfo) -> Decision:
        """What the first rule that matches says; without one nothing is recorded.

        Bodies that hold secrets are recorded only when the rule names their resource: no wildcard means them.
        """
        for rule in self.rules:
            if rule.matches(user, info):
                found = rule.decision
                if found.level > Level.METADATA and (info.group, _combined(info)) in _SECRET and not rule.names(info):
                    return attrs.evolve(found, level=Level.METADATA)
                return found
        return NOTHING
