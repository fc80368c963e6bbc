"""A node writes what is its own: its Node, its Lease, the pods that run on it.

Source: Kubernetes' ``plugin/pkg/admission/noderestriction``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.x509.oid import NameOID

from apilayer.admission.plugin import CREATE, DELETE, UPDATE, Plugin, on
from apilayer.admission.plugins.certificates import REQUESTS, subject_names
from apilayer.admission.plugins.node_audiences import check_audiences
from apilayer.admission.pods import config_map_names, is_mirror, projections, secret_names
from apilayer.api import status
from apilayer.api.gotext import quote
from apilayer.pipeline.node.identity import node_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from apilayer.admission.plugin import Attributes, Object, Setup

LEASES = "leases.coordination.k8s.io"
CSI_NODES = "csinodes.storage.k8s.io"
SLICES = "resourceslices.resource.k8s.io"
LEASE_NAMESPACE = "kube-node-lease"
RESTRICTED_LABELS = "node-restriction.kubernetes.io"
KUBELET_SIGNERS = ("kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet")
KUBELET_LABELS = frozenset(
    {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "node.kubernetes.io/instance-type",
        "beta.kubernetes.io/instance-type",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
    }
)
KUBELET_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
_CLAIM_STATUS = ("capacity", "conditions", "allocatedResources", "allocatedResourceStatuses")


class NodeRestriction(Plugin):
    """Acts on what nodes write, and on nothing else."""

    name = "NodeRestriction"
    interests = (
        on(
            *("pods", "pods/status", "pods/binding", "pods/eviction", "pods/ephemeralcontainers", "pods/resize"),
            *("nodes", "nodes/status", "persistentvolumeclaims", "persistentvolumeclaims/status"),
            *("serviceaccounts/token", LEASES, CSI_NODES, SLICES, REQUESTS),
            operations=(CREATE, UPDATE, DELETE),
        ),
    )

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._may = setup.may
        self._rules: dict[str, Callable[[str, Attributes], Awaitable[None] | None]] = {
            "pods": self._pod,
            "pods/status": _pod_status,
            "pods/eviction": self._eviction,
            "nodes": _node,
            "nodes/status": _node,
            "persistentvolumeclaims/status": _claim_status,
            "serviceaccounts/token": self._token,
            LEASES: _lease,
            CSI_NODES: _csi_node,
            SLICES: _slice,
            REQUESTS: _request,
        }

    def mutate(self, attributes: Attributes) -> Awaitable[None] | None:
        """Raises StatusError 403 for what is not the node's, 404 for a pod or node that is not there."""
        node = node_of(attributes.user)
        if node is None:
            return None
        if not node:
            raise attributes.forbidden(f"could not determine node from user {quote(attributes.user.name)}")
        rule = self._rules.get(attributes.path)
        if rule is not None:
            return rule(node, attributes)
        if attributes.resource.group_resource == "pods":
            allowed = "only 'status' and 'eviction' are allowed"
            raise attributes.forbidden(f"unexpected pod subresource {quote(attributes.subresource)}, {allowed}")
        raise attributes.forbidden("may only update PVC status")

    def _pod(self, node: str, attributes: Attributes) -> None:
        if attributes.operation == CREATE:
            self._new_pod(node, attributes)
        elif attributes.operation != DELETE:
            what = f"unexpected operation {quote(attributes.operation)}"
            raise attributes.forbidden(f"{what}, node {quote(node)} can only create and delete mirror pods")
        elif not _runs_on(attributes.old or {}, node):
            raise attributes.forbidden(f"node {quote(node)} can only delete pods with spec.nodeName set to itself")

    def _new_pod(self, node: str, attributes: Attributes) -> None:
        pod, me = attributes.new, f"node {quote(node)}"
        spec = pod.get("spec") or {}
        if not is_mirror(pod):
            raise attributes.forbidden(
                f'pod does not have "kubernetes.io/config.mirror" annotation, {me} can only create mirror pods'
            )
        if not _runs_on(pod, node):
            raise attributes.forbidden(f"{me} can only create pods with spec.nodeName set to itself")
        self._check_owner(node, attributes)
        for refers, what in (
            (bool(spec.get("serviceAccountName")), "a service account"),
            (any(True for _ in secret_names(spec)), "secrets"),
            (any(True for _ in config_map_names(spec)), "configmaps"),
            (_any_volume(spec, lambda item: any("clusterTrustBundle" in part for part in projections(item))), _BUNDLES),
            (_any_volume(spec, lambda item: item.get("persistentVolumeClaim") is not None), "persistentvolumeclaims"),
        ):
            if refers:
                raise attributes.forbidden(f"{me} can not create pods that reference {what}")

    def _check_owner(self, node: str, attributes: Attributes) -> None:
        owners, me = attributes.new["metadata"].get("ownerReferences") or [], f"node {quote(node)}"
        if len(owners) > 1:
            raise attributes.forbidden(f"{me} can only create pods with a single owner reference set to itself")
        owner = owners[0] if owners else {}
        if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
            raise attributes.forbidden(f"{me} can only create pods with an owner reference set to itself")
        if not owner.get("controller"):
            raise attributes.forbidden(f"{me} can only create pods with a controller owner reference set to itself")
        if owner.get("blockOwnerDeletion"):
            raise attributes.forbidden(f"{me} must not set blockOwnerDeletion on an owner reference")
        found = self.listers.get("nodes", "", node)
        if found is None:
            raise status.not_found("nodes", "", node)
        uid, given = found["metadata"].get("uid") or "", owner.get("uid") or ""
        if uid != given:
            raise attributes.forbidden(f"node {node} UID mismatch: expected {given} got {uid}")

    def _eviction(self, node: str, attributes: Attributes) -> None:
        pod = self._existing_pod(attributes, attributes.name)
        if not _runs_on(pod, node):
            raise attributes.forbidden(f"node {node} can only evict pods with spec.nodeName set to itself")

    def _token(self, node: str, attributes: Attributes) -> Awaitable[None]:
        """A node asks for tokens of pods that it runs, and for whom these need them."""
        bound = (attributes.new.get("spec") or {}).get("boundObjectRef") or {}
        if bound.get("apiVersion") != "v1" or bound.get("kind") != "Pod" or not bound.get("name"):
            raise attributes.forbidden("node requested token not bound to a pod")
        if not bound.get("uid"):
            raise attributes.forbidden("node requested token with a pod binding without a uid")
        pod = self._existing_pod(attributes, bound["name"])
        if pod["metadata"].get("uid") != bound["uid"]:
            raise attributes.forbidden(
                f"the UID in the bound object reference ({bound['uid']}) does not match the UID in record. "
                "The object might have been deleted and then recreated"
            )
        if not _runs_on(pod, node):
            raise attributes.forbidden("node requested token bound to a pod scheduled on a different node")
        return check_audiences(attributes, pod, self.listers, self._may)

    def _existing_pod(self, attributes: Attributes, name: str) -> Object:
        pod = self.listers.get("pods", attributes.namespace, name)
        if pod is None:
            raise status.not_found("pods", "", name)
        return pod


