"""An EncryptionConfiguration (``apiserver.config.k8s.io/v1``): read, checked, and held as rules.

Messages are those of Kubernetes' validation. No message holds a key.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from apilayer.api import field
from apilayer.later import Later
from apilayer.pipeline.deadline import parse_duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import yaml

    from apilayer.api.field import FieldError
else:
    yaml = Later("yaml")

API_VERSIONS = ("apiserver.config.k8s.io/v1", "v1")
KINDS = ("EncryptionConfiguration", "EncryptionConfig")
"""The second is what versions before 1.13 called it; it is taken with ``v1``, as upstream does."""
MAX_FILE_BYTES = 1024 * 1024
DEFAULT_KMS_TIMEOUT_SECONDS = 3.0
KMS, AESGCM, AESCBC, SECRETBOX, IDENTITY = "kms", "aesgcm", "aescbc", "secretbox", "identity"
_KEY_BYTES = {AESGCM: (16, 24, 32), AESCBC: (16, 24, 32), SECRETBOX: (32,)}
_ALL = "*.*"
_NO_REST = ("apiserveripinfo", "serviceipallocations", "servicenodeportallocations")
_NONE_OF_THEM = "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity"
_SEVERAL = "more than one provider specified in a single element, should split into different list elements"
_OVERLAP = (
    "using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be"
    " masked"
)
_EVENTS = (
    "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file"
)
_KMS_V1 = (
    "KMSv1 is deprecated and will only receive security updates going forward. Use KMSv2 instead."
    "  Set --feature-gates=KMSv1=true to use the deprecated KMSv1 feature."
)


class ConfigurationError(Exception):
    """The configuration cannot be used. One line, without secrets."""


@attrs.frozen
class Key:
    """A named key."""

    name: str
    secret: bytes = attrs.field(repr=False)


@attrs.frozen
class Kms:
    """A KMS v2 plugin behind a unix socket."""

    name: str
    endpoint: str
    timeout_seconds: float


@attrs.frozen
class Provider:
    """One way to seal: `kind` is how the configuration calls it."""

    kind: str
    keys: tuple[Key, ...] = ()
    kms: Kms | None = None


@attrs.frozen
class Rule:
    """Which resources (``secrets``, ``deployments.apps``, ``*.apps``, ``*.``, ``*.*``) are sealed how."""

    resources: tuple[str, ...]
    providers: tuple[Provider, ...]


@attrs.frozen
class Configuration:
    """The rules in their order."""

    rules: tuple[Rule, ...]

    def providers_of(self, group_resource: str) -> tuple[Provider, ...]:
        """How values of a resource are sealed; nothing when they are not. An exact name goes before ``*.group``,
        that before ``*.*``."""
        resource, _, group = group_resource.partition(".")
        for name in (f"{resource}.{group}".rstrip("."), f"*.{group}", _ALL):
            found = [
                provider
                for rule in self.rules
                for listed in rule.resources
                if _canonical(listed) == name
                for provider in rule.providers
            ]
            if found:
                return tuple(found)
        return ()


def _canonical(name: str) -> str:
    """``secrets.`` is ``secrets``; ``*.`` stays."""
    return name if name == "*." else name.rstrip(".")


def read(path: Path) -> tuple[Configuration, bytes]:
    """The configuration in a file, and the bytes that it was read from. Raises ConfigurationError."""
    data = load(path)
    return parse(data), data


def load(path: Path) -> bytes:
    """What a file holds, which is something and not too much. Raises ConfigurationError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigurationError(
            f'error opening encryption provider configuration file "{path}": open {path}: {reason}'
        ) from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigurationError(f'encryption provider configuration file "{path}" is over {MAX_FILE_BYTES} bytes')
    if not data:
        raise ConfigurationError(f'encryption provider configuration file "{path}" is empty')
    return data


def parse(data: bytes) -> Configuration:
    """The configuration in YAML or JSON. Raises ConfigurationError."""
    try:
        document = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)  # the error itself would quote the file
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise ConfigurationError(f"couldn't get version/kind; the file is not YAML{where}") from error
    if not isinstance(document, dict):
        raise ConfigurationError("couldn't get version/kind; the file does not hold an object")
    if document.get("kind") not in KINDS or document.get("apiVersion") not in API_VERSIONS:
        kind, version = document.get("kind"), document.get("apiVersion")
        raise ConfigurationError(f'no kind "{kind}" is registered for version "{version}"')
    errors = _unknown_fields(document) or _check(document)
    if errors:
        texts = list(dict.fromkeys(map(str, errors)))
        raise ConfigurationError(f"[{', '.join(texts)}]" if len(texts) > 1 else texts[0])
    configuration = Configuration(tuple(map(_rule, document["resources"])))
    _refuse_masked(configuration)
    return configuration


