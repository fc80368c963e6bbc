"""Rules for addresses: of endpoints, of load balancers, and of services beyond the cluster."""

from __future__ import annotations

import ipaddress

from apilayer.api import field, names
from apilayer.api.validation.common import Errors, Object, indexed, named, supported, text

_LINK_LOCAL_MULTICAST = (ipaddress.ip_network("224.0.0.0/24"), ipaddress.ip_network("ff02::/16"))


def endpoint_ip(value: str, path: str) -> Errors:
    """An address that traffic may be sent to: none that means this host, this link or nothing."""
    address = names.parse_ip(value)
    if address is None:
        return [field.invalid(path, value, "must be a valid IP address")]
    wrong: Errors = []
    if address.is_unspecified:
        wrong.append(field.invalid(path, value, f"may not be unspecified ({value})"))
    if address.is_loopback:
        wrong.append(field.invalid(path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
    if address.is_link_local:
        wrong.append(field.invalid(path, value, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
    if any(address in network for network in _LINK_LOCAL_MULTICAST):
        detail = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        wrong.append(field.invalid(path, value, detail))
    return wrong


def load_balancer(status: Object, path: str, *, modes: bool) -> Errors:
    """The addresses at which a load balancer is reached; only those of Services have `modes`."""
    wrong: Errors = []
    for where, ingress in indexed(status, "ingress", path):
        address, host, mode = text(ingress, "ip"), text(ingress, "hostname"), ingress.get("ipMode")
        wrong += named(f"{where}.ip", address, names.ip_address) if address else []
        if modes and not address and mode is not None:
            wrong.append(field.forbidden(f"{where}.ipMode", "may not be specified when `ip` is not set"))
        elif modes and mode is not None:
            wrong += supported(f"{where}.ipMode", mode, ("Proxy", "VIP"))
        wrong += named(f"{where}.hostname", host, names.dns_subdomain) if host else []
        if names.parse_ip(host) is not None:
            wrong.append(field.invalid(f"{where}.hostname", host, "must be a DNS name, not an IP address"))
    return wrong