_BUNDLES = "clustertrustbundles"
_OWN_STATUS = "can only update pod status for pods with spec.nodeName set to itself"


def _any_volume(spec: Object, holds: Callable[[Object], bool]) -> bool:
    return any(holds(volume) for volume in spec.get("volumes") or ())


def _runs_on(pod: Object, node: str) -> bool:
    return bool((pod.get("spec") or {}).get("nodeName") == node)


def _pod_status(node: str, attributes: Attributes) -> None:
    old, new, me = attributes.old or {}, attributes.new, f"node {quote(node)}"
    if not _runs_on(old, node):
        raise attributes.forbidden(f"{me} {_OWN_STATUS}")
    if (old["metadata"].get("labels") or {}) != (new["metadata"].get("labels") or {}):
        raise attributes.forbidden(f"{me} cannot update labels through pod status")
    before, after = old.get("status") or {}, new.get("status") or {}
    if (before.get("resourceClaimStatuses") or []) != (after.get("resourceClaimStatuses") or []):
        raise attributes.forbidden(f"{me} cannot update resource claim statues")


def _claim_status(node: str, attributes: Attributes) -> None:
    """Capacity and conditions, as a node learns them when a volume grows."""
    if _without_claim_status(attributes.new) != _without_claim_status(attributes.old or {}):
        raise attributes.forbidden(
            f"node {quote(node)} is not allowed to update fields other than status.capacity and status.conditions"
        )


