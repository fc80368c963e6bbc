"""What each node reaches: by the pods that run on it, by volumes that claims of these are bound to, and what names it.

Kept as counts of what pods refer to, by node, so that a question is a lookup and a change costs what it touches. Pure.

Source: Kubernetes' ``plugin/pkg/auth/authorizer/node/graph.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.admission.pods import config_map_names, is_mirror, secret_names

if TYPE_CHECKING:
    from collections.abc import Iterator

Object = dict[str, Any]

Ref = tuple[str, str, str]
"""Qualified resource, namespace and name."""

PODS = "pods"
VOLUMES = "persistentvolumes"
CLAIMS = "persistentvolumeclaims"
SECRETS = "secrets"
CONFIG_MAPS = "configmaps"
ACCOUNTS = "serviceaccounts"
RESOURCE_CLAIMS = "resourceclaims.resource.k8s.io"
ATTACHMENTS = "volumeattachments.storage.k8s.io"
SLICES = "resourceslices.resource.k8s.io"
FOLLOWED = (PODS, VOLUMES, ATTACHMENTS, SLICES)
"""The resources whose objects make the graph."""


class NodeGraph:
    """Fed with every object of the resources in `FOLLOWED`, by its path (``namespace/name``, or ``name``)."""

    def __init__(self) -> None:
        self._reach: dict[str, dict[Ref, int]] = {}
        self._pods: dict[str, tuple[str, tuple[Ref, ...]]] = {}
        self._claim_of: dict[str, Ref] = {}
        self._secrets_of: dict[str, tuple[Ref, ...]] = {}
        self._volumes_by_secret: dict[Ref, dict[str, None]] = {}
        self._node_of: dict[Ref, str] = {}

    def reaches(self, node: str, ref: Ref) -> bool:
        """Whether there is a way from the object to the node."""
        reach = self._reach.get(node, {})
        if ref in reach or self._node_of.get(ref) == node:
            return True
        if ref[0] == VOLUMES:
            return self._claim_of.get(ref[2]) in reach
        return any(self._claim_of[volume] in reach for volume in self._volumes_by_secret.get(ref, ()))

    def forget(self, resource: str) -> None:
        """Drops every object of one resource."""
        if resource == PODS:
            self._reach.clear()
            self._pods.clear()
        elif resource == VOLUMES:
            for index in (self._claim_of, self._secrets_of, self._volumes_by_secret):
                index.clear()
        else:
            self._node_of = {ref: node for ref, node in self._node_of.items() if ref[0] != resource}

    def put(self, resource: str, path: str, obj: Object | None) -> None:
        """Takes in the present state of one object, None when it is gone."""
        if resource == PODS:
            self._put_pod(path, obj)
        elif resource == VOLUMES:
            self._put_volume(path, obj)
        else:
            node = ((obj or {}).get("spec") or {}).get("nodeName")
            ref = resource, "", path
            if node:
                self._node_of[ref] = node
            else:
                self._node_of.pop(ref, None)

    def _put_pod(self, path: str, pod: Object | None) -> None:
        node, refs = self._pods.pop(path, ("", ()))
        reach = self._reach.get(node, {})
        for ref in refs:
            reach[ref] -= 1
            if not reach[ref]:
                del reach[ref]
        if node and not reach:
            del self._reach[node]
        node = ((pod or {}).get("spec") or {}).get("nodeName") or ""
        if pod is None or not node:
            return
        refs = tuple(dict.fromkeys(_refs(pod)))
        self._pods[path] = node, refs
        reach = self._reach.setdefault(node, {})
        for ref in refs:
            reach[ref] = reach.get(ref, 0) + 1

    def _put_volume(self, name: str, volume: Object | None) -> None:
        for secret in self._secrets_of.pop(name, ()):
            known = self._volumes_by_secret[secret]
            del known[name]
            if not known:
                del self._volumes_by_secret[secret]
        self._claim_of.pop(name, None)
        spec = (volume or {}).get("spec") or {}
        claim = spec.get("claimRef")
        if not claim:
            return
        namespace = claim.get("namespace") or ""
        self._claim_of[name] = CLAIMS, namespace, claim.get("name") or ""
        secrets = tuple(dict.fromkeys((SECRETS, *found) for found in _volume_secrets(spec, namespace)))
        self._secrets_of[name] = secrets
        for secret in secrets:
            self._volumes_by_secret.setdefault(secret, {})[name] = None


def _refs(pod: Object) -> Iterator[Ref]:
    """What the node of a pod reaches by it. What only shows what a node runs by itself gives the node nothing."""
    metadata, spec = pod["metadata"], pod["spec"]
    namespace = metadata.get("namespace") or ""
    yield PODS, namespace, metadata["name"]
    if is_mirror(pod):
        return
    if spec.get("serviceAccountName"):
        yield ACCOUNTS, namespace, spec["serviceAccountName"]
    for name in secret_names(spec):
        yield SECRETS, namespace, name
    for name in config_map_names(spec):
        yield CONFIG_MAPS, namespace, name
    for volume in spec.get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            yield CLAIMS, namespace, volume["persistentVolumeClaim"].get("claimName") or ""
        elif volume.get("ephemeral") is not None:
            yield CLAIMS, namespace, f"{metadata['name']}-{volume['name']}"
    for name in _resource_claims(pod):
        yield RESOURCE_CLAIMS, namespace, name


def _resource_claims(pod: Object) -> Iterator[str]:
    """The claims that exist for a pod: those named in its spec, and those made of templates, as its status says."""
    status = pod.get("status") or {}
    made = {item.get("name"): item.get("resourceClaimName") for item in status.get("resourceClaimStatuses") or ()}
    for claim in pod["spec"].get("resourceClaims") or ():
        name = claim.get("resourceClaimName") or made.get(claim.get("name"))
        if name:
            yield name
    extended = (status.get("extendedResourceClaimStatus") or {}).get("resourceClaimName")
    if extended:
        yield extended


_OF_CLAIM = ("cephfs", "flexVolume", "iscsi", "rbd", "scaleIO")
"""Whose secrets are in the namespace of the claim unless they say otherwise."""
_SECRET_FIELDS = (
    *((kind, "secretRef") for kind in (*_OF_CLAIM, "cinder", "storageos")),
    *(("csi", field) for field in ("nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef")),
)
"""What a node needs; secrets for the controller of a driver are none of its business."""


def _volume_secrets(spec: Object, claim_namespace: str) -> Iterator[tuple[str, str]]:
    """Namespace and name of the secrets that a node needs for a volume."""
    azure = spec.get("azureFile")
    if azure and azure.get("secretName"):
        yield azure.get("secretNamespace") or claim_namespace, azure["secretName"]
    for kind, field in _SECRET_FIELDS:
        reference = (spec.get(kind) or {}).get(field) or {}
        if reference.get("name"):
            default = claim_namespace if kind in _OF_CLAIM else ""
            yield reference.get("namespace") or default, reference["name"]
