"""The chain: every plugin in its fixed order, those that are on by default, and how flags change that.

Source: Kubernetes' ``pkg/kubeapiserver/options/plugins.go`` and ``options/admission.go``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

import attrs

from apilayer.admission.plugin import ConfigurationError, Setup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from typing import Any

    from apilayer.admission.listers import Listers
    from apilayer.admission.plugin import Plugin, Writer
    from apilayer.pipeline.authentication import User

ORDER: dict[str, str | None] = {
    "AlwaysAdmit": "always",
    "NamespaceAutoProvision": None,
    "NamespaceLifecycle": "namespace_lifecycle",
    "NamespaceExists": "namespace_exists",
    "LimitPodHardAntiAffinityTopology": "limit_pod_hard_anti_affinity_topology",
    "LimitRanger": "limit_ranger",
    "ServiceAccount": "service_account",
    "NodeRestriction": "node_restriction",
    "TaintNodesByCondition": "taint_nodes_by_condition",
    "AlwaysPullImages": "always_pull_images",
    "ImagePolicyWebhook": None,
    "PodSecurity": "pod_security",
    "PodNodeSelector": "pod_node_selector",
    "Priority": "priority",
    "DefaultTolerationSeconds": "default_toleration_seconds",
    "PodTolerationRestriction": "pod_toleration_restriction",
    "EventRateLimit": "event_rate_limit",
    "ExtendedResourceToleration": "extended_resource_toleration",
    "DefaultStorageClass": "default_storage_class",
    "StorageObjectInUseProtection": "storage_object_in_use_protection",
    "OwnerReferencesPermissionEnforcement": "owner_references_permission_enforcement",
    "PersistentVolumeClaimResize": "persistent_volume_claim_resize",
    "RuntimeClass": "runtime_class",
    "CertificateApproval": "certificates",
    "CertificateSigning": "certificates",
    "ClusterTrustBundleAttest": None,
    "CertificateSubjectRestriction": "certificates",
    "DefaultIngressClass": "default_ingress_class",
    "DenyServiceExternalIPs": "deny_service_external_ips",
    "PodTopologyLabels": "pod_topology_labels",
    "MutatingAdmissionPolicy": None,
    "MutatingAdmissionWebhook": None,
    "ValidatingAdmissionPolicy": None,
    "ValidatingAdmissionWebhook": None,
    "ResourceQuota": "resource_quota",
    "AlwaysDeny": "always",
}
"""Every plugin of Kubernetes by name, in the order in which they are asked; None where this server has none.

The value is the module of `apilayer.admission.plugins` that has the class of that name; those that are off stay out.
"""

DEFAULT_ON = frozenset(
    {
        "NamespaceLifecycle",
        "LimitRanger",
        "ServiceAccount",
        "DefaultStorageClass",
        "DefaultTolerationSeconds",
        "MutatingAdmissionWebhook",
        "ValidatingAdmissionWebhook",
        "ResourceQuota",
        "StorageObjectInUseProtection",
        "Priority",
        "TaintNodesByCondition",
        "RuntimeClass",
        "CertificateApproval",
        "CertificateSigning",
        "ClusterTrustBundleAttest",
        "CertificateSubjectRestriction",
        "DefaultIngressClass",
        "PersistentVolumeClaimResize",
        "PodSecurity",
        "PodTopologyLabels",
        "MutatingAdmissionPolicy",
        "ValidatingAdmissionPolicy",
    }
)


NO_LESS = ("NamespaceLifecycle",)
"""What a registry has that nobody chose plugins for."""


class ChoiceError(Exception):
    """The flags cannot be used together; names flag and plugin."""


@attrs.frozen
class Choice:
    """The flags: `--enable-admission-plugins`, `--disable-admission-plugins`, and the old `--admission-control`."""

    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    control: tuple[str, ...] = ()
    configuration: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    """By plugin: its part of `--admission-control-config-file`."""

    def names(self) -> tuple[str, ...]:
        """The plugins that are on, in their order. Raises ChoiceError."""
        if self.control:
            if self.enable or self.disable:
                others = "enable-admission-plugins/disable-admission-plugins"
                raise ChoiceError(f"admission-control and {others} flags are mutually exclusive")
            _check_known("admission-control", self.control, offered=True)
            wanted = frozenset(self.control)
        else:
            _check_known("enable-admission-plugins", self.enable, offered=True)
            _check_known("disable-admission-plugins", self.disable, offered=False)
            both = sorted(set(self.enable) & set(self.disable))
            if both:
                flags = "in enable-admission-plugins and disable-admission-plugins overlapped"
                raise ChoiceError(f"[{' '.join(both)}] {flags}")
            wanted = (DEFAULT_ON | frozenset(self.enable)) - frozenset(self.disable)
        return tuple(name for name, module in ORDER.items() if module is not None and name in wanted)


def _check_known(flag: str, names: Iterable[str], *, offered: bool) -> None:
    for name in names:
        if name not in ORDER:
            raise ChoiceError(f'{flag} plugin "{name}" is unknown')
        if offered and ORDER[name] is None:
            raise ChoiceError(f'{flag} plugin "{name}" is not part of this server')


def build(
    choice: Choice,
    listers: Listers,
    may: Callable[[User, str, str, str, str, str], Awaitable[bool]] | None = None,
    writer: Writer | None = None,
) -> list[Plugin]:
    """The plugins that are on. Raises ChoiceError for flags that cannot be used, or a configuration that cannot."""
    plugins = []
    for name in choice.names():
        setup = Setup(listers, choice.configuration.get(name))
        if may is not None:
            setup = attrs.evolve(setup, may=may)
        if writer is not None:
            setup = attrs.evolve(setup, writer=writer)
        try:
            plugins.append(class_of(name)(setup))
        except ConfigurationError as error:
            raise ChoiceError(f'configuration of admission plugin "{name}": {error}') from error
    return plugins


def class_of(name: str) -> type[Plugin]:
    """The plugin of this name, which this server has."""
    return cast("type[Plugin]", getattr(import_module(f"apilayer.admission.plugins.{ORDER[name]}"), name))
