"""What is filled in for services, endpoints, ingresses and network policies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apilayer.api.defaults.tables import Rule

Object = dict[str, Any]

_AFFINITY_SECONDS = 3 * 60 * 60
_INSIDE = ("ClusterIP", "LoadBalancer", "NodePort")


def _service(spec: Object) -> None:
    affinity = spec["sessionAffinity"] = spec.get("sessionAffinity") or "None"
    if affinity == "None":
        spec.pop("sessionAffinityConfig", None)
    elif affinity == "ClientIP":
        config = spec.setdefault("sessionAffinityConfig", {})
        config.setdefault("clientIP", {}).setdefault("timeoutSeconds", _AFFINITY_SECONDS)
    kind = spec["type"] = spec.get("type") or "ClusterIP"
    if kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and spec.get("externalIPs")):
        spec["externalTrafficPolicy"] = spec.get("externalTrafficPolicy") or "Cluster"
    if kind in _INSIDE:
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def _service_port(port: Object) -> None:
    if not port.get("targetPort"):
        port["targetPort"] = port.get("port", 0)


def _balancer_address(ingress: Object) -> None:
    if ingress.get("ip"):
        ingress.setdefault("ipMode", "VIP")


def _network_policy(spec: Object) -> None:
    """A policy is about what comes in, and about what goes out when it says something about that."""
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


RULES: dict[str, tuple[Rule, ...]] = {
    "core/v1.LoadBalancerIngress": (_balancer_address,),
    "core/v1.ServicePort": (_service_port,),
    "core/v1.ServiceSpec": (_service,),
    "networking.k8s.io/v1.NetworkPolicySpec": (_network_policy,),
}

CONSTANTS: dict[str, dict[str, Any]] = {
    "core/v1.EndpointPort": {"protocol": "TCP"},
    "core/v1.ServicePort": {"protocol": "TCP"},
    "discovery.k8s.io/v1.EndpointPort": {"name": "", "protocol": "TCP"},
    "networking.k8s.io/v1.IngressClassParametersReference": {"scope": "Cluster"},
    "networking.k8s.io/v1.NetworkPolicyPort": {"protocol": "TCP"},
}

DISABLED: dict[str, tuple[str, ...]] = {}
