"""Who has which rules, by subject: kept from one change to the next, so that a change costs what it touches. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from apilayer.api.gotext import quote
from apilayer.pipeline.account_tokens import user_name
from apilayer.pipeline.rbac.rules import Rule, parse_rules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apilayer.pipeline.authentication import User

Object = dict[str, Any]

GROUP = "rbac.authorization.k8s.io"
CLUSTER_ROLES, ROLES, CLUSTER_BINDINGS, BINDINGS = (
    f"{plural}.{GROUP}" for plural in ("clusterroles", "roles", "clusterrolebindings", "rolebindings")
)
FOLLOWED = (CLUSTER_ROLES, ROLES, CLUSTER_BINDINGS, BINDINGS)
"""The resources whose objects make the index."""

_Key = tuple[str, str]
"""Resource and path."""
_Subject = tuple[str, str, str]
"""Namespace ("" for everywhere), kind and name."""


@attrs.frozen(eq=False)
class Grant:
    """What one binding gives one subject."""

    reason: str
    position: int
    """Of the subject in the binding: who is meant twice has it as the first of the two."""
    role: _Key
    missing: str
    """What is wrong with the binding when the role is not there."""


class RoleIndex:
    """Fed with every object of the resources in `FOLLOWED`, by its path (``namespace/name``, or ``name``)."""

    def __init__(self) -> None:
        self._rules: dict[_Key, tuple[Rule, ...]] = {}
        self._grants: dict[_Subject, dict[_Key, Grant]] = {}
        self._subjects: dict[_Key, tuple[_Subject, ...]] = {}
        """Whom a binding is about, by its resource and path."""

    def rules(self, role: _Key) -> tuple[Rule, ...] | None:
        """The rules of a role, None when it is not there."""
        return self._rules.get(role)

    def grants(self, user: User, namespace: str) -> Iterator[tuple[Grant, tuple[Rule, ...] | None]]:
        """What bindings give the user in the namespace ("": everywhere), with the rules of their roles (None: gone).

        Bindings of the whole cluster come first, then those of the namespace, each by name.
        """
        for scope in ("", namespace) if namespace else ("",):
            bound: dict[_Key, Grant] = {}
            for subject in ((scope, "User", user.name), *((scope, "Group", group) for group in user.groups)):
                for key, grant in self._grants.get(subject, _NONE).items():
                    if key not in bound or grant.position < bound[key].position:
                        bound[key] = grant
            for key in sorted(bound):
                yield bound[key], self._rules.get(bound[key].role)

    def forget(self, resource: str) -> None:
        """Drops every object of one resource."""
        for key in [key for key in self._rules if key[0] == resource]:
            del self._rules[key]
        for key in [key for key in self._subjects if key[0] == resource]:
            self._drop_binding(key)

    def put(self, resource: str, path: str, obj: Object | None) -> None:
        """Takes in the present state of one object, None when it is gone."""
        key = resource, path
        if resource in (CLUSTER_ROLES, ROLES):
            if obj is None:
                self._rules.pop(key, None)
            else:
                self._rules[key] = parse_rules(obj)
            return
        self._drop_binding(key)
        if obj is not None:
            self._put_binding(key, obj)

    def _drop_binding(self, key: _Key) -> None:
        for subject in self._subjects.pop(key, ()):
            bound = self._grants[subject]
            del bound[key]
            if not bound:
                del self._grants[subject]

    def _put_binding(self, key: _Key, binding: Object) -> None:
        metadata, reference = binding["metadata"], binding.get("roleRef") or {}
        namespace = metadata.get("namespace") or ""
        role = role_key(reference, namespace)
        kind, name = reference.get("kind") or "", reference.get("name") or ""
        missing = f"{kind.lower()}.{GROUP} {quote(name)} not found"
        shown = f"{metadata['name']}/{namespace}" if namespace else metadata["name"]
        head = f"RBAC: allowed by {'RoleBinding' if namespace else 'ClusterRoleBinding'} {quote(shown)}"
        made: dict[_Subject, Grant] = {}
        for position, written in enumerate(binding.get("subjects") or ()):
            subject, text = _subject(written, namespace)
            grant = Grant(f"{head} of {kind} {quote(name)} to {text}", position, role, missing)
            made.setdefault((namespace, *subject), grant)
        self._subjects[key] = tuple(made)
        for whom, grant in made.items():
            self._grants.setdefault(whom, {})[key] = grant


_NONE: dict[_Key, Grant] = {}


def role_key(reference: Object, namespace: str) -> _Key:
    """Where the role is that a binding in the namespace refers to."""
    name = reference.get("name") or ""
    if reference.get("kind") == "Role":
        return ROLES, f"{namespace}/{name}"
    return CLUSTER_ROLES, name


def _subject(subject: Object, namespace: str) -> tuple[tuple[str, str], str]:
    """Whom the subject means, and how messages show him."""
    kind, name = subject.get("kind") or "", subject.get("name") or ""
    if kind != "ServiceAccount":
        return (kind, name), f"{kind} {quote(name)}"
    where = subject.get("namespace") or namespace
    return ("User", user_name(where, name)), f"{kind} {quote(f'{name}/{where}')}"
