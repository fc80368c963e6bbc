"""Rules for Endpoints and EndpointSlices."""

from __future__ import annotations

from apilayer.api import field, names
from apilayer.api.validation.addresses import endpoint_ip
from apilayer.api.validation.common import Errors, Object, indexed, items, named, ranged, text
from apilayer.api.validation.vocabulary import (
    at_most_items,
    each,
    every,
    fixed,
    given,
    given_name,
    name,
    required_one_of,
    rules,
)

_PROTOCOLS = ("SCTP", "TCP", "UDP")
_MAX_ENDPOINTS = 1000
_MAX_ADDRESSES = 100
_MAX_PORTS = 20000
_MAX_HINTS = 8


def _address(address: Object, path: str) -> Errors:
    value = text(address, "ip")
    wrong = named(f"{path}.ip", value, names.ip_address)
    wrong += name("hostname", names.dns_label)(address, path)
    wrong += given_name("nodeName", names.dns_subdomain)(address, path)
    return wrong + endpoint_ip(value, f"{path}.ip")


def _some_address(subset: Object, path: str) -> Errors:
    if items(subset, "addresses") or items(subset, "notReadyAddresses"):
        return []
    return [field.required(path, "must specify `addresses` or `notReadyAddresses`")]


def _ports(subset: Object, path: str) -> Errors:
    wrong: Errors = []
    ports = indexed(subset, "ports", path)
    for where, port in ports:
        if text(port, "name"):
            wrong += named(f"{where}.name", port["name"], names.dns_label)
        elif len(ports) > 1:
            wrong.append(field.required(f"{where}.name"))
        wrong += ranged(f"{where}.port", port.get("port", 0), 1, 65535)
        wrong += required_one_of("protocol", *_PROTOCOLS)(port, where)
        wrong += given_name("appProtocol", names.qualified_name)(port, where)
    return wrong


endpoints = rules(
    each("subsets", _some_address, each("addresses", _address), each("notReadyAddresses", _address), _ports),
)


def _slice_addresses(slice_: Object, path: str) -> Errors:
    kind = text(slice_, "addressType")
    wrong: Errors = []
    for where, endpoint in indexed(slice_, "endpoints", path):
        addresses, at = items(endpoint, "addresses"), f"{where}.addresses"
        if not addresses:
            wrong.append(field.required(at, "must contain at least 1 address"))
        wrong += at_most_items("addresses", _MAX_ADDRESSES)(endpoint, where)
        for index, address in enumerate(addresses):
            wrong += _slice_address(kind, address, at, index)
        wrong += _endpoint(endpoint, where)
    return wrong


def _slice_address(kind: str, address: str, path: str, index: int) -> Errors:
    where = f"{path}[{index}]"
    if kind == "FQDN":
        return named(where, address, fully_qualified)
    if kind not in ("IPv4", "IPv6"):
        return []
    parsed = names.parse_ip(address)
    if parsed is None:
        return named(where, address, names.ip_address)
    if kind != f"IPv{parsed.version}":
        return [field.invalid(path, address, f"must be an {kind} address")]
    return endpoint_ip(address, where)


def fully_qualified(text_name: str) -> list[str]:
    """A domain of two labels or more."""
    if not text_name:
        return ["must not be empty"]
    wrong = names.dns_subdomain(text_name)
    if not wrong and "." not in text_name:
        return ["should be a domain with at least two segments separated by dots"]
    return wrong


_endpoint = every(
    given_name("nodeName", names.dns_subdomain),
    given_name("hostname", names.dns_label),
    given(
        "hints",
        at_most_items("forZones", _MAX_HINTS),
        each("forZones", name("name", names.label_value)),
        at_most_items("forNodes", _MAX_HINTS),
        each("forNodes", name("name", names.dns_subdomain)),
    ),
)


def _slice_ports(slice_: Object, path: str) -> Errors:
    wrong: Errors = []
    taken: set[str] = set()
    for where, port in indexed(slice_, "ports", path):
        value = text(port, "name")
        if value in taken:
            wrong.append(field.duplicate(f"{where}.name", value))
        taken.add(value)
        wrong += name("name", names.dns_label)(port, where)
        wrong += required_one_of("protocol", *_PROTOCOLS)(port, where)
        wrong += given_name("appProtocol", names.qualified_name)(port, where)
    return wrong


endpoint_slice = rules(
    required_one_of("addressType", "FQDN", "IPv4", "IPv6"),
    at_most_items("endpoints", _MAX_ENDPOINTS),
    _slice_addresses,
    at_most_items("ports", _MAX_PORTS),
    _slice_ports,
)


def _slice_again(new: Object, old: Object) -> Errors:
    """Endpoints that stay as they were are not judged once more."""
    same = new.get("endpoints") == old.get("endpoints")
    return endpoint_slice({**new, "endpoints": None} if same else new)


ENDPOINT_SLICE_UPDATE = (_slice_again, fixed("addressType", absent=""))
