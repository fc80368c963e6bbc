"""What a node may do: read what belongs to its pods, keep what is its own, and what `system:node` gives to all nodes.

Source: Kubernetes' ``plugin/pkg/auth/authorizer/node/node_authorizer.go``, with its messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from apilayer.api.gotext import quote
from apilayer.pipeline.authorization import NO_OPINION, Rules, Verdict
from apilayer.pipeline.node import graph
from apilayer.pipeline.node.identity import USER_PREFIX, node_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from apilayer.pipeline.authentication import User
    from apilayer.pipeline.rbac import Rule
    from apilayer.pipeline.request_info import RequestInfo

NODES = "nodes"
LEASES = "leases.coordination.k8s.io"
CSI_NODES = "csinodes.storage.k8s.io"
LEASE_NAMESPACE = "kube-node-lease"
_OWN_VERBS = ("get", "create", "update", "patch", "delete")

ALLOWED = Verdict(True)


class GraphSource(Protocol):
    """What nodes reach, as the cluster is now."""

    def current(self) -> graph.NodeGraph:
        """The graph, brought up to date."""


class NodeAuthorizer:
    """`apilayer.pipeline.authorization.Authorizer` of nodes; of others it knows nothing."""

    def __init__(self, source: GraphSource, rules: Callable[[], Sequence[Rule]]) -> None:
        """`rules` hold for every node; they are asked for when there is one."""
        self._source = source
        self._general = rules
        self._special: dict[str, Callable[[str, RequestInfo], Verdict]] = {
            graph.SECRETS: self._read,
            graph.CONFIG_MAPS: self._read,
            graph.CLAIMS: self._claim,
            graph.VOLUMES: self._get,
            graph.RESOURCE_CLAIMS: self._get,
            graph.ATTACHMENTS: self._get,
            graph.ACCOUNTS: self._account,
            graph.SLICES: self._slice,
            graph.PODS: self._pod,
            LEASES: _lease,
            CSI_NODES: _csi_node,
            NODES: _node,
        }

    def decide(self, user: User, info: RequestInfo) -> Verdict:
        """See `Authorizer.decide`."""
        if not user.name.startswith(USER_PREFIX):
            return NO_OPINION  # as to nearly everybody
        node = node_of(user)
        if node is None:
            return NO_OPINION
        if not node:
            return Verdict(False, f"unknown node for user {quote(user.name)}")
        if info.is_resource:
            special = self._special.get(_resource(info))
            if special is not None:
                return special(node, info)
        return ALLOWED if any(rule.allows(info) for rule in self._general()) else NO_OPINION

    def rules(self, user: User, namespace: str) -> Rules:
        """See `Authorizer.rules`."""
        del namespace
        if node_of(user) is None:
            return Rules()
        return Rules(error="node authorizer does not support user rule resolution")

    def _related(self, node: str, info: RequestInfo) -> Verdict:
        if not info.name:
            return Verdict(False, "No Object name found")
        return self._reaches(node, info)

    def _reaches(self, node: str, info: RequestInfo) -> Verdict:
        if self._source.current().reaches(node, (_resource(info), info.namespace, info.name)):
            return ALLOWED
        return Verdict(False, f"no relationship found between node '{node}' and this object")

    def _get(self, node: str, info: RequestInfo) -> Verdict:
        if info.verb != "get":
            return Verdict(False, "can only get individual resources of this type")
        if info.subresource:
            return Verdict(False, "cannot get subresource")
        return self._related(node, info)

    def _read(self, node: str, info: RequestInfo) -> Verdict:
        if info.verb not in ("get", "list", "watch"):
            return Verdict(False, "can only read resources of this type")
        if info.subresource:
            return Verdict(False, "cannot read subresource")
        if not info.namespace:
            return Verdict(False, "can only read namespaced object of this type")
        return self._related(node, info)

    def _claim(self, node: str, info: RequestInfo) -> Verdict:
        if info.subresource != "status":
            return self._get(node, info)
        if info.verb not in ("update", "patch"):
            return Verdict(False, "can only get/update/patch this type")
        return self._related(node, info)

    def _account(self, node: str, info: RequestInfo) -> Verdict:
        """A node pulls images in the name of the accounts of its pods, so it reads these and asks for their tokens."""
        if info.verb == "get" and not info.subresource:
            return self._read(node, info)
        if info.verb != "create" or not info.name:
            return Verdict(False, "can only create tokens for individual service accounts")
        if info.subresource != "token":
            return Verdict(False, "can only create token subresource of serviceaccount")
        return self._reaches(node, info)

    def _slice(self, node: str, info: RequestInfo) -> Verdict:
        """Creations are looked at by NodeRestriction, which knows what is created."""
        if info.subresource:
            return Verdict(False, "cannot authorize ResourceSlice subresources")
        if info.verb == "create":
            return ALLOWED
        if info.verb in ("get", "update", "patch", "delete"):
            return self._related(node, info)
        if info.verb in ("watch", "list", "deletecollection"):
            if _asks_for(info, "nodeName", node):
                return ALLOWED
            return Verdict(False, "can only list/watch/deletecollection resourceslices with nodeName field selector")
        verbs = "get, watch, list, create, update, patch, delete, deletecollection"
        return Verdict(False, f"only the following verbs are allowed for a ResourceSlice: {verbs}")

    def _pod(self, node: str, info: RequestInfo) -> Verdict:
        """Writes are looked at by NodeRestriction, which knows the pod."""
        if info.subresource or info.verb in ("create", "delete"):
            return ALLOWED if (info.subresource, info.verb) in _POD_WRITES else NO_OPINION
        if info.verb == "get":
            return self._get(node, info)
        if info.verb not in ("list", "watch"):
            return NO_OPINION
        if _asks_for(info, "spec.nodeName", node):
            return ALLOWED
        if info.name:
            return self._related(node, info)
        return Verdict(False, "can only list/watch pods with spec.nodeName field selector")


_POD_WRITES = frozenset(
    {("", "create"), ("", "delete"), ("status", "update"), ("status", "patch"), ("eviction", "create")}
)


def _resource(info: RequestInfo) -> str:
    return f"{info.resource}.{info.group}" if info.group else info.resource


def _asks_for(info: RequestInfo, field: str, value: str) -> bool:
    return any(term.label == field and term.value == value and not term.negated for term in info.fields)


def _lease(node: str, info: RequestInfo) -> Verdict:
    """The name of what is created is looked at by NodeRestriction."""
    if info.verb not in _OWN_VERBS:
        return Verdict(False, "can only get, create, update, patch, or delete a node lease")
    if info.namespace != LEASE_NAMESPACE:
        return Verdict(False, f'can only access leases in the "{LEASE_NAMESPACE}" system namespace')
    if info.verb != "create" and info.name != node:
        return Verdict(False, "can only access node lease with the same name as the requesting node")
    return ALLOWED


def _csi_node(node: str, info: RequestInfo) -> Verdict:
    """The name of what is created is looked at by NodeRestriction."""
    if info.verb not in _OWN_VERBS:
        return Verdict(False, "can only get, create, update, patch, or delete a CSINode")
    if info.subresource:
        return Verdict(False, "cannot authorize CSINode subresources")
    if info.verb != "create" and info.name != node:
        return Verdict(False, "can only access CSINode with the same name as the requesting node")
    return ALLOWED


def _node(node: str, info: RequestInfo) -> Verdict:
    """Writes are looked at by NodeRestriction."""
    if info.subresource == "status":
        return ALLOWED if info.verb in ("update", "patch") else NO_OPINION
    if info.subresource:
        return NO_OPINION
    if info.verb in ("create", "update", "patch"):
        return ALLOWED
    if info.verb not in ("get", "list", "watch"):
        return NO_OPINION
    if info.name == node:
        return ALLOWED
    if not info.name:
        return Verdict(False, f"node '{node}' cannot read all nodes, only its own Node object")
    return Verdict(False, f"node '{node}' cannot read '{info.name}', only its own Node object")