def _without_claim_status(claim: Object) -> Object:
    metadata = claim.get("metadata") or {}
    kept = {key: value for key, value in metadata.items() if key not in ("resourceVersion", "managedFields")}
    of_status = {key: value for key, value in (claim.get("status") or {}).items() if key not in _CLAIM_STATUS}
    return {**claim, "metadata": kept, "status": of_status}


def _node(node: str, attributes: Attributes) -> None:
    me = f"node {quote(node)}"
    name = attributes.name or (attributes.obj or {}).get("metadata", {}).get("name") or ""
    if name != node:
        raise attributes.forbidden(f"{me} is not allowed to modify node {quote(name)}")
    if attributes.operation == DELETE:
        return
    new, old = attributes.new, attributes.old or {}
    spec, old_spec = new.get("spec") or {}, old.get("spec") or {}
    changed = _changed_labels(new, old)
    if attributes.operation == CREATE:
        if spec.get("configSource") is not None:
            raise attributes.forbidden(f"{me} is not allowed to create pods with a non-nil configSource")
        if changed:
            raise attributes.forbidden(f"{me} is not allowed to set the following labels: {', '.join(changed)}")
        return
    if spec.get("configSource") not in (None, old_spec.get("configSource")):
        raise attributes.forbidden(f"{me} is not allowed to update configSource to a new non-nil configSource")
    if (spec.get("taints") or []) != (old_spec.get("taints") or []):
        raise attributes.forbidden(f"{me} is not allowed to modify taints")
    if changed:
        raise attributes.forbidden(f"is not allowed to modify labels: {', '.join(changed)}")


def _changed_labels(new: Object, old: Object) -> list[str]:
    """The labels that differ and that no node may set."""
    after, before = ((obj.get("metadata") or {}).get("labels") or {} for obj in (new, old))
    differing = {key for key in after.keys() | before.keys() if after.get(key) != before.get(key)}
    return sorted(key for key in differing if _is_forbidden(key))


def _is_forbidden(label: str) -> bool:
    domain, slash, _ = label.partition("/")
    if not slash:
        return False
    if _within(domain, RESTRICTED_LABELS):
        return True
    if not _within(domain, "kubernetes.io") and not _within(domain, "k8s.io"):
        return False
    return label not in KUBELET_LABELS and not any(_within(domain, known) for known in KUBELET_DOMAINS)


def _within(domain: str, parent: str) -> bool:
    return domain == parent or domain.endswith(f".{parent}")


def _named_as(node: str, attributes: Attributes) -> bool:
    metadata = (attributes.obj or {}).get("metadata") or {}
    return (metadata.get("name") if attributes.operation == CREATE else attributes.name) == node


def _lease(node: str, attributes: Attributes) -> None:
    if attributes.namespace != LEASE_NAMESPACE:
        raise attributes.forbidden(f"can only access leases in the {quote(LEASE_NAMESPACE)} system namespace")
    if not _named_as(node, attributes):
        raise attributes.forbidden("can only access node lease with the same name as the requesting node")


def _csi_node(node: str, attributes: Attributes) -> None:
    if not _named_as(node, attributes):
        raise attributes.forbidden("can only access CSINode with the same name as the requesting node")


def _slice(node: str, attributes: Attributes) -> None:
    """What a node offers. An update cannot change the node of a slice, so that is not looked at."""
    verbs = {CREATE: "create", DELETE: "delete"}
    verb = verbs.get(attributes.operation)
    slice_ = attributes.obj or attributes.old or {}
    if verb is not None and (slice_.get("spec") or {}).get("nodeName") != node:
        raise attributes.forbidden(f"can only {verb} ResourceSlice with the same NodeName as the requesting node")


def _request(node: str, attributes: Attributes) -> None:
    """Certificates of a node are in the name of that node."""
    del node
    spec = (attributes.obj or {}).get("spec") or {}
    if attributes.operation != CREATE or spec.get("signerName") not in KUBELET_SIGNERS:
        return
    try:
        names = subject_names(spec.get("request") or "", NameOID.COMMON_NAME)
    except ValueError as error:
        raise attributes.forbidden(f"unable to parse csr: {error}") from error
    if names != [attributes.user.name]:
        raise attributes.forbidden(f"can only create a node CSR with CN={attributes.user.name}")
