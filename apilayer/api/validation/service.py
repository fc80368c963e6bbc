"""Rules for Services; which addresses and ports a Service gets is decided where they are allocated."""

from __future__ import annotations

from typing import Any

from apilayer.api import field, names
from apilayer.api.validation.addresses import endpoint_ip, load_balancer
from apilayer.api.validation.common import Errors, Object, indexed, items, named, part, ranged, supported, text
from apilayer.api.validation.metadata import validate_labels
from apilayer.api.validation.vocabulary import (
    Check,
    at,
    each,
    equals,
    every,
    forbidden,
    given_name,
    maybe_one_of,
    required_one_of,
    rules,
    when,
)

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_FAMILIES = ("IPv4", "IPv6")
_MAX_AFFINITY_SECONDS = 86400
_KUBELET_PORT = 10250
_EXTERNAL_NAME = "may not be set for ExternalName services"
_BALANCED = "may only be used when `type` is 'LoadBalancer'"
_ONCE = "may not change once set"
_HEALTH = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"


def _headless(spec: Object) -> bool:
    return items(spec, "clusterIPs")[:1] == ["None"]


def _is_balanced(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer"


def _is_reached_from_outside(spec: Object) -> bool:
    kind = spec.get("type")
    return kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and bool(items(spec, "externalIPs")))


def _by_type(spec: Object, path: str) -> Errors:
    kind = text(spec, "type")
    wrong: Errors = []
    if not items(spec, "ports") and not _headless(spec) and kind != "ExternalName":
        wrong.append(field.required(f"{path}.ports"))
    if kind == "LoadBalancer":
        detail = f"may not expose port {_KUBELET_PORT} externally since it is used by kubelet"
        wrong += [
            field.invalid(f"{where}.port", _KUBELET_PORT, detail)
            for where, port in indexed(spec, "ports", path)
            if port.get("port") == _KUBELET_PORT
        ]
    if kind in ("LoadBalancer", "NodePort") and _headless(spec):
        wrong.append(field.invalid(f"{path}.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services"))
    if kind == "ExternalName":
        keys = [key for key in ("clusterIPs", "ipFamilies", "ipFamilyPolicy") if spec.get(key)]
        wrong += [field.forbidden(f"{path}.{key}", _EXTERNAL_NAME) for key in keys]
        host = text(spec, "externalName").removesuffix(".")
        where = f"{path}.externalName"
        wrong += named(where, host, names.dns_subdomain) if host else [field.required(where)]
    return wrong


def _ports(spec: Object, path: str) -> Errors:
    wrong: Errors = []
    taken: set[str] = set()
    ports = indexed(spec, "ports", path)
    for where, port in ports:
        name = text(port, "name")
        if name:
            wrong += named(f"{where}.name", name, names.dns_label)
            wrong += [field.duplicate(f"{where}.name", name)] if name in taken else []
            taken.add(name)
        elif len(ports) > 1:
            wrong.append(field.required(f"{where}.name"))
        wrong += ranged(f"{where}.port", port.get("port", 0), 1, 65535)
        wrong += required_one_of("protocol", *_PROTOCOLS)(port, where)
        wrong += port_or_name(port.get("targetPort", 0), f"{where}.targetPort")
        wrong += given_name("appProtocol", names.qualified_name)(port, where)
    return wrong


def port_or_name(value: int | str, path: str) -> Errors:
    """A port by number or by name."""
    if isinstance(value, str):
        return named(path, value, names.port_name)
    return ranged(path, value, 1, 65535)


def _affinity(spec: Object, path: str) -> Errors:
    affinity, config, where = spec.get("sessionAffinity"), spec.get("sessionAffinityConfig"), "sessionAffinityConfig"
    where = f"{path}.{where}"
    if affinity == "None" and config is not None:
        return [field.forbidden(where, "must not be set when session affinity is None")]
    if affinity != "ClientIP":
        return []
    seconds = part(config or {}, "clientIP").get("timeoutSeconds")
    if seconds is None:
        return [field.required(f"{where}.clientIP.timeoutSeconds", "when session affinity type is ClientIP")]
    if 0 < seconds <= _MAX_AFFINITY_SECONDS:
        return []
    detail = f"must be greater than 0 and less than {_MAX_AFFINITY_SECONDS}"
    return [field.invalid(f"{where}.clientIP.timeoutSeconds", seconds, detail)]


