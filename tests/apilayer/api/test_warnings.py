"""What is allowed but unwise, one row per text: what is said when an object is made, and when it is changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from apilayer.api.decode import decode_document
from apilayer.api.defaults import apply_defaults
from apilayer.api.encoding import base64text
from apilayer.api.resources import find
from apilayer.api.validation.warnings import create_warnings, update_warnings

C0 = "spec.containers[0]"
NO_POD = "a null labelSelector results in matching no pod"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
ARCH = "beta.kubernetes.io/arch"
OLD_ARCH = 'deprecated since v1.14; use "kubernetes.io/arch" instead'
NEXT_RELEASE = "will be considered invalid in a future Kubernetes release"


def said(plural: str, body: dict[str, Any], group: str = "", *, update: bool = False, **meta: Any) -> list[str]:
    row = find(group, "v1", plural)
    assert row is not None
    obj = decode_document({**body, "metadata": {"name": "a", **meta}}, row).object
    apply_defaults(row, obj)
    return (update_warnings if update else create_warnings)(row, obj)


def pod(container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "c", "image": "i", **(container or {})}], **spec}}


def projected(*sources: dict[str, Any]) -> dict[str, Any]:
    return {"volumes": [{"name": "v", "projected": {"sources": list(sources)}}]}


POD_ROWS: list[tuple[dict[str, Any], list[str]]] = [
    (pod(nodeSelector={ARCH: "a", "x": "y"}), [f"spec.nodeSelector[{ARCH}]: {OLD_ARCH}"]),
    (
        pod(affinity={"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": ARCH, "operator": "Exists"}]}]}}}),
        [f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].key: {ARCH} is {OLD_ARCH}"],
    ),
    (
        pod(affinity={"nodeAffinity": {PREFERRED: [
            {"weight": 1, "preference": {"matchExpressions": [{"key": ARCH, "operator": "Exists"}]}}]}}),
        [f"spec.affinity.nodeAffinity.{PREFERRED}[0].preference.matchExpressions[0].key: {ARCH} is {OLD_ARCH}"],
    ),
    (
        pod(topologySpreadConstraints=[{"maxSkew": 1, "topologyKey": ARCH, "whenUnsatisfiable": "ScheduleAnyway"}]),
        [f"spec.topologySpreadConstraints[0].topologyKey: {ARCH} is {OLD_ARCH}",
         f"spec.topologySpreadConstraints[0].labelSelector: {NO_POD}"],
    ),
    (
        pod(affinity={"podAffinity": {REQUIRED: [{"topologyKey": "x"}]},
                      "podAntiAffinity": {PREFERRED: [{"weight": 1, "podAffinityTerm": {"topologyKey": "x"}}]}}),
        [f"spec.affinity.podAffinity.{REQUIRED}[0].labelSelector: {NO_POD}",
         f"spec.affinity.podAntiAffinity.{PREFERRED}[0].podAffinityTerm.labelSelector: {NO_POD}"],
    ),
    (
        pod(**projected({"serviceAccountToken": {"path": "t"}},
                        {"secret": {"name": "s", "items": [{"key": "k", "path": "t"}]}})),
        ['spec.volumes[0].projected.sources.secrets[0]: has duplicated path with ServiceAccountToken "t"'],
    ),
    (
        pod(hostAliases=[{"ip": "1.2.3.4"}, {"ip": "1.2.3.4"}, {"ip": "::ffff:1.2.3.4"}, {"ip": "1:0::2"}]),
        ['spec.hostAliases[1].ip: duplicate ip "1.2.3.4"',
         f'spec.hostAliases[2].ip: non-standard IP address "::ffff:1.2.3.4" {NEXT_RELEASE}: use "1.2.3.4"',
         'spec.hostAliases[3].ip: IPv6 address "1:0::2" should be in RFC 5952 canonical format ("1::2")'],
    ),
    (pod(imagePullSecrets=[{"name": "a"}, {"name": "a"}]), ['spec.imagePullSecrets[1].name: duplicate name "a"']),
    (
        pod(overhead={"memory": "1500m"}),
        ['spec.overhead[memory]: fractional byte value "1500m" is invalid, must be an integer'],
    ),
    (pod({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}]}), []),
    (
        pod({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)"}]}),
        [f'{C0}.env[1]: hides previous definition of "A", which may be dropped when using apply'],
    ),
    (
        pod({"ports": [{"containerPort": 1, "hostPort": 2}, {"containerPort": 1},
                       {"containerPort": 1, "hostPort": 2, "hostIP": "1.1.1.1"}]}),
        [f"{C0}.ports[1]: overlapping port definition with {C0}.ports[0]",
         f"{C0}.ports[2]: dangerously ambiguous port definition with {C0}.ports[0]",
         f"{C0}.ports[2]: overlapping port definition with {C0}.ports[1]"],
    ),
    (
        pod({"ports": [{"containerPort": 1, "hostIP": "1.1.1.1"}]}),
        [f"{C0}.ports[0]: hostIP set without hostPort: "
         "{Name: HostPort:0 ContainerPort:1 Protocol:TCP HostIP:1.1.1.1}"],
    ),
    (
        pod({"ports": [{"containerPort": 1}]}, initContainers=[{"name": "d", "ports": [{"containerPort": 1}]}]),
        [f"{C0}.ports[0]: duplicate port definition with spec.initContainers[0].ports[0]"],
    ),
    (
        pod(volumes=[{"name": "e", "ephemeral": {"volumeClaimTemplate": {"spec": {
            "resources": {"requests": {"storage": "1500m"}}}}}}]),
        ["spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources.requests[storage]: "
         'fractional byte value "1500m" is invalid, must be an integer'],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("body", "texts"), POD_ROWS)
def test_pods(body: dict[str, Any], texts: list[str]) -> None:
    assert said("pods", body) == texts
    assert said("pods", body, update=True) == [], "pods are advised on when they are made"
    template = {"spec": {"template": body}}
    moved = [text.replace("spec.", "spec.template.spec.", 1).replace("with spec.", "with spec.template.spec.")
             for text in texts]  # fmt: skip
    assert said("deployments", template, "apps") == said("deployments", template, "apps", update=True) == moved


def test_annotations_that_fields_have_replaced() -> None:
    notes = {
        "scheduler.alpha.kubernetes.io/critical-pod": "",
        "seccomp.security.alpha.kubernetes.io/pod": "x",
        "container.seccomp.security.alpha.kubernetes.io/c": "x",
        "container.apparmor.security.beta.kubernetes.io/c": "runtime/default",
    }
    texts = [
        'scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the "priorityClassName" field '
        "instead",
        'seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the "seccompProfile" field instead',
        "container.seccomp.security.alpha.kubernetes.io/c]: non-functional in v1.27+; "
        'use the "seccompProfile" field instead',
    ]
    assert said("pods", pod(), annotations=notes) == [f"metadata.annotations[{text}" for text in texts]
    texts.append(
        "container.apparmor.security.beta.kubernetes.io/c]: deprecated since v1.30; "
        'use the "appArmorProfile" field instead'
    )
    template = {**pod(), "metadata": {"annotations": notes}}
    found = said("deployments", {"spec": {"template": template}}, "apps")
    assert found == [f"spec.template.metadata.annotations[{text}" for text in texts]
    profiled = {"seccompProfile": {"type": "Unconfined"}, "appArmorProfile": {"type": "Unconfined"}}
    template["spec"]["securityContext"] = profiled
    template["spec"]["containers"][0]["securityContext"] = profiled
    found = said("deployments", {"spec": {"template": template}}, "apps")
    assert found == [f"spec.template.metadata.annotations[{texts[0]}"]


BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
KIND_ROWS: list[tuple[str, str, dict[str, Any], dict[str, Any], list[str]]] = [
    ("services", "", {"spec": {"externalIPs": ["1.2.3.4"]}}, {},
     ["spec.externalIPs is deprecated and may no longer be implemented in some clusters"]),
    ("services", "", {"spec": {"clusterIP": "None", "loadBalancerIP": "1.1.1.1", "sessionAffinity": "ClientIP"}}, {},
     ["spec.loadBalancerIP is ignored for headless services", "spec.SessionAffinity is ignored for headless services"]),
    ("services", "", {"spec": {"type": "ExternalName", "externalName": "x", "externalIPs": ["1.2.3.4"]}}, {},
     ['spec.externalIPs is ignored when spec.type is "ExternalName"']),
    ("services", "", {"spec": {"externalName": "x"}}, {},
     ['spec.externalName is ignored when spec.type is not "ExternalName"']),
    ("services", "", {"spec": {"trafficDistribution": "PreferClose"}}, {},
     ['spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"']),
    ("services", "", {"spec": {"loadBalancerSourceRanges": ["1.2.3.4/8", "1:0::/64"]}}, {},
     ['spec.loadBalancerSourceRanges[0]: CIDR value "1.2.3.4/8" is ambiguous in this context '
      '(should be "1.0.0.0/8" or "1.2.3.4/32"?)',
      'spec.loadBalancerSourceRanges[1]: IPv6 CIDR value "1:0::/64" should be in RFC 5952 canonical format '
      '("1::/64")']),
    ("services", "", {}, {"annotations": {"service.kubernetes.io/topology-aware-hints": "auto"}},
     ["annotation service.kubernetes.io/topology-aware-hints is deprecated, "
      "please use service.kubernetes.io/topology-mode instead"]),
    ("endpointslices", "discovery.k8s.io", {"addressType": "FQDN"}, {},
     ["spec.addressType: FQDN endpoints are deprecated"]),
    ("endpointslices", "discovery.k8s.io", {"addressType": "IPv6", "endpoints": [{"addresses": ["1:0::2"]}]}, {},
     ['endpoints[0].addresses[0]: IPv6 address "1:0::2" should be in RFC 5952 canonical format ("1::2")']),
    ("endpoints", "", {"subsets": [{"notReadyAddresses": [{"ip": "1:0::2"}]}]}, {},
     ['subsets[0].notReadyAddresses[0].ip: IPv6 address "1:0::2" should be in RFC 5952 canonical format ("1::2")']),
    ("networkpolicies", "networking.k8s.io",
     {"spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "1.2.3.4/8"}}]}]}}, {},
     ['spec.ingress[0].from[0].ipBlock.cidr: CIDR value "1.2.3.4/8" is ambiguous in this context '
      '(should be "1.0.0.0/8" or "1.2.3.4/32"?)']),
    ("nodes", "", {"spec": {"externalID": "x", "configSource": {}}}, {},
     ["spec.configSource: the feature is removed",
      "spec.externalID: this field is deprecated, and is unused by Kubernetes"]),
    ("serviceaccounts", "", {}, {"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
     ["metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; "
      "prefer separate namespaces to isolate access to mounted secrets"]),
    ("persistentvolumes", "", {"spec": {"rbd": {}, "persistentVolumeReclaimPolicy": "Recycle"}},
     {"annotations": {BETA_CLASS: "x"}},
     [f'metadata.annotations[{BETA_CLASS}]: deprecated since v1.8; use "storageClassName" attribute instead',
      "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. "
      "Instead, the recommended approach is to use dynamic provisioning.",
      "spec.rbd: deprecated in v1.28, non-functional in v1.31+"]),
    ("persistentvolumeclaims", "", {"spec": {"resources": {"limits": {"storage": "1500m"}}}}, {},
     ['spec.resources.limits[storage]: fractional byte value "1500m" is invalid, must be an integer']),
    ("storageclasses", "storage.k8s.io",
     {"allowedTopologies": [{"matchLabelExpressions": [{"key": ARCH, "values": ["x"]}]}]}, {},
     [f"allowedTopologies[0].matchLabelExpressions[0].key: {ARCH} is {OLD_ARCH}"]),
    ("csistoragecapacities", "storage.k8s.io", {"nodeTopology": {"matchLabels": {ARCH: "x"}}}, {},
     [f"nodeTopology.matchLabels[{ARCH}]: {ARCH} is {OLD_ARCH}"]),
    ("runtimeclasses", "node.k8s.io", {"handler": "h", "scheduling": {"nodeSelector": {ARCH: "x"}}}, {},
     [f"scheduling.nodeSelector[{ARCH}]: {OLD_ARCH}"]),
    ("csidrivers", "storage.k8s.io", {"spec": {"tokenRequests": [{"audience": "a"}]}}, {},
     ["spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible "
      "logging of tokens in volume attributes"]),
    ("statefulsets", "apps", {"spec": {"revisionHistoryLimit": -1}}, {},
     ["spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"]),
]  # fmt: skip


@pytest.mark.parametrize(("plural", "group", "body", "meta", "texts"), KIND_ROWS)
def test_other_kinds(plural: str, group: str, body: dict[str, Any], meta: dict[str, Any], texts: list[str]) -> None:
    assert said(plural, body, group, **meta) == texts
    assert said(plural, body, group, update=True, **meta) == texts
    assert said(plural, {}, group) == []


def test_what_is_said_of_new_objects_alone() -> None:
    old_class = {"annotations": {"kubernetes.io/ingress.class": "x"}}
    assert said("ingresses", {}, "networking.k8s.io", **old_class) == [
        "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"
    ]
    assert said("ingresses", {}, "networking.k8s.io", update=True, **old_class) == []
    assert said("ingresses", {"spec": {"ingressClassName": "x"}}, "networking.k8s.io", **old_class) == []
    many = {"spec": {"completionMode": "Indexed", "completions": 100_001, "parallelism": 10_001, "template": pod()}}
    assert [text[:15] for text in said("jobs", many, "batch")] == ["In Indexed Jobs"]
    assert said("jobs", {"spec": {**many["spec"], "parallelism": 10_000}}, "batch") == []


def pair() -> tuple[bytes, bytes]:
    """A certificate that signs itself, and its key, both in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody")])
    start = datetime(2024, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=1))
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), key.private_bytes(*form)


def test_tls_secrets_hold_a_certificate_and_its_key() -> None:
    (certificate, key), (_, other) = pair(), pair()

    def tls(certificate: bytes, key: bytes) -> list[str]:
        data = {"tls.crt": base64text.encode(certificate), "tls.key": base64text.encode(key)}
        return said("secrets", {"type": "kubernetes.io/tls", "data": data})

    assert tls(certificate, key) == []
    assert tls(certificate, other) == ["tls: private key does not match public key"]
    assert tls(b"", key) == ["tls: failed to find any PEM data in certificate input"]
    assert tls(certificate, b"") == ["tls: failed to find any PEM data in key input"]
    assert tls(certificate, b"-----BEGIN PRIVATE KEY-----") == ["tls: failed to parse private key"]
    assert tls(b"-----BEGIN CERTIFICATE-----", key) == ["x509: malformed certificate"]
