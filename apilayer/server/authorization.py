"""From flags to who may do what: which authorizers there are, and in which order they are asked."""

from __future__ import annotations

import logging
import time
from functools import cache
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from apilayer.admission.plugins.role_escalation import RoleEscalation
from apilayer.files import FileError, read_bounded
from apilayer.pipeline.abac import Policy, PolicyAuthorizer, PolicyError, parse_policies
from apilayer.pipeline.authorization import ALWAYS_ALLOW, ALWAYS_DENY, InTurn, Privileged, Step
from apilayer.pipeline.node import NodeAuthorizer
from apilayer.pipeline.rbac import RoleAuthorizer, parse_rules
from apilayer.registry.following import CachedGraph, CachedRoles
from apilayer.registry.roles import default_roles
from apilayer.reloads import LOOK_SECONDS, Reloads, digest_of
from apilayer.server.errors import OptionsError
from apilayer.server.health import Check
from apilayer.server.retiring import Retiring

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from apilayer.outbound.client import Client
    from apilayer.pipeline.authorization import Authorizer
    from apilayer.pipeline.rbac import Rule
    from apilayer.registry.registry import Registry
    from apilayer.server.authorization_file import WebhookEntry
    from apilayer.server.health import Health

MODES = ("ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook")
MAX_POLICY_BYTES = 16 * 1024 * 1024
NODE_ROLE = "system:node"
"""The default role whose rules hold for every node, whether the role is there or not."""
DEFAULT_VERSION = "v1beta1"
DEFAULT_AUTHORIZED_SECONDS, DEFAULT_UNAUTHORIZED_SECONDS = 300.0, 30.0
CLOSE_SECONDS = 1.0

log = logging.getLogger("apilayer.server.authorization")


class AuthorizationFlags(Protocol):
    """What the flags say (see `ServerOptions`)."""

    @property
    def authorization_mode(self) -> Sequence[str]: ...
    @property
    def authorization_policy_file(self) -> Path | None: ...
    @property
    def authorization_config(self) -> Path | None: ...
    @property
    def authorization_webhook_config_file(self) -> Path | None: ...
    @property
    def authorization_webhook_version(self) -> str: ...
    @property
    def authorization_webhook_cache_authorized_ttl(self) -> float: ...
    @property
    def authorization_webhook_cache_unauthorized_ttl(self) -> float: ...


@attrs.frozen
class Planned:
    """One authorizer that there will be; `webhook` is set for those of mode Webhook."""

    mode: str
    name: str
    webhook: WebhookEntry | None = None


