"""What is allowed but unwise: texts for ``Warning`` headers on creation and update, by kind.

Source: ``WarningsOnCreate`` and ``WarningsOnUpdate`` of Kubernetes' strategies. `pod_warnings` knows about pods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.api import names
from apilayer.api.encoding import base64text
from apilayer.api.validation.common import Object, indexed, items, part, text
from apilayer.api.validation.pod_warnings import DEPRECATED_VOLUMES, claim_warnings, pod_warnings
from apilayer.api.validation.warning_words import (
    address_warnings,
    node_label_warnings,
    node_term_warnings,
    range_warnings,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from apilayer.api.resources import Resource

    Advice = Callable[[Object], list[str]]

_HOST_NAME = (
    "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior;"
    " a DNS label is recommended: [{}]"
)
_TEMPLATES = {
    "cronjobs.batch": "spec.jobTemplate.spec.template",
    "daemonsets.apps": "spec.template",
    "deployments.apps": "spec.template",
    "jobs.batch": "spec.template",
    "podtemplates": "template",
    "replicasets.apps": "spec.template",
    "replicationcontrollers": "spec.template",
    "statefulsets.apps": "spec.template",
}
_NAMES_PODS = frozenset(
    {"cronjobs.batch", "deployments.apps", "jobs.batch", "replicasets.apps", "replicationcontrollers"}
)
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_USE_CLASS = 'deprecated since v1.8; use "storageClassName" attribute instead'
_INGRESS_CLASS = "kubernetes.io/ingress.class"
_TOPOLOGY_HINTS = "service.kubernetes.io/topology-aware-hints"
_TOPOLOGY_MODE = "service.kubernetes.io/topology-mode"
_MOUNTABLE_SECRETS = "kubernetes.io/enforce-mountable-secrets"
_NO_RECYCLE = (
    "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning."
)
_MANY_COMPLETIONS, _MANY_PODS = 100_000, 10_000
_TOO_MANY_INDEXES = (
    "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might"
    " not be able to track completedIndexes when a big number of indexes fail"
)
_TOKENS_IN_ATTRIBUTES = (
    "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible"
    " logging of tokens in volume attributes"
)


def create_warnings(resource: Resource, obj: Object) -> list[str]:
    """Texts about a valid new object, in the order of kube-apiserver; defaults are applied already."""
    kind = resource.group_resource
    found: list[str] = []
    if kind in _NAMES_PODS:
        wrong = names.namespace_name(text(part(obj, "metadata"), "name"))
        found += [_HOST_NAME.format(" ".join(wrong))] if wrong else []
    for advice in (_AT_FIRST.get(kind), _ALWAYS.get(kind)):
        found += advice(obj) if advice is not None else []
    return found + _template_warnings(kind, obj)


def update_warnings(resource: Resource, obj: Object) -> list[str]:
    """Texts about an object as an update leaves it; pods are advised on when they are made."""
    kind = resource.group_resource
    if kind == "pods":
        return []
    advice = _ALWAYS.get(kind)
    return (advice(obj) if advice is not None else []) + _template_warnings(kind, obj)


def _template_warnings(kind: str, obj: Object) -> list[str]:
    path = _TEMPLATES.get(kind)
    if path is None:
        return []
    template = obj
    for key in path.split("."):
        template = part(template, key)
    return pod_warnings(template, path)


def _pod(obj: Object) -> list[str]:
    return pod_warnings(obj)


def _ingress(obj: Object) -> list[str]:
    """A class that is named by the annotation alone."""
    noted = _INGRESS_CLASS in part(part(obj, "metadata"), "annotations")
    if not noted or part(obj, "spec").get("ingressClassName") is not None:
        return []
    return [f"annotation \"{_INGRESS_CLASS}\" is deprecated, please use 'spec.ingressClassName' instead"]


def _job(obj: Object) -> list[str]:
    spec = part(obj, "spec")
    many = (spec.get("completions") or 0) > _MANY_COMPLETIONS and (spec.get("parallelism") or 0) > _MANY_PODS
    return [_TOO_MANY_INDEXES] if many and spec.get("completionMode") == "Indexed" else []


def _stateful_set(obj: Object) -> list[str]:
    if (part(obj, "spec").get("revisionHistoryLimit") or 0) >= 0:
        return []
    return ["spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"]


def _service(obj: Object) -> list[str]:
    spec = part(obj, "spec")
    kind, outside = text(spec, "type"), items(spec, "externalIPs")
    headless = kind == "ClusterIP" and spec.get("clusterIP") == "None"
    external = kind == "ExternalName"
    found = []
    if _TOPOLOGY_HINTS in part(part(obj, "metadata"), "annotations"):
        found.append(f"annotation {_TOPOLOGY_HINTS} is deprecated, please use {_TOPOLOGY_MODE} instead")
    found += _each(address_warnings, spec, "clusterIPs")
    if headless:
        sticky = spec.get("sessionAffinity") != "None"
        ignored = {"loadBalancerIP": spec.get("loadBalancerIP"), "externalIPs": outside, "SessionAffinity": sticky}
        found += [f"spec.{key} is ignored for headless services" for key, is_set in ignored.items() if is_set]
    found += _each(address_warnings, spec, "externalIPs")
    if outside and not headless and not external:
        found.append("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
    found += address_warnings("spec.loadBalancerIP", text(spec, "loadBalancerIP"))
    found += _each(range_warnings, spec, "loadBalancerSourceRanges")
    if external and outside:
        found.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
    if not external and spec.get("externalName"):
        found.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    if spec.get("trafficDistribution") == "PreferClose":
        found.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    return found


def _each(advice: Callable[[str, str], list[str]], spec: Object, key: str) -> list[str]:
    return [warning for where, value in indexed(spec, key, "spec") for warning in advice(where, value)]


def _endpoints(obj: Object) -> list[str]:
    return [
        warning
        for where, subset in indexed(obj, "subsets", "")
        for key in ("addresses", "notReadyAddresses")
        for at, address in indexed(subset, key, where)
        for warning in address_warnings(f"{at}.ip", text(address, "ip"))
    ]


def _endpoint_slice(obj: Object) -> list[str]:
    found = ["spec.addressType: FQDN endpoints are deprecated"] if obj.get("addressType") == "FQDN" else []
    for where, endpoint in indexed(obj, "endpoints", ""):
        for at, address in indexed(endpoint, "addresses", where):
            found += address_warnings(at, address)
    return found


def _network_policy(obj: Object) -> list[str]:
    spec = part(obj, "spec")
    found = []
    for rules, peers in (("ingress", "from"), ("egress", "to")):
        for where, rule in indexed(spec, rules, "spec"):
            for at, peer in indexed(rule, peers, where):
                block = part(peer, "ipBlock")
                found += range_warnings(f"{at}.ipBlock.cidr", text(block, "cidr"))
                for exception_at, value in indexed(block, "except", f"{at}.ipBlock"):
                    found += range_warnings(exception_at, value)
    return found


def _node(obj: Object) -> list[str]:
    spec = part(obj, "spec")
    found = []
    if spec.get("configSource") is not None:
        found.append("spec.configSource: the feature is removed")
    if spec.get("externalID"):
        found.append("spec.externalID: this field is deprecated, and is unused by Kubernetes")
    return found + _each(range_warnings, spec, "podCIDRs")


def _service_account(obj: Object) -> list[str]:
    if _MOUNTABLE_SECRETS not in part(part(obj, "metadata"), "annotations"):
        return []
    why = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
    return [f"metadata.annotations[{_MOUNTABLE_SECRETS}]: {why}"]


def _secret(obj: Object) -> list[str]:
    """A TLS secret has a certificate and the key that belongs to it."""
    if obj.get("type") != "kubernetes.io/tls":
        return []
    from cryptography import x509  # here: the library takes long to import, few secrets need it
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = part(obj, "data")
    certificate, key = (base64text.decode(data.get(name, "")) for name in ("tls.crt", "tls.key"))
    for what, pem in (("certificate", certificate), ("key", key)):
        if b"-----BEGIN " not in pem:
            return [f"tls: failed to find any PEM data in {what} input"]
    try:
        public = x509.load_pem_x509_certificate(certificate).public_key()
    except ValueError:
        return ["x509: malformed certificate"]
    try:
        belongs = load_pem_private_key(key, password=None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return ["tls: failed to parse private key"]
    return [] if public == belongs else ["tls: private key does not match public key"]


def _class_annotation(obj: Object) -> list[str]:
    noted = _CLASS_ANNOTATION in part(part(obj, "metadata"), "annotations")
    return [f"metadata.annotations[{_CLASS_ANNOTATION}]: {_USE_CLASS}"] if noted else []


def _volume(obj: Object) -> list[str]:
    spec = part(obj, "spec")
    found = _class_annotation(obj)
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        found.append(f"spec.persistentVolumeReclaimPolicy: {_NO_RECYCLE}")
    required = part(part(spec, "nodeAffinity"), "required")
    for where, term in indexed(required, "nodeSelectorTerms", "spec.nodeAffinity.required"):
        found += node_term_warnings(term, where)
    return found + [f"spec.{name}: {why}" for key, name, why in DEPRECATED_VOLUMES if spec.get(key) is not None]


def _claim(obj: Object) -> list[str]:
    return _class_annotation(obj) + claim_warnings(part(obj, "spec"), "spec")


def _storage_class(obj: Object) -> list[str]:
    return [
        warning
        for where, term in indexed(obj, "allowedTopologies", "")
        for at, expression in indexed(term, "matchLabelExpressions", where)
        for warning in node_label_warnings([text(expression, "key")], f"{at}.key", keyed=False)
    ]


def _storage_capacity(obj: Object) -> list[str]:
    topology = part(obj, "nodeTopology")
    labels = part(topology, "matchLabels")
    found = [
        warning
        for key in labels
        for warning in node_label_warnings([key], f"nodeTopology.matchLabels[{key}]", keyed=False)
    ]
    return node_term_warnings(topology, "nodeTopology") + found


def _runtime_class(obj: Object) -> list[str]:
    selector = part(part(obj, "scheduling"), "nodeSelector")
    return node_label_warnings(selector, "scheduling.nodeSelector")


def _csi_driver(obj: Object) -> list[str]:
    spec = part(obj, "spec")
    unset = items(spec, "tokenRequests") and spec.get("serviceAccountTokenInSecrets") is None
    return [_TOKENS_IN_ATTRIBUTES] if unset else []


# What is said when an object is made, and what is said whenever it is written.
_AT_FIRST: dict[str, Advice] = {"ingresses.networking.k8s.io": _ingress, "jobs.batch": _job, "pods": _pod}
_ALWAYS: dict[str, Advice] = {
    "csidrivers.storage.k8s.io": _csi_driver,
    "csistoragecapacities.storage.k8s.io": _storage_capacity,
    "endpoints": _endpoints,
    "endpointslices.discovery.k8s.io": _endpoint_slice,
    "networkpolicies.networking.k8s.io": _network_policy,
    "nodes": _node,
    "persistentvolumeclaims": _claim,
    "persistentvolumes": _volume,
    "runtimeclasses.node.k8s.io": _runtime_class,
    "secrets": _secret,
    "serviceaccounts": _service_account,
    "services": _service,
    "statefulsets.apps": _stateful_set,
    "storageclasses.storage.k8s.io": _storage_class,
}