def _one_and_many(spec: Object, path: str) -> Errors:
    """``clusterIP`` is the first of ``clusterIPs``."""
    one, many, where = text(spec, "clusterIP"), items(spec, "clusterIPs"), f"{path}.clusterIPs"
    if not one:
        return [field.invalid(where, many, "must be empty when `clusterIP` is not specified")] if many else []
    if not many:
        return [field.required(where)]
    return [] if many[0] == one else [field.invalid(where, many, "first value must match `clusterIP`")]


def _families(spec: Object, path: str) -> Errors:
    wrong: Errors = []
    seen: set[str] = set()
    for where, family in indexed(spec, "ipFamilies", path):
        wrong += supported(where, family, _FAMILIES)
        wrong += [field.duplicate(where, family)] if family in seen else []
        seen.add(family)
    return wrong + maybe_one_of("ipFamilyPolicy", "PreferDualStack", "RequireDualStack", "SingleStack")(spec, path)


def _cluster_ips(spec: Object, path: str) -> Errors:
    addresses, where = items(spec, "clusterIPs"), f"{path}.clusterIPs"
    wrong: Errors = []
    for index, address in enumerate(addresses):
        if index == 0 and address == "None":
            if len(addresses) > 1:
                wrong.append(field.invalid(where, addresses, "'None' must be the first and only value"))
        else:
            wrong += named(f"{where}[{index}]", address, names.ip_address)
    unreadable = bool(wrong)
    if len(addresses) > len(_FAMILIES):
        wrong.append(field.invalid(where, addresses, "may only hold up to 2 values"))
    if unreadable or _headless(spec):
        return wrong
    found = [_family(address) for address in addresses]
    if len(found) > 1 and len(set(found)) == 1:
        wrong.append(field.invalid(where, addresses, "may specify no more than one IP for each IP family"))
    for index, (family, wanted) in enumerate(zip(found, items(spec, "ipFamilies"), strict=False)):
        if family != wanted and wanted in _FAMILIES:
            detail = f"expected an {wanted} value as indicated by `ipFamilies[{index}]`"
            wrong.append(field.invalid(f"{where}[{index}]", addresses[index], detail))
    return wrong


cluster_addresses = every(_one_and_many, _families, _cluster_ips)
"""Rules for clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy taken together; not for ExternalName services."""


