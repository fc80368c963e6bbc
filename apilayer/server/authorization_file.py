"""The file of ``--authorization-config``: which authorizers there are, in their order, and how webhooks are asked.

Source: Kubernetes' ``apiserver.config.k8s.io`` AuthorizationConfiguration and its validation.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from apilayer.api import field
from apilayer.api.names import dns_subdomain
from apilayer.files import FileError, read_bounded
from apilayer.later import Later
from apilayer.outbound.kubeconfig import read_kubeconfig
from apilayer.outbound.target import Target, TargetError, client_context
from apilayer.pipeline.authorization import aggregate
from apilayer.pipeline.deadline import parse_duration
from apilayer.pipeline.webhook_authorizer import WebhookRules
from apilayer.server.authorization import MODES, Planned

if TYPE_CHECKING:
    from collections.abc import Iterator

    import yaml

    from apilayer.api.field import FieldError
else:
    yaml = Later("yaml")

WEBHOOK = "Webhook"
MAX_FILE_BYTES = 1024 * 1024
MAX_TIMEOUT_SECONDS = 30.0
_KIND = "AuthorizationConfiguration"
_VERSIONS = tuple(f"apiserver.config.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
_POLICIES = ("NoOpinion", "Deny")


class ConfigurationError(Exception):
    """The file cannot be used; says which fields and why."""


@attrs.frozen
class WebhookEntry:
    """A webhook to ask."""

    target: Target
    rules: WebhookRules
    timeout_seconds: float = MAX_TIMEOUT_SECONDS


class _Model(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A part of the document; a field of another name is an error."""


class _Connection(_Model):
    type: str = ""
    kube_config_file: str | None = None


class _Condition(_Model):
    expression: str = ""


class _Webhook(_Model):
    authorized_ttl: str = msgspec.field(default="", name="authorizedTTL")
    cache_authorized_requests: bool = True
    unauthorized_ttl: str = msgspec.field(default="", name="unauthorizedTTL")
    cache_unauthorized_requests: bool = True
    timeout: str = ""
    subject_access_review_version: str = ""
    match_condition_subject_access_review_version: str = ""
    failure_policy: str = ""
    connection_info: _Connection = msgspec.field(default_factory=_Connection)
    match_conditions: list[_Condition] = []


class _Authorizer(_Model):
    type: str = ""
    name: str = ""
    webhook: _Webhook | None = None


class _Document(_Model):
    api_version: str
    kind: str
    authorizers: list[_Authorizer] = []


def read_configuration(path: Path) -> tuple[tuple[Planned, ...], bytes]:
    """The authorizers of a file, and its bytes. Raises ConfigurationError."""
    try:
        data = read_bounded(path, MAX_FILE_BYTES)
        return parse_configuration(yaml.safe_load(data)), data
    except FileError as error:
        raise ConfigurationError(str(error)) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"not YAML: {error}") from error


def parse_configuration(document: Any) -> tuple[Planned, ...]:
    """The authorizers of a document. Pure, but for the files that must be there. Raises ConfigurationError."""
    try:
        parsed = msgspec.convert(document, _Document)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"strict decoding error: {error}") from error
    if parsed.kind != _KIND or parsed.api_version not in _VERSIONS:
        raise ConfigurationError(f"not an {_KIND} of apiVersion {_VERSIONS[0]}")
    wrong = list(_checked(parsed.authorizers))
    if wrong:
        raise ConfigurationError(aggregate(map(str, wrong)))
    return tuple(Planned(item.type, item.name, _entry(item.webhook)) for item in parsed.authorizers)


def _entry(webhook: _Webhook | None) -> WebhookEntry | None:
    if webhook is None:
        return None
    rules = WebhookRules(
        webhook.subject_access_review_version,
        parse_duration(webhook.authorized_ttl or "5m") if webhook.cache_authorized_requests else 0.0,
        parse_duration(webhook.unauthorized_ttl or "30s") if webhook.cache_unauthorized_requests else 0.0,
        webhook.failure_policy == "Deny",
    )
    kubeconfig = Path(webhook.connection_info.kube_config_file or "")
    return webhook_entry(kubeconfig, rules, parse_duration(webhook.timeout))


