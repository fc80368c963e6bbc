"""The chain: every plugin in its fixed order, those that are on by default, and how flags change that.

Source: Kubernetes' ``pkg/kubeapiserver/options/plugins.go`` and ``options/admission.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from apilayer.admission.plugin import ConfigurationError, Setup
from apilayer.admission.plugins.always import AlwaysAdmit, AlwaysDeny
from apilayer.admission.plugins.always_pull_images import AlwaysPullImages
from apilayer.admission.plugins.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from apilayer.admission.plugins.default_ingress_class import DefaultIngressClass
from apilayer.admission.plugins.default_storage_class import DefaultStorageClass
from apilayer.admission.plugins.default_toleration_seconds import DefaultTolerationSeconds
from apilayer.admission.plugins.deny_service_external_ips import DenyServiceExternalIPs
from apilayer.admission.plugins.event_rate_limit import EventRateLimit
from apilayer.admission.plugins.extended_resource_toleration import ExtendedResourceToleration
from apilayer.admission.plugins.limit_pod_hard_anti_affinity_topology import LimitPodHardAntiAffinityTopology
from apilayer.admission.plugins.limit_ranger import LimitRanger
from apilayer.admission.plugins.namespace_exists import NamespaceExists
from apilayer.admission.plugins.namespace_lifecycle import NamespaceLifecycle
from apilayer.admission.plugins.node_restriction import NodeRestriction
from apilayer.admission.plugins.owner_references_permission_enforcement import OwnerReferencesPermissionEnforcement
from apilayer.admission.plugins.persistent_volume_claim_resize import PersistentVolumeClaimResize
from apilayer.admission.plugins.pod_node_selector import PodNodeSelector
from apilayer.admission.plugins.pod_security import PodSecurity
from apilayer.admission.plugins.pod_toleration_restriction import PodTolerationRestriction
from apilayer.admission.plugins.pod_topology_labels import PodTopologyLabels
from apilayer.admission.plugins.priority import Priority
from apilayer.admission.plugins.resource_quota import ResourceQuota
from apilayer.admission.plugins.runtime_class import RuntimeClass
from apilayer.admission.plugins.service_account import ServiceAccount
from apilayer.admission.plugins.storage_object_in_use_protection import StorageObjectInUseProtection
from apilayer.admission.plugins.taint_nodes_by_condition import TaintNodesByCondition

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from typing import Any

    from apilayer.admission.listers import Listers
    from apilayer.admission.plugin import Plugin, Writer
    from apilayer.pipeline.authentication import User

ORDER: dict[str, type[Plugin] | None] = {
    "AlwaysAdmit": AlwaysAdmit,
    "NamespaceAutoProvision": None,
    "NamespaceLifecycle": NamespaceLifecycle,
    "NamespaceExists": NamespaceExists,
    "LimitPodHardAntiAffinityTopology": LimitPodHardAntiAffinityTopology,
    "LimitRanger": LimitRanger,
    "ServiceAccount": ServiceAccount,
    "NodeRestriction": NodeRestriction,
    "TaintNodesByCondition": TaintNodesByCondition,
    "AlwaysPullImages": AlwaysPullImages,
    "ImagePolicyWebhook": None,
    "PodSecurity": PodSecurity,
    "PodNodeSelector": PodNodeSelector,
    "Priority": Priority,
    "DefaultTolerationSeconds": DefaultTolerationSeconds,
    "PodTolerationRestriction": PodTolerationRestriction,
    "EventRateLimit": EventRateLimit,
    "ExtendedResourceToleration": ExtendedResourceToleration,
    "DefaultStorageClass": DefaultStorageClass,
    "StorageObjectInUseProtection": StorageObjectInUseProtection,
    "OwnerReferencesPermissionEnforcement": OwnerReferencesPermissionEnforcement,
    "PersistentVolumeClaimResize": PersistentVolumeClaimResize,
    "RuntimeClass": RuntimeClass,
    "CertificateApproval": CertificateApproval,
    "CertificateSigning": CertificateSigning,
    "ClusterTrustBundleAttest": None,
    "CertificateSubjectRestriction": CertificateSubjectRestriction,
    "DefaultIngressClass": DefaultIngressClass,
    "DenyServiceExternalIPs": DenyServiceExternalIPs,
    "PodTopologyLabels": PodTopologyLabels,
    "MutatingAdmissionPolicy": None,
    "MutatingAdmissionWebhook": None,
    "ValidatingAdmissionPolicy": None,
    "ValidatingAdmissionWebhook": None,
    "ResourceQuota": ResourceQuota,
    "AlwaysDeny": AlwaysDeny,
}
"""Every plugin of Kubernetes by name, in the order in which they are asked; None where this server has none."""

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
        return tuple(name for name, kind in ORDER.items() if kind is not None and name in wanted)


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
        kind = ORDER[name]
        assert kind is not None
        setup = Setup(listers, choice.configuration.get(name))
        if may is not None:
            setup = attrs.evolve(setup, may=may)
        if writer is not None:
            setup = attrs.evolve(setup, writer=writer)
        try:
            plugins.append(kind(setup))
        except ConfigurationError as error:
            raise ChoiceError(f'configuration of admission plugin "{name}": {error}') from error
    return plugins
