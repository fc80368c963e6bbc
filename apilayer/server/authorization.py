"""From flags to who may do what: which authorizers there are, and in which order they are asked."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Protocol

import attrs

from apilayer.admission.plugins.role_escalation import RoleEscalation
from apilayer.pipeline.abac import Policy, PolicyAuthorizer, PolicyError, parse_policies
from apilayer.pipeline.authorization import ALWAYS_ALLOW, ALWAYS_DENY, InTurn, Privileged
from apilayer.pipeline.node import NodeAuthorizer
from apilayer.pipeline.rbac import RoleAuthorizer, parse_rules
from apilayer.registry.following import CachedGraph, CachedRoles
from apilayer.registry.roles import default_roles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from apilayer.pipeline.authorization import Authorizer
    from apilayer.pipeline.rbac import Rule
    from apilayer.registry.registry import Registry

MODES = ("ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC")
NOT_OFFERED = ("Webhook",)
MAX_POLICY_BYTES = 16 * 1024 * 1024
NODE_ROLE = "system:node"
"""The default role whose rules hold for every node, whether the role is there or not."""


class AuthorizationError(Exception):
    """A flag or the file that it names cannot be used; one line that names the flag."""


class AuthorizationFlags(Protocol):
    """What the flags say (see `ServerOptions`)."""

    @property
    def authorization_mode(self) -> Sequence[str]: ...
    @property
    def authorization_policy_file(self) -> Path | None: ...


@attrs.frozen
class AuthorizationPlan:
    """What was read before anything runs."""

    modes: tuple[str, ...]
    _policies: tuple[Policy, ...]

    def over(self, registry: Registry) -> Authorizer:
        """The authorizer of a cluster, in which default roles are kept if roles decide."""
        if not self.modes:
            return Privileged()
        roles = RoleAuthorizer(CachedRoles(registry))
        authorizer = InTurn([self._authorizer(mode, registry, roles) for mode in self.modes])
        if "RBAC" in self.modes:
            registry.use_roles(RoleEscalation(registry.listers, authorizer, roles))
        return authorizer

    def _authorizer(self, mode: str, registry: Registry, roles: RoleAuthorizer) -> Authorizer:
        match mode:
            case "RBAC":
                return roles
            case "Node":
                return NodeAuthorizer(CachedGraph(registry), cache(_node_rules))
            case "ABAC":
                return PolicyAuthorizer(self._policies)
            case "AlwaysDeny":
                return ALWAYS_DENY
        return ALWAYS_ALLOW


def _node_rules() -> tuple[Rule, ...]:
    (role,) = (obj for _, _, obj in default_roles() if obj["metadata"]["name"] == NODE_ROLE and "rules" in obj)
    return parse_rules(role)


def read_authorization(flags: AuthorizationFlags) -> AuthorizationPlan:
    """Reads what the flags name. Raises AuthorizationError."""
    modes, file = tuple(flags.authorization_mode), flags.authorization_policy_file
    _check_modes(modes)
    if file is not None and "ABAC" not in modes:
        raise AuthorizationError("cannot specify --authorization-policy-file without mode ABAC")
    if file is None and "ABAC" in modes:
        raise AuthorizationError("authorization-mode ABAC's authorization policy file not passed")
    return AuthorizationPlan(modes, () if file is None else _policies(file))


def _check_modes(modes: Sequence[str]) -> None:
    for mode in modes:
        if mode in NOT_OFFERED:
            raise AuthorizationError(f"--authorization-mode: {mode!r} is not part of this server")
        if mode not in MODES:
            raise AuthorizationError(f"--authorization-mode: {mode!r} is not a valid mode")
        if modes.count(mode) > 1:
            raise AuthorizationError(f"--authorization-mode: {mode!r} is given more than once")


def _policies(path: Path) -> tuple[Policy, ...]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_POLICY_BYTES + 1)
        if len(data) > MAX_POLICY_BYTES:
            raise PolicyError(f"larger than {MAX_POLICY_BYTES} bytes")
        return parse_policies(data.decode().splitlines())
    except OSError as error:
        raise AuthorizationError(f"--authorization-policy-file: {path}: {error.strerror}") from error
    except (PolicyError, UnicodeDecodeError) as error:
        raise AuthorizationError(f"--authorization-policy-file: {path}: {error}") from error
