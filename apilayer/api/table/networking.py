"""Cells of services, endpoints, ingresses and their kin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api.table.cells import NONE, UNSET, dig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from apilayer.api.table.cells import Cell

    Obj = Mapping[str, Any]

MAX_SHOWN = 3


def some_of(texts: Sequence[str], shown: int = MAX_SHOWN, separator: str = ",") -> str:
    """The first few of `texts`, and how many more there are."""
    joined = separator.join(texts[:shown])
    return f"{joined} + {len(texts) - shown} more..." if len(texts) > shown else joined


def endpoints(obj: Obj, now: datetime) -> str:
    """Address and port of the first endpoints."""
    del now
    subsets = obj.get("subsets") or ()
    if not subsets:
        return NONE
    found: list[str] = []
    for subset in subsets:
        hosts = [address.get("ip", "") for address in subset.get("addresses") or ()]
        ports = subset.get("ports") or ()
        if not ports:
            found += hosts
        for port in ports:
            found += [f"{_bracketed(host)}:{port.get('port', 0)}" for host in hosts]
    return some_of(found)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def cluster_ip(obj: Obj, now: datetime) -> str:
    """The first cluster IP of a service."""
    del now
    addresses = dig(obj, "spec", "clusterIPs") or [dig(obj, "spec", "clusterIP")]
    return addresses[0] or NONE


def external_ip(obj: Obj, now: datetime) -> str:
    """Where a service is reached from outside."""
    del now
    kind = dig(obj, "spec", "type")
    given = ",".join(dig(obj, "spec", "externalIPs") or ())
    if kind == "ExternalName":
        return dig(obj, "spec", "externalName") or ""
    if kind == "LoadBalancer":
        both = ",".join(filter(None, (_ingress_points(obj), given)))
        return both or "<pending>"
    return given or NONE


def _ingress_points(obj: Obj) -> str:
    points = dig(obj, "status", "loadBalancer", "ingress") or ()
    return ",".join(sorted({point.get("ip") or point.get("hostname") or "" for point in points} - {""}))


def service_ports(obj: Obj, now: datetime) -> str:
    """Ports with protocol, and the node port where there is one."""
    del now
    return ",".join(_port(port) for port in dig(obj, "spec", "ports") or ()) or NONE


def _port(port: Obj) -> str:
    node = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port', 0)}{node}/{port.get('protocol', '')}"


def ingress_hosts(obj: Obj, now: datetime) -> str:
    """The first hosts that an ingress has rules for; ``*`` for any."""
    del now
    hosts = [rule["host"] for rule in dig(obj, "spec", "rules") or () if rule.get("host")]
    return some_of(hosts) or "*"


def ingress_address(obj: Obj, now: datetime) -> str:
    """Addresses of the load balancer of an ingress."""
    del now
    return _ingress_points(obj)


def ingress_ports(obj: Obj, now: datetime) -> str:
    """443 as well where there is TLS."""
    del now
    return "80, 443" if dig(obj, "spec", "tls") else "80"


def ingress_class_parameters(obj: Obj, now: datetime) -> str:
    """Kind, group and name of an ingress class's parameters."""
    del now
    parameters = dig(obj, "spec", "parameters")
    if not parameters:
        return NONE
    group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
    return f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"


def address_parent(obj: Obj, now: datetime) -> str:
    """What an IP address belongs to."""
    del now
    ref = dig(obj, "spec", "parentRef") or {}
    resource = ".".join(filter(None, (ref.get("resource"), ref.get("group"))))
    return "/".join(filter(None, (resource, ref.get("namespace"), ref.get("name"))))


def slice_ports(obj: Obj, now: datetime) -> str:
    """Port numbers of an endpoint slice; ``*`` for any port."""
    del now
    ports = obj.get("ports") or ()
    return some_of([str(port.get("port", "*")) for port in ports]) if ports else UNSET


def slice_endpoints(obj: Obj, now: datetime) -> str:
    """The first addresses of an endpoint slice."""
    del now
    found = [address for endpoint in obj.get("endpoints") or () for address in endpoint.get("addresses") or ()]
    return some_of(found) if found else UNSET


CELLS: dict[str, Cell] = {
    "endpoints": endpoints,
    "cluster_ip": cluster_ip,
    "external_ip": external_ip,
    "service_ports": service_ports,
    "ingress_hosts": ingress_hosts,
    "ingress_address": ingress_address,
    "ingress_ports": ingress_ports,
    "ingress_class_parameters": ingress_class_parameters,
    "address_parent": address_parent,
    "slice_ports": slice_ports,
    "slice_endpoints": slice_endpoints,
}
