"""Policies of a file, one JSON object a line: whom they are about, and what these may do. Pure.

Source: Kubernetes documentation, "Using ABAC Authorization"; ``pkg/auth/authorizer/abac``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import orjson

from apilayer.pipeline.authentication import AUTHENTICATED
from apilayer.pipeline.authorization import Rules, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from apilayer.pipeline.authentication import User
    from apilayer.pipeline.request_info import RequestInfo

API_VERSION, KIND = "abac.authorization.kubernetes.io/v1beta1", "Policy"
ALL = "*"
READS = ("get", "list", "watch")
_TEXTS = {
    "user": "user",
    "group": "group",
    "namespace": "namespace",
    "resource": "resource",
    "apiGroup": "api_group",
    "nonResourcePath": "path",
}


class PolicyError(Exception):
    """A line cannot be used; says which and why."""


@attrs.frozen
class Policy:
    """One line. "" is nobody, or nothing."""

    user: str = ""
    group: str = ""
    namespace: str = ""
    resource: str = ""
    api_group: str = ""
    path: str = ""
    readonly: bool = False

    def is_about(self, user: User) -> bool:
        """Whether the user is meant: who is named must fit, and somebody must be named."""
        if self.user and self.user != user.name:
            return False
        if self.group:
            return self.group in user.groups
        return bool(self.user)

    def allows(self, info: RequestInfo) -> bool:
        """Whether those who are meant may do what a request asks for."""
        if self.readonly and info.verb not in READS:
            return False
        if not info.is_resource:
            return _fits(self.path, info.path) or (
                self.path.endswith(ALL) and info.path.startswith(self.path.rstrip(ALL))
            )
        return (
            _fits(self.namespace, info.namespace)
            and _fits(self.resource, info.resource)
            and _fits(self.api_group, info.group)
        )


def _fits(pattern: str, value: str) -> bool:
    return pattern in (ALL, value)


class PolicyAuthorizer:
    """`apilayer.pipeline.authorization.Authorizer` by policies."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._policies = policies

    def decide(self, user: User, info: RequestInfo) -> Verdict:
        """See `Authorizer.decide`."""
        if any(policy.is_about(user) and policy.allows(info) for policy in self._policies):
            return Verdict(True)
        return Verdict(False, "No policy matched.")

    def rules(self, user: User, namespace: str) -> Rules:
        """See `Authorizer.rules`."""
        resources, paths = [], []
        for policy in self._policies:
            if not policy.is_about(user) or not _fits(policy.namespace, namespace):
                continue
            verbs = list(READS) if policy.readonly else [ALL]
            if policy.resource:
                resources.append({"verbs": verbs, "apiGroups": [policy.api_group], "resources": [policy.resource]})
            if policy.path:
                paths.append({"verbs": verbs, "nonResourceURLs": [policy.path]})
        return Rules(tuple(resources), tuple(paths))


def parse_policies(lines: Iterable[str]) -> tuple[Policy, ...]:
    """The policies of a file; empty lines and those that begin with # say nothing. Raises PolicyError."""
    found = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text and not text.startswith("#"):
            try:
                found.append(_policy(text))
            except PolicyError as error:
                raise PolicyError(f"line {number}: {error}") from error
    return tuple(found)


def _policy(text: str) -> Policy:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise PolicyError(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise PolicyError("must be an object")
    if document.get("kind") != KIND or document.get("apiVersion") != API_VERSION:
        raise PolicyError(f'must have kind "{KIND}" and apiVersion "{API_VERSION}"')
    spec = document.get("spec") or {}
    if not isinstance(spec, dict):
        raise PolicyError("spec: must be an object")
    given: dict[str, Any] = {}
    for key, value in spec.items():
        if key == "readonly":
            if not isinstance(value, bool):
                raise PolicyError("spec.readonly: must be true or false")
            given[key] = value
        elif key not in _TEXTS:
            raise PolicyError(f"spec.{key}: unknown field")
        elif not isinstance(value, str):
            raise PolicyError(f"spec.{key}: must be a string")
        else:
            given[_TEXTS[key]] = value
    policy = Policy(**given)
    if ALL in (policy.user, policy.group):
        return attrs.evolve(policy, user="", group=AUTHENTICATED)  # whoever is known
    return policy
