"""What is allowed but unwise in a pod or a pod template.

Source: Kubernetes' ``pkg/api/pod/warnings.go``; the texts come in its order.
"""

from __future__ import annotations

from typing import Any

from apilayer.api import quantity
from apilayer.api.gotext import quote
from apilayer.api.validation.common import Object, child, indexed, items, part, text
from apilayer.api.validation.faultless import Faultless
from apilayer.api.validation.pod_annotations import (
    APP_ARMOR_CONTAINER,
    SECCOMP_CONTAINER,
    SECCOMP_POD,
    containers_of,
)
from apilayer.api.validation.warning_words import address_warnings, node_label_warnings, node_term_warnings

# Kinds of volume that are going away: field name, name in the text, and what to say.
DEPRECATED_VOLUMES = (
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
)
_DEPRECATED_ANNOTATIONS = (
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        'non-functional in v1.16+; use the "priorityClassName" field instead',
    ),
    ("security.alpha.kubernetes.io/sysctls", 'non-functional in v1.11+; use the "sysctls" field instead'),
    ("security.alpha.kubernetes.io/unsafe-sysctls", 'non-functional in v1.11+; use the "sysctls" field instead'),
)
_USE_SECCOMP = 'non-functional in v1.27+; use the "seccompProfile" field instead'
_USE_APP_ARMOR = 'deprecated since v1.30; use the "appArmorProfile" field instead'
_BYTE_RESOURCES = ("memory", "ephemeral-storage")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_SAME_PATH = "has duplicated path with ServiceAccountToken"
_NULL_SELECTOR = "a null labelSelector results in matching no pod"


_SEEN: Faultless[str] = Faultless()


def pod_warnings(holder: Object, path: str = "") -> list[str]:
    """Texts about a pod (`path` "") or the pod template at `path`."""
    spec, annotations = part(holder, "spec"), part(part(holder, "metadata"), "annotations")
    return _SEEN.findings((path, annotations, spec), lambda: _pod_warnings(spec, annotations, path))


def _pod_warnings(spec: Object, annotations: Object, path: str) -> list[str]:
    where = child(path, "spec")
    notes = child(path, "metadata.annotations")
    found = _placement(spec, where)
    found += [f"{notes}[{key}]: {why}" for key, why in _DEPRECATED_ANNOTATIONS if key in annotations]
    if spec.get("volumes"):
        found += _volumes(spec, where) + _token_path_conflicts(spec, where)
    found += _repeated(spec, "hostAliases", "ip", where)
    found += _repeated(spec, "imagePullSecrets", "name", where)
    found += [
        f'{at}.name: invalid empty name ""'
        for at, secret in indexed(spec, "imagePullSecrets", where)
        if not secret.get("name")
    ]
    found += fractional_bytes(part(spec, "overhead"), f"{where}.overhead", _BYTE_RESOURCES)
    context = part(spec, "securityContext")
    if context.get("seccompProfile") is None and SECCOMP_POD in annotations:
        found.append(f"{notes}[{SECCOMP_POD}]: {_USE_SECCOMP}")
    for at, container in containers_of(spec, where):
        if annotations:
            found += _profile_annotations(container, context, annotations, notes, in_template=bool(path))
        found += _container(container, at)
    found += _ports(spec, where)
    if spec.get("affinity"):
        found += _affinity_selectors(spec["affinity"], f"{where}.affinity")
    return found + _addresses(spec, where)


def _placement(spec: Object, path: str) -> list[str]:
    """Labels of nodes that go by another name today, and constraints that are about no pod."""
    found = node_label_warnings(part(spec, "nodeSelector"), f"{path}.nodeSelector")
    affinity = part(part(spec, "affinity"), "nodeAffinity")
    if affinity:
        where = f"{path}.affinity.nodeAffinity"
        for at, term in indexed(part(affinity, _REQUIRED), "nodeSelectorTerms", f"{where}.{_REQUIRED}"):
            found += node_term_warnings(term, at)
        for at, term in indexed(affinity, _PREFERRED, where):
            found += node_term_warnings(part(term, "preference"), f"{at}.preference")
    for at, constraint in indexed(spec, "topologySpreadConstraints", path):
        key = text(constraint, "topologyKey")
        found += node_label_warnings([key], f"{at}.topologyKey", keyed=False)
        if constraint.get("labelSelector") is None:
            found.append(f"{at}.labelSelector: {_NULL_SELECTOR}")
    return found


def _volumes(spec: Object, path: str) -> list[str]:
    found: list[str] = []
    for where, volume in indexed(spec, "volumes", path):
        found += [f"{where}.{name}: {why}" for key, name, why in DEPRECATED_VOLUMES if volume.get(key) is not None]
        template = part(part(volume, "ephemeral"), "volumeClaimTemplate")
        found += claim_warnings(part(template, "spec"), f"{where}.ephemeral.volumeClaimTemplate.spec")
        projected = volume.get("projected")
        if projected is not None and not any(items(projected, "sources")):
            found.append(f"volume {quote(text(volume, 'name'))} (Projected) has no sources provided")
    return found


def claim_warnings(spec: Object, path: str) -> list[str]:
    """Texts about the spec of a claim: its sizes are whole bytes."""
    needs = part(spec, "resources")
    return [
        warning
        for which in ("requests", "limits")
        for warning in fractional_bytes(part(needs, which), f"{path}.resources.{which}", ("storage",))
    ]