@attrs.define(eq=False)
class AuthorizationPlan:
    """What was read before anything runs: the authorizers in their order; and, once they are made, their upkeep."""

    _planned: tuple[Planned, ...]
    _policies: tuple[Policy, ...] = ()
    _file: Path | None = None
    """Where the authorizers come from, when that is no flag: it is looked at again once in a while."""
    _made: InTurn | None = None
    _local: dict[str, Authorizer] = attrs.field(factory=dict)
    _clients: list[Client] = attrs.field(factory=list)
    _retiring: Retiring = attrs.field(factory=Retiring)
    _reloads: Reloads | None = None
    _refused: str = ""

    def over(self, registry: Registry) -> Authorizer:
        """The authorizer of a cluster, in which default roles are kept if roles decide."""
        if not self._planned:
            return Privileged()
        roles = RoleAuthorizer(CachedRoles(registry))
        self._local = {
            "ABAC": PolicyAuthorizer(self._policies),
            "AlwaysAllow": ALWAYS_ALLOW,
            "AlwaysDeny": ALWAYS_DENY,
            "Node": NodeAuthorizer(CachedGraph(registry), cache(_node_rules)),
            "RBAC": roles,
        }
        self._made = InTurn(self._steps(self._planned), self._reloads)
        if "RBAC" in _modes(self._planned):
            registry.use_roles(RoleEscalation(registry.listers, self._made, roles))
        return self._made

    def _steps(self, planned: tuple[Planned, ...]) -> list[Step]:
        return [
            Step(self._local[item.mode] if item.webhook is None else self._asking(item.webhook), item.mode, item.name)
            for item in planned
        ]

    def _asking(self, entry: WebhookEntry) -> Authorizer:
        from apilayer.outbound.client import Client
        from apilayer.outbound.webhook import Webhook
        from apilayer.pipeline.webhook_authorizer import WebhookAuthorizer

        client = Client(entry.target, timeout_seconds=entry.timeout_seconds)
        self._clients.append(client)
        return WebhookAuthorizer(Webhook(client).post, entry.rules)

    async def run(self) -> None:
        """Looks at the file again and again, if there is one."""
        while self._file is not None:
            await trio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Does as the file says now. One that cannot be used changes nothing; that is told, and counted, once."""
        await self._retiring.sweep()
        assert self._file is not None
        assert self._made is not None
        assert self._reloads is not None
        try:
            planned, data = _configured(self._file)
            _check_same_kinds(self._planned, planned)
        except OptionsError as error:
            if str(error) != self._refused:
                self._refused = str(error)
                self._reloads.failed(time.time())
                log.error("the authorizers stay as they were: %s", error)
            return
        self._refused = ""
        if planned != self._planned:
            self._retiring.add(*(client.aclose for client in self._clients))
            self._clients = []
            self._planned, self._made.steps = planned, self._steps(planned)
            log.info("the authorizers are now: %s", ", ".join(item.name for item in planned))
        elif digest_of(data) == self._reloads.digest:
            return
        self._reloads.taken_up(data, time.time())

    async def close(self) -> None:
        """Ends the connections to webhooks, also when there is no time left."""
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._retiring.aclose()
            for client in self._clients:
                await client.aclose()


def _modes(planned: tuple[Planned, ...]) -> set[str]:
    return {item.mode for item in planned}


def _check_same_kinds(old: tuple[Planned, ...], new: tuple[Planned, ...]) -> None:
    """What comes with a part of the server, or with another file, cannot come or go while it runs."""
    for mode in sorted((_modes(old) ^ _modes(new)) & {"ABAC", "Node", "RBAC"}):
        raise OptionsError(f"an authorizer of type {mode} can neither be added nor removed without a restart")


def watch_roles(registry: Registry, health: Health) -> None:
    """Where roles decide, nobody is sent here before the default ones are there."""

    async def passes() -> bool:
        return registry.roles_are_there

    if registry.has_roles:
        health.add(Check("poststarthook/rbac/bootstrap-roles", passes))


def _node_rules() -> tuple[Rule, ...]:
    (role,) = (obj for _, _, obj in default_roles() if obj["metadata"]["name"] == NODE_ROLE and "rules" in obj)
    return parse_rules(role)


def read_authorization(flags: AuthorizationFlags) -> AuthorizationPlan:
    """Reads what the flags name. Raises OptionsError."""
    if flags.authorization_config is not None:
        if _has_others(flags):
            others = "--authorization-mode or --authorization-webhook-* flags"
            raise OptionsError(f"--authorization-config can not be specified when {others} are defined")
        planned, data = _configured(flags.authorization_config)
        reloads = Reloads()
        reloads.holds(data)
    else:
        reloads = None
        _check_modes(tuple(flags.authorization_mode))
        planned = tuple(Planned(mode, mode.lower()) for mode in flags.authorization_mode)
        webhook = _webhook(flags)
        if webhook is not None:
            asking = Planned("Webhook", "default", webhook)
            planned = tuple(asking if item.mode == "Webhook" else item for item in planned)
    file, is_used = flags.authorization_policy_file, "ABAC" in _modes(planned)
    if file is not None and not is_used:
        raise OptionsError("cannot specify --authorization-policy-file without mode ABAC")
    if file is None and is_used:
        raise OptionsError("authorization-mode ABAC's authorization policy file not passed")
    policies = () if file is None else _policies(file)
    return AuthorizationPlan(planned, policies, flags.authorization_config, reloads=reloads)


def _has_others(flags: AuthorizationFlags) -> bool:
    usual = (DEFAULT_VERSION, DEFAULT_AUTHORIZED_SECONDS, DEFAULT_UNAUTHORIZED_SECONDS)
    given = (
        flags.authorization_webhook_version,
        flags.authorization_webhook_cache_authorized_ttl,
        flags.authorization_webhook_cache_unauthorized_ttl,
    )
    return bool(flags.authorization_mode) or flags.authorization_webhook_config_file is not None or given != usual


def _configured(path: Path) -> tuple[tuple[Planned, ...], bytes]:
    """What the file says, and its bytes."""
    from apilayer.server.authorization_file import ConfigurationError, read_configuration

    try:
        return read_configuration(path)
    except ConfigurationError as error:
        raise OptionsError(f"--authorization-config: {path}: {error}") from error


def _webhook(flags: AuthorizationFlags) -> WebhookEntry | None:
    """The webhook of the flags, None without one."""
    file, is_used = flags.authorization_webhook_config_file, "Webhook" in flags.authorization_mode
    if file is None:
        if is_used:
            raise OptionsError("authorization-mode Webhook's authorization config file not passed")
        return None
    if not is_used:
        raise OptionsError("cannot specify --authorization-webhook-config-file without mode Webhook")
    version = flags.authorization_webhook_version
    if version not in ("v1", "v1beta1"):
        raise OptionsError(f"--authorization-webhook-version: {version!r} is neither v1 nor v1beta1")
    from apilayer.pipeline.webhook_authorizer import WebhookRules
    from apilayer.server.authorization_file import ConfigurationError, webhook_entry

    rules = WebhookRules(
        version,
        flags.authorization_webhook_cache_authorized_ttl,
        flags.authorization_webhook_cache_unauthorized_ttl,
    )
    try:
        return webhook_entry(file, rules)
    except ConfigurationError as error:
        raise OptionsError(f"--authorization-webhook-config-file: {error}") from error


def _check_modes(modes: Sequence[str]) -> None:
    for mode in modes:
        if mode not in MODES:
            raise OptionsError(f"--authorization-mode: {mode!r} is not a valid mode")
        if modes.count(mode) > 1:
            raise OptionsError(f"--authorization-mode: {mode!r} is given more than once")


def _policies(path: Path) -> tuple[Policy, ...]:
    try:
        return parse_policies(read_bounded(path, MAX_POLICY_BYTES).decode().splitlines())
    except (FileError, PolicyError, UnicodeDecodeError) as error:
        raise OptionsError(f"--authorization-policy-file: {path}: {error}") from error
