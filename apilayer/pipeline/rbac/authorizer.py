"""Who has which rules: an index by subject, made anew when a role or binding has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs

from apilayer.api.gotext import quote
from apilayer.pipeline.account_tokens import user_name
from apilayer.pipeline.authorization import Rules, Verdict
from apilayer.pipeline.rbac.rules import Rule, parse_rules

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from apilayer.pipeline.authentication import User
    from apilayer.pipeline.request_info import RequestInfo

Object = dict[str, Any]

GROUP = "rbac.authorization.k8s.io"
MAX_REMEMBERED = 4096
"""Decisions that are remembered until a role or binding changes; then, or when there are more, they are forgotten."""


class RoleSource(Protocol):
    """Roles and bindings as they are now."""

    def version(self) -> Hashable:
        """Changes with every change of a role or binding."""

    def list(self, group_resource: str) -> Sequence[Object]:
        """All objects of a resource, e.g. ``roles.rbac.authorization.k8s.io``."""


@attrs.frozen(eq=False)
class _Grant:
    """What one binding gives one subject."""

    reason: str
    rules: tuple[Rule, ...]
    missing: str
    """What is wrong with the binding: the role that is not there."""


_Index = dict[tuple[str, str, str], list[_Grant]]
"""By namespace ("" for everywhere), kind of subject and its name."""


class RoleAuthorizer:
    """`apilayer.pipeline.authorization.Authorizer` by roles."""

    def __init__(self, source: RoleSource) -> None:
        self._source = source
        self._version: Hashable = None
        self._index: _Index = {}
        self._decided: dict[tuple[User, RequestInfo], Verdict] = {}

    def decide(self, user: User, info: RequestInfo) -> Verdict:
        """See `Authorizer.decide`."""
        self._bring_up_to_date()
        key = user, info
        found = self._decided.get(key)
        if found is None:
            if len(self._decided) >= MAX_REMEMBERED:
                self._decided.clear()
            found = self._decided[key] = self._decide(user, info)
        return found

    def _decide(self, user: User, info: RequestInfo) -> Verdict:
        wrong: dict[str, None] = {}
        for grant in self._grants(user, info.namespace if info.is_resource else ""):
            if grant.missing:
                wrong[grant.missing] = None
            for rule in grant.rules:
                if rule.allows(info):
                    return Verdict(True, grant.reason)
        return Verdict(False, f"RBAC: {_aggregate(list(wrong))}" if wrong else "")

    def rules(self, user: User, namespace: str) -> Rules:
        """See `Authorizer.rules`."""
        resources, paths = [], []
        wrong: dict[str, None] = {}
        for grant in self._grants(user, namespace):
            if grant.missing:
                wrong[grant.missing] = None
            for rule in grant.rules:
                written = rule.written
                if rule.resources:
                    keys = ("verbs", "apiGroups", "resources", "resourceNames")
                    resources.append({key: written[key] for key in keys if written.get(key)})
                if rule.paths:
                    paths.append({"verbs": written["verbs"], "nonResourceURLs": list(rule.paths)})
        return Rules(tuple(resources), tuple(paths), _aggregate(list(wrong)) if wrong else "")

    def owned(self, user: User, namespace: str) -> list[Rule]:
        """Every rule that holds for the user in the namespace ("": everywhere)."""
        return [rule for grant in self._grants(user, namespace) for rule in grant.rules]

    def referred(self, reference: Object, namespace: str) -> tuple[Rule, ...] | None:
        """The rules of the role that a binding in the namespace names, None when it is not there."""
        kind = "roles" if reference.get("kind") == "Role" else "clusterroles"
        for role in self._source.list(f"{kind}.{GROUP}"):
            metadata = role["metadata"]
            there = kind == "clusterroles" or metadata["namespace"] == namespace
            if there and metadata["name"] == reference.get("name"):
                return parse_rules(role)
        return None

    def _bring_up_to_date(self) -> None:
        version = self._source.version()
        if version != self._version:
            self._decided.clear()
            self._index, self._version = _index(self._source), version

    def _grants(self, user: User, namespace: str) -> Iterator[_Grant]:
        self._bring_up_to_date()
        index = self._index
        for scope in ("", namespace) if namespace else ("",):
            yield from index.get((scope, "User", user.name), ())
            for group in user.groups:
                yield from index.get((scope, "Group", group), ())


def _index(source: RoleSource) -> _Index:
    cluster = {role["metadata"]["name"]: parse_rules(role) for role in source.list(f"clusterroles.{GROUP}")}
    local = {
        (role["metadata"]["namespace"], role["metadata"]["name"]): parse_rules(role)
        for role in source.list(f"roles.{GROUP}")
    }
    index: _Index = {}
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        for binding in source.list(f"{kind.lower()}s.{GROUP}"):
            namespace = binding["metadata"].get("namespace") or ""
            reference = binding.get("roleRef") or {}
            name = reference.get("name") or ""
            if reference.get("kind") == "Role":
                rules = local.get((namespace, name))
            else:
                rules = cluster.get(name)
            missing = ""
            if rules is None:
                missing = f"{(reference.get('kind') or '').lower()}.{GROUP} {quote(name)} not found"
            shown = f"{binding['metadata']['name']}/{namespace}" if namespace else binding["metadata"]["name"]
            head = f"RBAC: allowed by {kind} {quote(shown)} of {reference.get('kind')} {quote(name)} to"
            for subject in binding.get("subjects") or ():
                key, text = _subject(subject, namespace)
                grant = _Grant(f"{head} {text}", rules or (), missing)
                index.setdefault((namespace, *key), []).append(grant)
    return index


def _subject(subject: Object, namespace: str) -> tuple[tuple[str, str], str]:
    """Whom the subject means, and how messages show him."""
    kind, name = subject.get("kind") or "", subject.get("name") or ""
    if kind != "ServiceAccount":
        return (kind, name), f"{kind} {quote(name)}"
    where = subject.get("namespace") or namespace
    return ("User", user_name(where, name)), f"{kind} {quote(f'{name}/{where}')}"


def _aggregate(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
