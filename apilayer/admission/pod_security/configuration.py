"""The plugin's configuration file: defaults where a namespace has no labels, and who is exempt.

Source: Kubernetes' ``pod-security.admission.config.k8s.io/v1`` PodSecurityConfiguration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from apilayer.admission.plugin import ConfigurationError
from apilayer.admission.pod_security.policy import Policy, Standard, parse_level, parse_version

if TYPE_CHECKING:
    from collections.abc import Mapping

_GROUP = "pod-security.admission.config.k8s.io/"
_VERSIONS = tuple(f"{_GROUP}{version}" for version in ("v1", "v1beta1", "v1alpha1"))
_EXEMPTIONS = ("usernames", "runtimeClasses", "namespaces")


@attrs.frozen
class Configuration:
    """Defaults for namespaces without labels, and names that nothing is asked of."""

    defaults: Policy = attrs.field(factory=Policy)
    usernames: frozenset[str] = frozenset()
    runtime_classes: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()


def read(document: Mapping[str, Any] | None) -> Configuration:
    """The configuration that a document holds. Raises ConfigurationError."""
    if document is None:
        return Configuration()
    if document.get("kind") != "PodSecurityConfiguration" or document.get("apiVersion") not in _VERSIONS:
        raise ConfigurationError(f"not a PodSecurityConfiguration of apiVersion {_VERSIONS[0]}")
    defaults = _mapping(document, "defaults")
    exemptions = _mapping(document, "exemptions")
    exempt = [frozenset(_names(exemptions, key)) for key in _EXEMPTIONS]
    policy = Policy(*(_standard(defaults, mode) for mode in ("enforce", "audit", "warn")))
    return Configuration(policy, *exempt)


def _mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigurationError(f"{key}: must be an object")
    return value


def _names(exemptions: Mapping[str, Any], key: str) -> list[str]:
    names = exemptions.get(key) or []
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise ConfigurationError(f"exemptions.{key}: must be a list of names")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigurationError(f"exemptions.{key}: duplicate value {repeated[0]!r}")
    return names


def _standard(defaults: Mapping[str, Any], mode: str) -> Standard:
    level = defaults.get(mode) or "privileged"
    if parse_level(str(level)) is None:
        raise ConfigurationError(f"defaults.{mode}: must be one of privileged, baseline, restricted")
    version = defaults.get(f"{mode}-version") or "latest"
    if parse_version(str(version)) is None:
        raise ConfigurationError(f'defaults.{mode}-version: must be "latest" or "v1.x"')
    return Standard(str(level), str(version))
