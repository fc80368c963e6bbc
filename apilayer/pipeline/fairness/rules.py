"""FlowSchemas and PriorityLevelConfigurations as data, and which schema a request falls under. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from apilayer.pipeline.account_tokens import USER_PREFIX
from apilayer.pipeline.fairness.queues import Queuing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from apilayer.pipeline.authentication import User
    from apilayer.pipeline.request_info import RequestInfo

Object = dict[str, Any]

EXEMPT = "exempt"
CATCH_ALL = "catch-all"
ALL = "*"


@attrs.frozen
class Level:
    """A priority level. `queuing` None: what does not fit is refused; `borrowing_percent` None: no bound."""

    name: str
    uid: str
    exempt: bool
    shares: int
    lendable_percent: int
    borrowing_percent: int | None
    queuing: Queuing | None


@attrs.frozen
class Schema:
    """A FlowSchema: requests that `matches` go to `level`; their flow is named by `distinguisher`."""

    name: str
    uid: str
    precedence: int
    level: str
    distinguisher: str
    rules: tuple[Object, ...]

    def matches(self, user: User, info: RequestInfo) -> bool:
        """Whether the request falls under one of the rules."""
        return any(_rule_matches(rule, user, info) for rule in self.rules)

    def flow(self, user: User, info: RequestInfo) -> str:
        """What tells the request's flow from others of the schema."""
        if self.distinguisher == "ByUser":
            return user.name
        return info.namespace if self.distinguisher == "ByNamespace" else ""


def read_level(obj: Object) -> Level:
    """From a valid PriorityLevelConfiguration."""
    spec, metadata = obj["spec"], obj["metadata"]
    exempt = spec["type"] == "Exempt"
    part = spec.get("exempt" if exempt else "limited") or {}
    response = part.get("limitResponse") or {}
    queuing = None
    if not exempt and response.get("type") == "Queue":
        wanted = response.get("queuing") or {}
        queuing = Queuing(wanted.get("queues", 64), wanted.get("handSize", 8), wanted.get("queueLengthLimit", 50))
    shares = part.get("nominalConcurrencyShares")
    return Level(
        metadata["name"],
        metadata.get("uid", ""),
        exempt,
        (0 if exempt else 30) if shares is None else shares,
        part.get("lendablePercent") or 0,
        part.get("borrowingLimitPercent"),
        queuing,
    )


def read_schema(obj: Object) -> Schema:
    """From a valid FlowSchema."""
    spec, metadata = obj["spec"], obj["metadata"]
    return Schema(
        metadata["name"],
        metadata.get("uid", ""),
        spec.get("matchingPrecedence", 1000),
        spec["priorityLevelConfiguration"]["name"],
        (spec.get("distinguisherMethod") or {}).get("type", ""),
        tuple(spec.get("rules") or ()),
    )


def in_order(schemas: Iterable[Schema]) -> list[Schema]:
    """As they are tried: by precedence, of equal ones by name."""
    return sorted(schemas, key=lambda schema: (schema.precedence, schema.name))


def _rule_matches(rule: Object, user: User, info: RequestInfo) -> bool:
    if not any(_subject_matches(subject, user) for subject in rule.get("subjects") or ()):
        return False
    if info.is_resource:
        return any(_resource_matches(item, info) for item in rule.get("resourceRules") or ())
    return any(
        _among(item["verbs"], info.verb) and any(_path_matches(path, info.path) for path in item["nonResourceURLs"])
        for item in rule.get("nonResourceRules") or ()
    )


def _is_account(part: Object, user: User) -> bool:
    prefix = f"{USER_PREFIX}{part['namespace']}:"
    return user.name.startswith(prefix) if part["name"] == ALL else user.name == prefix + part["name"]


_SUBJECTS: dict[str, tuple[str, Callable[[Object, User], bool]]] = {
    "User": ("user", lambda part, user: part["name"] in (ALL, user.name)),
    "Group": ("group", lambda part, user: part["name"] == ALL or part["name"] in user.groups),
    "ServiceAccount": ("serviceAccount", _is_account),
}


def _subject_matches(subject: Object, user: User) -> bool:
    known = _SUBJECTS.get(subject["kind"])
    if known is None:
        return False
    part = subject.get(known[0])
    return part is not None and known[1](part, user)


def _resource_matches(rule: Object, info: RequestInfo) -> bool:
    if not _among(rule["verbs"], info.verb) or not _among(rule["apiGroups"], info.group):
        return False
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    if not _among(rule["resources"], resource):
        return False
    if not info.namespace:
        return bool(rule.get("clusterScope"))
    return _among(rule.get("namespaces") or (), info.namespace)


def _among(names: Sequence[str], name: str) -> bool:
    return ALL in names or name in names


def _path_matches(pattern: str, path: str) -> bool:
    if pattern in (ALL, path):
        return True
    return pattern.endswith(ALL) and path.startswith(pattern.rstrip(ALL))