def _family(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def _external_ips(spec: Object, path: str) -> Errors:
    wrong: Errors = []
    for where, address in indexed(spec, "externalIPs", path):
        wrong += named(where, address, names.ip_address) or endpoint_ip(address, where)
    return wrong


def _distinct_ports(spec: Object, path: str) -> Errors:
    """Ports, and node ports, occur once with each protocol."""
    wrong: Errors = []
    node_ports: set[tuple[Any, Any]] = set()
    ports: set[tuple[Any, Any]] = set()
    for where, port in indexed(spec, "ports", path):
        key = (port.get("protocol"), port.get("nodePort", 0))
        if key[1] and key in node_ports:
            wrong.append(field.duplicate(f"{where}.nodePort", key[1]))
        node_ports.add(key)
    for where, port in indexed(spec, "ports", path):
        key = (port.get("protocol"), port.get("port", 0))
        if key in ports:
            shown = {"Name": "", "Protocol": key[0], "AppProtocol": None, "Port": key[1]}
            wrong.append(field.duplicate(where, {**shown, "TargetPort": 0, "NodePort": 0}))
        ports.add(key)
    return wrong


def _source_ranges(spec: Object, path: str) -> Errors:
    ranges, where = items(spec, "loadBalancerSourceRanges"), f"{path}.LoadBalancerSourceRanges"
    if ranges and not _is_balanced(spec):
        return [field.forbidden(where, _BALANCED)]
    return [
        error
        for index, text_range in enumerate(ranges)
        for error in named(f"{where}[{index}]", text_range.strip(), names.cidr)
    ]


def _balancer_only(key: str) -> Check:
    return when(lambda spec: not _is_balanced(spec), forbidden(key, detail=_BALANCED))


def _external_policy(spec: Object, path: str) -> Errors:
    policy, where = text(spec, "externalTrafficPolicy"), f"{path}.externalTrafficPolicy"
    wrong: Errors = []
    if _is_reached_from_outside(spec):
        wrong += required_one_of("externalTrafficPolicy", "Cluster", "Local")(spec, path)
    elif policy:
        wrong.append(field.invalid(where, policy, "may only be set for externally-accessible services"))
    port = spec.get("healthCheckNodePort", 0)
    if port and not (_is_balanced(spec) and policy == "Local"):
        wrong.append(field.invalid(f"{path}.healthCheckNodePort", port, _HEALTH))
    elif port:
        wrong += ranged(f"{path}.healthCheckNodePort", port, 1, 65535)
    return wrong


def _selector(spec: Object, path: str) -> Errors:
    return validate_labels(part(spec, "selector"), f"{path}.selector")


service = rules(
    at(
        "spec",
        _by_type,
        _ports,
        _selector,
        required_one_of("sessionAffinity", "ClientIP", "None"),
        _affinity,
        when(lambda spec: spec.get("type") != "ExternalName", cluster_addresses),
        _external_ips,
        required_one_of("type", *_TYPES),
        when(
            equals("type", "ClusterIP"),
            each("ports", forbidden("nodePort", detail="may not be used when `type` is 'ClusterIP'")),
        ),
        _distinct_ports,
        _source_ranges,
        _balancer_only("allocateLoadBalancerNodePorts"),
        _balancer_only("loadBalancerClass"),
        when(_is_balanced, given_name("loadBalancerClass", names.qualified_name)),
        _external_policy,
        maybe_one_of("internalTrafficPolicy", "Cluster", "Local"),
        maybe_one_of("trafficDistribution", "PreferClose", "PreferSameZone", "PreferSameNode"),
    ),
)


def service_update(new: Object, old: Object) -> Errors:
    """A Service keeps its addresses and the class of its load balancer as long as it keeps its type."""
    after, before = part(new, "spec"), part(old, "spec")
    wrong: Errors = []
    if "ExternalName" not in (after.get("type"), before.get("type")):
        wrong += _kept(after, before, "clusterIPs", shown_whole=True)
        wrong += _kept(after, before, "ipFamilies", shown_whole=False)
    if _is_balanced(after) and _is_balanced(before):
        value = after.get("loadBalancerClass")
        if value != before.get("loadBalancerClass"):
            wrong.append(field.invalid("spec.loadBalancerClass", value, _ONCE))
    return wrong


def _kept(after: Object, before: Object, key: str, *, shown_whole: bool) -> Errors:
    """The first value stays; a second one comes and goes with dual stack."""
    new, old = items(after, key), items(before, key)
    if not old or not new:
        return []
    wrong: Errors = []
    if new[0] != old[0]:
        wrong.append(field.invalid(f"spec.{key}[0]", new if shown_whole else new[0], _ONCE))
    if len(new) > 1 and len(old) > 1 and new[1] != old[1]:
        wrong.append(field.invalid(f"spec.{key}[1]", new if shown_whole else new[1], _ONCE))
    return wrong


def service_status(new: Object, old: Object) -> Errors:
    """Rules for what a load balancer reports."""
    del old
    status, where = part(part(new, "status"), "loadBalancer"), "status.loadBalancer"
    if items(status, "ingress") and not _is_balanced(part(new, "spec")):
        detail = "may only be used when `spec.type` is 'LoadBalancer'"
        return [field.forbidden(f"{where}.ingress", detail)]
    return load_balancer(status, where, modes=True)
