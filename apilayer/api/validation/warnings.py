"""What is allowed but unwise: texts for ``Warning`` headers on creation and update.

Source: Kubernetes' ``pkg/api/pod/warnings.go`` and the strategies' WarningsOnCreate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.api import names, quantity
from apilayer.api.gotext import quote
from apilayer.api.validation.common import Object, indexed, items, part, text

if TYPE_CHECKING:
    from apilayer.api.resources import Resource

# Kinds of volume that are going away: field name, name in the text, and what to say.
_DEPRECATED_VOLUMES = (
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
_BYTE_RESOURCES = ("memory", "ephemeral-storage")


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
_HOST_NAME = (
    "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior;"
    " a DNS label is recommended: [{}]"
)


def create_warnings(resource: Resource, obj: Object) -> list[str]:
    """Texts about a valid object, in the order of kube-apiserver; defaults are applied already."""
    kind = resource.group_resource
    if kind == "pods":
        return pod_warnings(part(obj, "spec"), "spec")
    found: list[str] = []
    if kind in _NAMES_PODS:
        wrong = names.namespace_name(text(part(obj, "metadata"), "name"))
        found += [_HOST_NAME.format(" ".join(wrong))] if wrong else []
    if kind in _TEMPLATES:
        template = obj
        for key in _TEMPLATES[kind].split("."):
            template = part(template, key)
        found += pod_warnings(part(template, "spec"), f"{_TEMPLATES[kind]}.spec")
    return found


def pod_warnings(spec: Object, path: str) -> list[str]:
    """Texts about the spec of a pod."""
    found = [
        f"{where}.labelSelector: a null labelSelector results in matching no pod"
        for where, constraint in indexed(spec, "topologySpreadConstraints", path)
        if constraint.get("labelSelector") is None
    ]
    found += _volumes(spec, path)
    found += [
        f'{where}.name: invalid empty name ""'
        for where, secret in indexed(spec, "imagePullSecrets", path)
        if not secret.get("name")
    ]
    for key in ("initContainers", "containers"):
        for where, container in indexed(spec, key, path):
            found += _container(container, where)
    return found


def _volumes(spec: Object, path: str) -> list[str]:
    found: list[str] = []
    for where, volume in indexed(spec, "volumes", path):
        found += [f"{where}.{name}: {why}" for key, name, why in _DEPRECATED_VOLUMES if volume.get(key) is not None]
        projected = volume.get("projected")
        if projected is not None and not any(items(projected, "sources")):
            found.append(f"volume {quote(text(volume, 'name'))} (Projected) has no sources provided")
    return found


def _container(container: Object, path: str) -> list[str]:
    found = _fractional_bytes(container, path)
    seen_names: set[str] = set()
    for where, variable in indexed(container, "env", path):
        name = text(variable, "name")
        if name in seen_names:
            found.append(f"{where}: hides previous definition of {quote(name)}, which may be dropped when using apply")
        seen_names.add(name)
    seen_ports: dict[tuple[object, ...], str] = {}
    for where, port in indexed(container, "ports", path):
        key = (port.get("containerPort"), port.get("protocol"), port.get("hostPort"), port.get("hostIP"))
        if key in seen_ports:
            found.append(f"{where}: duplicate port definition with {seen_ports[key]}")
        else:
            seen_ports[key] = where
    return found


def _fractional_bytes(container: Object, path: str) -> list[str]:
    needs = part(container, "resources")
    return [
        f"{path}.resources.{which}[{name}]: fractional byte value {quote(amount)} is invalid, must be an integer"
        for name in _BYTE_RESOURCES
        for which in ("limits", "requests")
        if (amount := part(needs, which).get(name)) is not None and quantity.parse(amount).amount.denominator != 1
    ]
