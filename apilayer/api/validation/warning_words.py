"""What warnings of several kinds have in common: names of node labels, and how addresses are written."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from apilayer.api import names
from apilayer.api.gotext import quote
from apilayer.api.validation.common import Object, indexed, text

if TYPE_CHECKING:
    from collections.abc import Iterable

_NODE_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
}


def node_label_warnings(keys: Iterable[str], path: str, *, keyed: bool = True) -> list[str]:
    """Texts about labels of nodes that have other names today; where they are `keyed` the path shows the label."""
    return [
        f"{path}[{key}]: {_NODE_LABELS[key]}" if keyed else f"{path}: {key} is {_NODE_LABELS[key]}"
        for key in keys
        if key in _NODE_LABELS
    ]


def node_term_warnings(term: Object, path: str) -> list[str]:
    """The same about the expressions of a term that selects nodes."""
    return [
        warning
        for where, expression in indexed(term, "matchExpressions", path)
        for warning in node_label_warnings([text(expression, "key")], f"{where}.key", keyed=False)
    ]


def address_warnings(path: str, value: str) -> list[str]:
    """A text about a valid address that is not written as it should be."""
    address = names.parse_ip(value)
    if not isinstance(address, ipaddress.IPv6Address):
        return []
    if address.ipv4_mapped is not None:
        return [_non_standard(path, "IP address", value, str(address.ipv4_mapped))]
    return [] if str(address) == value else [_not_canonical(path, "address", value, str(address))]


def range_warnings(path: str, value: str) -> list[str]:
    """Texts about a valid range of addresses that could be meant otherwise, or is not written as it should be."""
    network = names.parse_cidr(value)
    if network is None:
        return []
    address = ipaddress.ip_address(value.partition("/")[0])
    found = []
    if address != network.network_address:
        meant = f"{quote(str(network))} or {quote(f'{address}/{address.max_prefixlen}')}"
        found.append(f"{path}: CIDR value {quote(value)} is ambiguous in this context (should be {meant}?)")
    if isinstance(address, ipaddress.IPv6Address) and not found:
        if address.ipv4_mapped is not None:
            found.append(_non_standard(path, "CIDR value", value, str(network)))
        elif str(network) != value:
            found.append(_not_canonical(path, "CIDR value", value, str(network)))
    return found


def _non_standard(path: str, what: str, value: str, better: str) -> str:
    head = f"{path}: non-standard {what} {quote(value)} will be considered invalid in a future Kubernetes release"
    return f"{head}: use {quote(better)}"


def _not_canonical(path: str, what: str, value: str, better: str) -> str:
    return f"{path}: IPv6 {what} {quote(value)} should be in RFC 5952 canonical format ({quote(better)})"