def webhook_entry(kubeconfig: Path, rules: WebhookRules, timeout_seconds: float = MAX_TIMEOUT_SECONDS) -> WebhookEntry:
    """The webhook of a kubeconfig file. Raises ConfigurationError when that, or its certificates, cannot be used."""
    try:
        target = read_kubeconfig(kubeconfig)
        if target.secure:
            client_context(target)
    except TargetError as error:
        raise ConfigurationError(str(error)) from error
    return WebhookEntry(target, rules, timeout_seconds)


def _checked(authorizers: list[_Authorizer]) -> Iterator[FieldError]:
    if not authorizers:
        yield field.required("authorizers", "at least one authorization mode must be defined")
    modes: set[str] = set()
    names: set[str] = set()
    for index, item in enumerate(authorizers):
        where = f"authorizers[{index}]"
        if not item.type:
            yield field.required(f"{where}.type")
            continue
        if item.type not in MODES:
            yield field.not_supported(f"{where}.type", item.type, MODES)
            continue
        if item.type in modes and item.type != WEBHOOK:
            yield field.duplicate(f"{where}.type", item.type)
            continue
        modes.add(item.type)
        yield from _checked_name(item.name, f"{where}.name", names)
        names.add(item.name)
        if item.type != WEBHOOK:
            if item.webhook is not None:
                yield field.invalid(f"{where}.webhook", "non-null", "may only be specified when type=Webhook")
        elif item.webhook is None:
            yield field.required(f"{where}.webhook", "required when type=Webhook")
        else:
            yield from _checked_webhook(item.webhook, f"{where}.webhook")


def _checked_name(name: str, where: str, taken: set[str]) -> Iterator[FieldError]:
    if not name:
        yield field.required(where)
    elif name in taken:
        yield field.duplicate(where, name)
    elif problems := dns_subdomain(name):
        yield field.invalid(where, name, f"authorizer name is invalid: {', '.join(problems)}")


def _checked_webhook(webhook: _Webhook, where: str) -> Iterator[FieldError]:
    yield from _checked_time(webhook.timeout, f"{where}.timeout", MAX_TIMEOUT_SECONDS)
    for ttl, name in ((webhook.authorized_ttl, "authorizedTTL"), (webhook.unauthorized_ttl, "unauthorizedTTL")):
        if ttl:
            yield from _checked_time(ttl, f"{where}.{name}")
    yield from _one_of(webhook.subject_access_review_version, f"{where}.subjectAccessReviewVersion", ("v1", "v1beta1"))
    yield from _one_of(webhook.failure_policy, f"{where}.failurePolicy", _POLICIES)
    if webhook.match_conditions:
        yield field.forbidden(f"{where}.matchConditions", "not implemented: expressions are not part of this server")
    yield from _checked_connection(webhook.connection_info, f"{where}.connectionInfo")


def _checked_time(text: str, where: str, most: float = 0.0) -> Iterator[FieldError]:
    if not text:
        yield field.required(where)
        return
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        yield field.invalid(where, text, str(error))
        return
    if seconds <= 0 or (most and seconds > most):
        yield field.invalid(where, text, f"must be > 0s and <= {most:g}s" if most else "must be > 0s")


def _one_of(value: str, where: str, valid: tuple[str, ...]) -> Iterator[FieldError]:
    if not value:
        yield field.required(where)
    elif value not in valid:
        yield field.not_supported(where, value, valid)


def _checked_connection(connection: _Connection, where: str) -> Iterator[FieldError]:
    yield from _one_of(connection.type, f"{where}.type", ("InClusterConfig", "KubeConfigFile"))
    if connection.type == "InClusterConfig":
        yield field.forbidden(f"{where}.type", "not implemented: InClusterConfig is not part of this server")
    elif connection.type == "KubeConfigFile":
        where, name = f"{where}.kubeConfigFile", connection.kube_config_file
        if not name:
            yield field.required(where)
        elif not Path(name).is_absolute():
            yield field.invalid(where, name, "must be an absolute path")
        elif not Path(name).exists():
            yield field.invalid(where, name, "error loading file: no such file or directory")
        elif not Path(name).is_file():
            yield field.invalid(where, name, "must be a regular file")
