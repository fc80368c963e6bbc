"""What plugins look at in pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Object = dict[str, Any]

MIRROR = "kubernetes.io/config.mirror"
"""The annotation of pods that a node made from a file of its own."""
CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")


def spec_of(obj: Object) -> Object:
    """The spec, to be changed; made where there is none."""
    spec: Object = obj.setdefault("spec", {})
    return spec


def containers(spec: Object, *lists: str) -> Iterator[Object]:
    """The containers of `lists` (of all three by default), init containers first, as they run."""
    for name in lists or CONTAINER_LISTS:
        yield from spec.get(name) or ()


def is_mirror(pod: Object) -> bool:
    """Whether the pod only shows what a node runs by itself."""
    return MIRROR in (pod["metadata"].get("annotations") or {})


def secret_names(spec: Object) -> Iterator[str]:
    """The secrets that a pod refers to: to pull images, in the environment, in volumes."""
    for reference in spec.get("imagePullSecrets") or ():
        yield reference.get("name") or ""
    yield from _environment_names(spec, "secretRef", "secretKeyRef")
    for volume in spec.get("volumes") or ():
        yield from _volume_secrets(volume)


def config_map_names(spec: Object) -> Iterator[str]:
    """The config maps that a pod refers to, in the environment and in volumes."""
    yield from _environment_names(spec, "configMapRef", "configMapKeyRef")
    for volume in spec.get("volumes") or ():
        if volume.get("configMap"):
            yield volume["configMap"].get("name") or ""
        for source in projections(volume):
            if source.get("configMap"):
                yield source["configMap"].get("name") or ""


def projections(volume: Object) -> list[Object]:
    """The sources of a projected volume, none for other volumes."""
    return (volume.get("projected") or {}).get("sources") or []


def _environment_names(spec: Object, whole: str, key: str) -> Iterator[str]:
    for container in containers(spec):
        for source in container.get("envFrom") or ():
            if source.get(whole):
                yield source[whole].get("name") or ""
        for variable in container.get("env") or ():
            reference = (variable.get("valueFrom") or {}).get(key)
            if reference:
                yield reference.get("name") or ""


_NAMED_BY = {"secret": "secretName", "azureFile": "secretName"}
_REFERRING = {
    "cephfs": "secretRef",
    "cinder": "secretRef",
    "csi": "nodePublishSecretRef",
    "flexVolume": "secretRef",
    "iscsi": "secretRef",
    "rbd": "secretRef",
    "scaleIO": "secretRef",
    "storageos": "secretRef",
}


def _volume_secrets(volume: Object) -> Iterator[str]:
    for kind, field in _NAMED_BY.items():
        if volume.get(kind):
            yield volume[kind].get(field) or ""
    for kind, field in _REFERRING.items():
        reference = (volume.get(kind) or {}).get(field)
        if reference:
            yield reference.get("name") or ""
    for source in projections(volume):
        if source.get("secret"):
            yield source["secret"].get("name") or ""