# ------------------------------------------------------------------ checks


def _unknown_fields(document: dict[str, Any]) -> list[FieldError]:
    """Only what would otherwise be overlooked: a misspelt provider is found as no provider, a misspelt list is not."""
    return [
        field.invalid_unshown(name, "unknown field")
        for name in document
        if name not in ("kind", "apiVersion", "resources", "metadata")
    ]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _check(document: dict[str, Any]) -> list[FieldError]:
    rules = _list(document.get("resources"))
    if not rules:
        return [field.required("resources", "at least one resources is required")]
    errors: list[FieldError] = []
    names: set[str] = set()
    for index, rule in enumerate(rules):
        path = f"resources[{index}]"
        if not isinstance(rule, dict):
            errors.append(field.invalid_unshown(path, "must be an object"))
            continue
        errors += _check_resources(rule, f"{path}.resources")
        providers, where = _list(rule.get("providers")), f"{path}.providers"
        if not providers:
            errors.append(field.required(where, f"at least one {where} is required"))
        for place, provider in enumerate(providers):
            errors += _check_provider(provider, f"{where}[{place}]", names)
    return errors


def _check_resources(rule: dict[str, Any], path: str) -> list[FieldError]:
    resources = _list(rule.get("resources"))
    if not resources:
        return [field.required(path, f"at least one {path} is required")]
    if not all(isinstance(name, str) for name in resources):
        return [field.invalid(path, resources, "must be names of resources")]
    errors: list[FieldError] = []
    split = [_canonical(name).partition(".") for name in resources]
    parsed = [(resource, group) for resource, _, group in split]
    if len(set(parsed)) < len(parsed):
        errors.append(field.invalid(path, resources, "the same resource cannot be specified multiple times"))
    if _overlap(parsed):
        errors.append(field.invalid(path, resources, _OVERLAP))
    for index, name in enumerate(resources):
        reason = _resource_fault(name)
        if reason:
            errors.append(field.invalid(f"{path}[{index}]", name, reason))
    return errors


def _overlap(parsed: Sequence[tuple[str, str]]) -> bool:
    """Whether a wildcard among the names covers another of them."""
    distinct = set(parsed)
    if len(distinct) < 2:
        return False
    return ("*", "*") in distinct or any(
        resource == "*" and group == other_group and other != "*"
        for resource, group in distinct
        for other, other_group in distinct
    )


def _resource_fault(name: str) -> str:
    if name.lower() != name:
        return "resource name should not contain capital letters"
    if name == "*":
        return "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources"
    if name in _NO_REST:
        return "resources which do not have REST API/s cannot be encrypted"
    resource, _, group = name.partition(".")
    if group == "events.k8s.io":
        return _EVENTS
    if group == "extensions":
        return "'extensions' group has been removed and cannot be used for encryption"
    if group == "*" and resource != "*":
        return "encrypting the same resource across groups is not supported"
    return ""


def _check_provider(provider: Any, path: str, kms_names: set[str]) -> list[FieldError]:
    given = provider if isinstance(provider, dict) else {}
    kinds = [kind for kind in (KMS, AESGCM, AESCBC, SECRETBOX, IDENTITY) if given.get(kind) is not None]
    if len(kinds) != 1 or len(given) > 1:
        return [field.invalid_unshown(path, _SEVERAL if kinds else _NONE_OF_THEM)]
    (kind,) = kinds
    body = given[kind]
    if not isinstance(body, dict):
        return [field.invalid_unshown(f"{path}.{kind}", "must be an object")]
    if kind == KMS:
        return _check_kms(body, f"{path}.kms", kms_names)
    if kind == IDENTITY:
        return []
    where, keys = f"{path}.{kind}.keys", _list(body.get("keys"))
    if not keys:
        return [field.required(where, "at least one keys is required")]
    return [error for index, key in enumerate(keys) for error in _check_key(key, f"{where}[{index}]", _KEY_BYTES[kind])]


