"""The service ``default/kubernetes``: how clients within the cluster find the API servers. Pure.

Each server keeps a Lease that says where it listens; those that were renewed lately are the endpoints.
"""

from __future__ import annotations

from base64 import b32encode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from apilayer.api.services.ranges import IPV4, IPV6, family_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from apilayer.api.services.ranges import IpRange

Object = dict[str, Any]

NAME = "kubernetes"
PORT = 443
IDENTITY_LABEL = "apiserver.kubernetes.io/identity"
ADDRESS_ANNOTATION = "kubernetes.io/peer-advertise-address"
RENEW_SECONDS = 10
LIVE_SECONDS = 30
"""A server whose Lease was not renewed for so long is no endpoint any more."""
LEASE_SECONDS = 3600
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


def is_publishable(address: str) -> bool:
    """Whether others can reach a server at the address: no host name, nothing that means another machine to each."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return not (parsed.is_loopback or parsed.is_unspecified or parsed.is_link_local or parsed.is_multicast)


def service(first: IpRange, target_port: int) -> Object:
    """The Service; its cluster IP is the first of the range."""
    port = {"name": "https", "protocol": "TCP", "port": PORT, "targetPort": target_port}
    return {
        "metadata": {"name": NAME, "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "ports": [port],
            "clusterIP": str(first.first),
            "clusterIPs": [str(first.first)],
            "type": "ClusterIP",
            "sessionAffinity": "None",
            "ipFamilies": [first.family],
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
        },
    }


def lease_name(hostname: str, address: str) -> str:
    """The name of a server's Lease: the same after a restart, another for each server of a machine."""
    digest = sha256(f"{hostname} {address}".encode()).digest()[:16]
    return "apiserver-" + b32encode(digest).decode().rstrip("=").lower()


def lease(hostname: str, address: str, holder: str, now: datetime) -> Object:
    """The Lease of a server at `address` (host:port), renewed now."""
    name = lease_name(hostname, address)
    return {
        "metadata": {
            "name": name,
            "labels": {IDENTITY_LABEL: "kube-apiserver", "kubernetes.io/hostname": hostname},
            "annotations": {ADDRESS_ANNOTATION: address},
        },
        "spec": {
            "holderIdentity": f"{name}_{holder}",
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": now.strftime(_TIME),
        },
    }


def is_expired(obj: Object, now: datetime) -> bool:
    """Whether nobody renews the Lease any more."""
    seconds = (obj.get("spec") or {}).get("leaseDurationSeconds") or LEASE_SECONDS
    return not _renewed_since(obj, now - timedelta(seconds=seconds))


def live(leases: Iterable[Object], now: datetime) -> list[str]:
    """The addresses (no ports) of the servers that are there, in order, each once."""
    found = set()
    for obj in leases:
        annotations = obj["metadata"].get("annotations") or {}
        address = annotations.get(ADDRESS_ANNOTATION, "").rpartition(":")[0].strip("[]")
        if is_publishable(address) and _renewed_since(obj, now - timedelta(seconds=LIVE_SECONDS)):
            found.add(address)
    return sorted(found, key=lambda text: (ip_address(text).version, ip_address(text).packed))


def _renewed_since(obj: Object, when: datetime) -> bool:
    text = (obj.get("spec") or {}).get("renewTime") or ""
    try:
        return datetime.strptime(text, _TIME).replace(tzinfo=UTC) >= when
    except ValueError:
        return False


def endpoints(addresses: Sequence[str], port: int) -> Object:
    """The Endpoints object for the addresses."""
    subset = {
        "addresses": [{"ip": address} for address in addresses],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }
    labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    obj: Object = {"metadata": {"name": NAME, "labels": labels}}
    return {**obj, "subsets": [subset]} if addresses else obj


def endpoint_slice(addresses: Sequence[str], port: int) -> Object:
    """The EndpointSlice for those of the addresses that are of the first one's family."""
    family = family_of(addresses[0]) if addresses else IPV4
    assert family in (IPV4, IPV6)
    chosen = [address for address in addresses if family_of(address) == family]
    return {
        "metadata": {"name": NAME, "labels": {"kubernetes.io/service-name": NAME}},
        "addressType": family,
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in chosen] or None,
        "ports": [{"name": "https", "protocol": "TCP", "port": port}],
    }
