"""Decides by roles, over an index that is brought up to date before each decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from apilayer.pipeline.authorization import Rules, Verdict, aggregate
from apilayer.pipeline.rbac.index import RoleIndex, role_key

if TYPE_CHECKING:
    from apilayer.pipeline.authentication import User
    from apilayer.pipeline.rbac.rules import Rule
    from apilayer.pipeline.request_info import RequestInfo

Object = dict[str, Any]

MAX_REMEMBERED = 4096
"""Decisions, and rules of users, that are kept until a role or binding changes or there are more of them."""


class RoleSource(Protocol):
    """Roles and bindings as they are now."""

    def bring_up_to_date(self, index: RoleIndex) -> bool:
        """Tells the index what has changed since the last call; answers whether anything has."""


class RoleAuthorizer:
    """`apilayer.pipeline.authorization.Authorizer` by roles."""

    def __init__(self, source: RoleSource) -> None:
        self._source = source
        self._index = RoleIndex()
        self._decided: dict[tuple[User, RequestInfo], Verdict] = {}
        self._held_by: dict[tuple[User, str], tuple[tuple[tuple[Rule, str], ...], str]] = {}

    def decide(self, user: User, info: RequestInfo) -> Verdict:
        """See `Authorizer.decide`."""
        if self._source.bring_up_to_date(self._index):
            self._forget()
        key = user, info
        found = self._decided.get(key)
        if found is None:
            found = self._decide(user, info)
            if len(self._decided) >= MAX_REMEMBERED:
                self._decided.clear()
            if info.is_small:
                self._decided[key] = found
        return found

    def _decide(self, user: User, info: RequestInfo) -> Verdict:
        held, wrong = self._held(user, info.namespace if info.is_resource else "")
        for rule, reason in held:
            if rule.allows(info):
                return Verdict(True, reason)
        return Verdict(False, f"RBAC: {wrong}" if wrong else "")

    def _held(self, user: User, namespace: str) -> tuple[tuple[tuple[Rule, str], ...], str]:
        """The user's rules in the namespace, each with the reason why it is his; and what is wrong with bindings."""
        key = user, namespace
        found = self._held_by.get(key)
        if found is None:
            if len(self._held_by) >= MAX_REMEMBERED:
                self._held_by.clear()
            grants = list(self._index.grants(user, namespace))
            held = tuple((rule, grant.reason) for grant, rules in grants for rule in rules or ())
            wrong = aggregate(grant.missing for grant, rules in grants if rules is None)
            found = self._held_by[key] = held, wrong
        return found

    def rules(self, user: User, namespace: str) -> Rules:
        """See `Authorizer.rules`."""
        self._bring_up_to_date()
        resources, paths, wrong = [], [], []
        for grant, rules in self._index.grants(user, namespace):
            if rules is None:
                wrong.append(grant.missing)
            for rule in rules or ():
                written = rule.written
                if rule.resources:
                    keys = ("verbs", "apiGroups", "resources", "resourceNames")
                    resources.append({key: written[key] for key in keys if written.get(key)})
                if rule.paths:
                    paths.append({"verbs": written["verbs"], "nonResourceURLs": list(rule.paths)})
        return Rules(tuple(resources), tuple(paths), aggregate(wrong))

    def owned(self, user: User, namespace: str) -> tuple[list[Rule], str]:
        """Every rule that holds for the user in the namespace ("": everywhere), and what is wrong with bindings."""
        self._bring_up_to_date()
        held, wrong = self._held(user, namespace)
        return [rule for rule, _ in held], wrong

    def referred(self, reference: Object, namespace: str) -> tuple[Rule, ...] | None:
        """The rules of the role that a binding in the namespace names, None when it is not there."""
        self._bring_up_to_date()
        return self._index.rules(role_key(reference, namespace))

    def _bring_up_to_date(self) -> None:
        if self._source.bring_up_to_date(self._index):
            self._forget()

    def _forget(self) -> None:
        self._decided.clear()
        self._held_by.clear()
