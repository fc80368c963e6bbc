"""What the fields of a Service mean for allocation: which type needs what, and what it holds."""

from __future__ import annotations

from typing import Any

import attrs

Object = dict[str, Any]

HEADLESS = "None"
EXTERNAL_NAME = "ExternalName"


def spec_of(service: Object) -> Object:
    """The spec, made when there is none."""
    spec: Object = service.setdefault("spec", {})
    return spec


def type_of(spec: Object) -> str:
    """The type, with its default."""
    return spec.get("type") or "ClusterIP"


def is_headless(spec: Object) -> bool:
    """Whether the service wants no cluster IP."""
    return spec.get("clusterIP") == HEADLESS or (spec.get("clusterIPs") or [""])[0] == HEADLESS


def needs_cluster_ip(spec: Object) -> bool:
    """Whether services of the type have cluster IPs (or none on purpose)."""
    return type_of(spec) != EXTERNAL_NAME


def needs_node_ports(spec: Object) -> bool:
    """Whether each port is to have a node port."""
    kind = type_of(spec)
    return kind == "NodePort" or (kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False)


def may_have_node_ports(spec: Object) -> bool:
    """Whether node ports that are asked for are given."""
    return type_of(spec) in ("NodePort", "LoadBalancer")


def needs_health_port(spec: Object) -> bool:
    """Whether a port is needed on which nodes say if they have endpoints."""
    return type_of(spec) == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def node_ports(spec: Object) -> list[int]:
    """The node ports of the spec, in order, health check not included."""
    return [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]


@attrs.frozen
class Claims:
    """What belongs to one service alone."""

    ips: frozenset[str] = frozenset()
    ports: frozenset[int] = frozenset()

    def __sub__(self, other: Claims) -> Claims:
        return Claims(self.ips - other.ips, self.ports - other.ports)

    def __bool__(self) -> bool:
        return bool(self.ips or self.ports)


def claims_of(service: Object | None) -> Claims:
    """What the service holds."""
    spec = (service or {}).get("spec") or {}
    ips: set[str] = set()
    ports: set[int] = set()
    if service is not None and needs_cluster_ip(spec) and not is_headless(spec):
        ips = {ip for ip in spec.get("clusterIPs") or () if ip}
    if may_have_node_ports(spec):
        ports = set(node_ports(spec))
        if needs_health_port(spec) and spec.get("healthCheckNodePort"):
            ports.add(spec["healthCheckNodePort"])
    return Claims(frozenset(ips), frozenset(ports))