def _check_key(key: Any, path: str, lengths: tuple[int, ...]) -> list[FieldError]:
    given = key if isinstance(key, dict) else {}
    errors: list[FieldError] = []
    if not isinstance(given.get("name"), str) or not given["name"]:
        errors.append(field.required(f"{path}.name", "name is a mandatory field for a key"))
    where, secret = f"{path}.secret", given.get("secret")
    if not isinstance(secret, str) or not secret:
        return [*errors, field.required(where, "secret is a mandatory field for a key")]
    try:
        size = len(_decoded(secret))
    except (binascii.Error, ValueError):
        return [*errors, field.invalid(where, "REDACTED", "secrets must be base64 encoded")]
    if size not in lengths:
        expected = " ".join(map(str, lengths))
        detail = f"secret is not of the expected length, got {size}, expected one of [{expected}]"
        errors.append(field.invalid(where, "REDACTED", detail))
    return errors


def _decoded(secret: str) -> bytes:
    return base64.b64decode("".join(secret.split()), validate=True)


def _check_kms(body: dict[str, Any], path: str, names: set[str]) -> list[FieldError]:
    errors: list[FieldError] = []
    name, version = body.get("name") or "", body.get("apiVersion") or "v1"
    if not name or not isinstance(name, str):
        errors.append(field.required(f"{path}.name", "name is a mandatory field for a provider"))
        name = ""
    if version != "v1" and ":" in name:
        errors.append(field.invalid(f"{path}.name", name, f"invalid KMS provider name {name}, must not contain ':'"))
    if name in names:
        detail = f"duplicate KMS provider name {name}, names must be unique"
        errors.append(field.invalid(f"{path}.name", name, detail))
    names.add(name)
    try:
        if _seconds(body.get("timeout")) <= 0:
            errors.append(field.invalid(f"{path}.timeout", body["timeout"], "timeout should be a positive value"))
    except ValueError as error:
        errors.append(field.invalid(f"{path}.timeout", body["timeout"], str(error)))
    errors += _check_endpoint(body.get("endpoint") or "", f"{path}.endpoint")
    if version != "v1" and body.get("cachesize") is not None:
        errors.append(field.invalid(f"{path}.cachesize", body["cachesize"], "cachesize is not supported in v2"))
    if version not in ("v1", "v2"):
        detail = "unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported"
        errors.append(field.invalid(f"{path}.apiVersion", version, detail))
    return errors or ([field.invalid_unshown(path, _KMS_V1)] if version == "v1" else [])


def _seconds(timeout: Any) -> float:
    return DEFAULT_KMS_TIMEOUT_SECONDS if timeout is None else parse_duration(str(timeout))


def _check_endpoint(endpoint: Any, path: str) -> list[FieldError]:
    if not endpoint:
        return [field.invalid(path, "", "endpoint is a mandatory field for a kms")]
    try:
        scheme = urlsplit(str(endpoint)).scheme
    except ValueError as error:
        return [field.invalid(path, endpoint, f"invalid endpoint for kms provider, error: {error}")]
    if scheme != "unix":
        detail = f'unsupported scheme "{scheme}" for KMS provider, only unix is supported'
        return [field.invalid(path, endpoint, detail)]
    return []


def _refuse_masked(configuration: Configuration) -> None:
    """A rule that an earlier wildcard leaves nothing to do is a mistake. Raises ConfigurationError."""
    earlier: set[str] = set()
    for rule in configuration.rules:
        for name in map(_canonical, rule.resources):
            group = name.partition(".")[2]
            for mask in (f"*.{group}", _ALL):
                if mask in earlier:
                    raise ConfigurationError(f'resource "{name}" is masked by earlier rule "{mask}"')
            earlier.add(name)


# ------------------------------------------------------------------ what was checked, as rules


def _rule(rule: dict[str, Any]) -> Rule:
    return Rule(tuple(rule["resources"]), tuple(map(_provider, rule["providers"])))


def _provider(provider: dict[str, Any]) -> Provider:
    ((kind, body),) = provider.items()
    if kind == KMS:
        return Provider(kind, kms=Kms(body["name"], body["endpoint"], _seconds(body.get("timeout"))))
    keys = tuple(Key(key["name"], _decoded(key["secret"])) for key in body.get("keys") or ())
    return Provider(kind, keys)