def fractional_bytes(amounts: Object, path: str, resources: tuple[str, ...]) -> list[str]:
    """Texts about amounts of `resources` that are no whole number of bytes."""
    return [
        f"{path}[{name}]: fractional byte value {quote(amounts[name])} is invalid, must be an integer"
        for name in resources
        if name in amounts and quantity.parse(amounts[name]).amount.denominator != 1
    ]


# The parts of a projected volume that bring files: field, name in the text.
_FILES = (("configMap", "configMap"), ("secret", "secrets"), ("downwardAPI", "downwardAPI"))


def _token_path_conflicts(spec: Object, path: str) -> list[str]:
    sources = [
        (where, source)
        for where, volume in indexed(spec, "volumes", path)
        for source in items(part(volume, "projected"), "sources")
    ]
    taken = {text(source["serviceAccountToken"], "path") for _, source in sources if source.get("serviceAccountToken")}
    return [
        f"{where}.projected.sources.{shown}[{index}]: {_SAME_PATH} {quote(item['path'])}"
        for where, source in sources
        for key, shown in _FILES
        for index, item in enumerate(items(part(source, key), "items"))
        if item.get("path") in taken
    ]


def _repeated(spec: Object, key: str, by: str, path: str) -> list[str]:
    seen: set[str] = set()
    found = []
    for where, item in indexed(spec, key, path):
        value = text(item, by)
        if value in seen:
            found.append(f"{where}.{by}: duplicate {by} {quote(value)}")
        seen.add(value)
    return found


def _profile_annotations(
    container: Object, pod_context: Object, annotations: Object, path: str, *, in_template: bool
) -> list[str]:
    """Annotations that say what fields say today."""
    context, name = part(container, "securityContext"), text(container, "name")
    found = []
    key = SECCOMP_CONTAINER + name
    if context.get("seccompProfile") is None and key in annotations:
        found.append(f"{path}[{key}]: {_USE_SECCOMP}")
    key = APP_ARMOR_CONTAINER + name
    has_profile = any(holder.get("appArmorProfile") is not None for holder in (context, pod_context))
    if in_template and not has_profile and key in annotations:
        found.append(f"{path}[{key}]: {_USE_APP_ARMOR}")
    return found


def _container(container: Object, path: str) -> list[str]:
    needs = part(container, "resources")
    found = [
        warning
        for name in _BYTE_RESOURCES
        for which in ("limits", "requests")
        for warning in fractional_bytes(part(needs, which), f"{path}.resources.{which}", (name,))
    ]
    seen: set[str] = set()
    for where, variable in indexed(container, "env", path):
        name, value = text(variable, "name"), text(variable, "value")
        builds_on_it = f"$({name})" in value and value != f"$({name})" and variable.get("valueFrom") is None
        if name in seen and not builds_on_it:
            found.append(f"{where}: hides previous definition of {quote(name)}, which may be dropped when using apply")
        seen.add(name)
    return found


def _ports(spec: Object, path: str) -> list[str]:
    """Ports of all containers together: the same one twice, and host ports that may get into each other's way."""
    found = []
    known: dict[tuple[Any, Any], list[tuple[str, Object]]] = {}
    for where, container in containers_of(spec, path):
        for at, port in indexed(container, "ports", where):
            if port.get("hostIP") and not port.get("hostPort"):
                found.append(f"{at}: hostIP set without hostPort: {_shown(port)}")
            others = known.setdefault((port.get("containerPort"), port.get("protocol")), [])
            found += [f"{at}: {how} with {other_at}" for other_at, other in others if (how := _clash(port, other))]
            others.append((at, port))
    return found


def _clash(port: Object, other: Object) -> str:
    address, other_address = text(port, "hostIP"), text(other, "hostIP")
    host, other_host = port.get("hostPort", 0), other.get("hostPort", 0)
    if (address, host) == (other_address, other_host):
        return "duplicate port definition"
    if not host or not other_host:
        return "overlapping port definition"
    if host == other_host and bool(address) != bool(other_address):
        return "dangerously ambiguous port definition"
    return ""


def _shown(port: Object) -> str:
    """A port as Go's ``%+v`` prints the internal struct."""
    return (
        f"{{Name:{text(port, 'name')} HostPort:{port.get('hostPort', 0)} ContainerPort:{port.get('containerPort', 0)}"
        f" Protocol:{text(port, 'protocol')} HostIP:{text(port, 'hostIP')}}}"
    )


def _affinity_selectors(affinity: Object, path: str) -> list[str]:
    found = []
    for key in ("podAffinity", "podAntiAffinity"):
        terms = part(affinity, key)
        for where, term in indexed(terms, _REQUIRED, f"{path}.{key}"):
            if term.get("labelSelector") is None:
                found.append(f"{where}.labelSelector: {_NULL_SELECTOR}")
        for where, weighted in indexed(terms, _PREFERRED, f"{path}.{key}"):
            if part(weighted, "podAffinityTerm").get("labelSelector") is None:
                found.append(f"{where}.podAffinityTerm.labelSelector: {_NULL_SELECTOR}")
    return found


def _addresses(spec: Object, path: str) -> list[str]:
    config = part(spec, "dnsConfig")
    found = [(where, server) for where, server in indexed(config, "nameservers", f"{path}.dnsConfig")]
    found += [(f"{where}.ip", text(alias, "ip")) for where, alias in indexed(spec, "hostAliases", path)]
    return [warning for where, address in found for warning in address_warnings(where, address)]
