"""Rules for Ingresses, IngressClasses, NetworkPolicies, ServiceCIDRs and IPAddresses."""

from __future__ import annotations

from apilayer.api import field, names
from apilayer.api.validation.addresses import load_balancer
from apilayer.api.validation.common import IMMUTABLE, Errors, Object, indexed, items, named, part, ranged, text
from apilayer.api.validation.service import port_or_name
from apilayer.api.validation.vocabulary import (
    at,
    each,
    each_one_of,
    either,
    every,
    fixed,
    given,
    given_name,
    maybe_one_of,
    must_have,
    name,
    required,
    required_name,
    required_one_of,
    rules,
    selector,
)

_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_NEVER_IN_PATH = ("//", "/./", "/../", "%2f", "%2F")
_NEVER_AT_END = ("/..", "/.")
_MAX_CONTROLLER = 250
_FAMILIES = 2

_local_reference = every(
    given_name("apiGroup", names.dns_subdomain),
    required_name("kind", names.path_segment),
    required_name("name", names.path_segment),
)


def _backend(backend: Object, path: str) -> Errors:
    resource, service = backend.get("resource"), backend.get("service")
    if resource is not None and service is not None:
        return [field.invalid(path, "", "cannot set both resource and service backends")]
    if resource is not None:
        return _local_reference(resource, f"{path}.resource")
    if service is None:
        return [field.invalid(path, "", "resource or service backend is required")]
    wrong = required_name("name", names.namespace_name)(service, f"{path}.service")
    port, where = part(service, "port"), f"{path}.service.port"
    by_name, number = text(port, "name"), port.get("number", 0)
    if by_name and number:
        return [*wrong, field.invalid(path, "", "cannot set both port name & port number")]
    if by_name:
        return wrong + named(f"{where}.name", by_name, names.port_name)
    if number:
        return wrong + ranged(f"{where}.number", number, 1, 65535)
    return [*wrong, field.required(path, "port name or number is required")]


def _http_path(rule: Object, path: str) -> Errors:
    kind, value, where = rule.get("pathType"), text(rule, "path"), f"{path}.path"
    wrong: Errors = []
    if kind is None:
        wrong.append(field.required(f"{path}.pathType", "pathType must be specified"))
    elif kind in ("Exact", "Prefix"):
        if not value.startswith("/"):
            wrong.append(field.invalid(where, value, "must be an absolute path"))
        wrong += [
            field.invalid(where, value, f"must not contain '{never}'") for never in _NEVER_IN_PATH if never in value
        ]
        wrong += [
            field.invalid(where, value, f"cannot end with '{never}'")
            for never in _NEVER_AT_END
            if value.endswith(never)
        ]
    elif kind == "ImplementationSpecific":
        if value and not value.startswith("/"):
            wrong.append(field.invalid(where, value, "must be an absolute path"))
    else:
        wrong.append(field.not_supported(f"{path}.pathType", kind, ("Exact", "ImplementationSpecific", "Prefix")))
    return wrong + at("backend", _backend)(rule, path)


def _host(rule: Object, path: str) -> Errors:
    host = text(rule, "host")
    wrong: Errors = []
    if names.parse_ip(host) is not None:
        wrong.append(field.invalid(f"{path}.host", host, "must be a DNS name, not an IP address"))
    return wrong + (named(f"{path}.host", host, host_name) if host else [])


def host_name(host: str) -> list[str]:
    """A domain, whose first label may be a wildcard."""
    return names.wildcard_subdomain(host) if "*" in host else names.dns_subdomain(host)


def _some_backend(spec: Object, path: str) -> Errors:
    if items(spec, "rules") or spec.get("defaultBackend") is not None:
        return []
    return [field.invalid(path, spec.get("rules"), "either `defaultBackend` or `rules` must be specified")]


def _tls(tls: Object, path: str) -> Errors:
    wrong: Errors = []
    for where, host in indexed(tls, "hosts", path):
        wrong += named(where, host, host_name)
    return wrong + name("secretName", names.dns_subdomain)(tls, path)


ingress = rules(
    at(
        "spec",
        _some_backend,
        given("defaultBackend", _backend),
        each("rules", _host, given("http", required("paths"), each("paths", _http_path))),
        each("tls", _tls),
        given_name("ingressClassName", names.dns_subdomain),
    ),
)


def ingress_class_annotation(obj: Object) -> Errors:
    """The annotation that named the class before the field existed agrees with the field."""
    annotation = part(part(obj, "metadata"), "annotations").get(_CLASS_ANNOTATION)
    named_class = part(obj, "spec").get("ingressClassName")
    if annotation is None or named_class is None or annotation == named_class:
        return []
    where = f"metadata.annotations.{_CLASS_ANNOTATION}"
    return [field.invalid(where, annotation, "must match `ingressClassName` when both are specified")]


def ingress_status(new: Object, old: Object) -> Errors:
    """Rules for what a load balancer reports."""
    del old
    return load_balancer(part(part(new, "status"), "loadBalancer"), "status.loadBalancer", modes=False)


def _controller(spec: Object, path: str) -> Errors:
    controller = text(spec, "controller")
    if len(controller) > _MAX_CONTROLLER:
        return [field.too_long(f"{path}.controller", controller, _MAX_CONTROLLER)]
    return required_name("controller", names.domain_prefixed_path)(spec, path)


def _scope(parameters: Object, path: str) -> Errors:
    scope, namespace, where = parameters.get("scope"), parameters.get("namespace"), f"{path}.namespace"
    wrong = required_one_of("scope", "Cluster", "Namespace")(parameters, path)
    if scope == "Namespace":
        if not namespace:
            wrong.append(field.required(where, "`parameters.scope` is set to 'Namespace'"))
        else:
            wrong += named(where, namespace, names.namespace_name)
    elif scope == "Cluster" and namespace is not None:
        wrong.append(field.forbidden(where, "`parameters.scope` is set to 'Cluster'"))
    return wrong


ingress_class = rules(at("spec", _controller, given("parameters", _local_reference, _scope)))
INGRESS_CLASS_UPDATE = (fixed("spec.controller", absent=""),)


def _policy_port(port: Object, path: str) -> Errors:
    value, end, where = port.get("port"), port.get("endPort"), f"{path}.endPort"
    wrong = maybe_one_of("protocol", "TCP", "UDP", "SCTP")(port, path)
    if value is not None:
        wrong += port_or_name(value, f"{path}.port")
    if end is None:
        return wrong
    if value is None:
        return [*wrong, field.invalid(where, end, "may not be specified when `port` is not specified")]
    if isinstance(value, str):
        return [*wrong, field.invalid(where, end, "may not be specified when `port` is non-numeric")]
    if end < value:
        wrong.append(field.invalid(where, value, "must be greater than or equal to `port`"))
    return wrong + ranged(where, end, 1, 65535)


def _ip_block(block: Object, path: str) -> Errors:
    whole = names.parse_cidr(text(block, "cidr"))
    wrong = either(required("cidr"), name("cidr", names.cidr))(block, path)
    for where, value in indexed(block, "except", path):
        inner = names.parse_cidr(value)
        wrong += named(where, value, names.cidr)
        if whole is None or inner is None:
            continue
        inside = inner.version == whole.version and inner.network_address in whole
        if not inside or inner.prefixlen <= whole.prefixlen:
            wrong.append(field.invalid(where, value, "must be a strict subset of `cidr`"))
    return wrong


def _peer(peer: Object, path: str) -> Errors:
    wrong = every(selector("podSelector"), selector("namespaceSelector"), given("ipBlock", _ip_block))(peer, path)
    present = [key for key in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(key) is not None]
    if not present:
        wrong.append(field.required(path, "must specify a peer"))
    elif len(present) > 1 and "ipBlock" in present:
        wrong.append(field.forbidden(path, "may not specify both ipBlock and another peer"))
    return wrong


def _policy_types(spec: Object, path: str) -> Errors:
    found = items(spec, "policyTypes")
    if len(found) > 2:
        return [field.invalid(f"{path}.policyTypes", found, "may not specify more than two policyTypes")]
    return each_one_of("policyTypes", "Ingress", "Egress")(spec, path)


network_policy = rules(
    at(
        "spec",
        selector("podSelector"),
        each("ingress", each("ports", _policy_port), each("from", _peer)),
        each("egress", each("ports", _policy_port), each("to", _peer)),
        _policy_types,
    ),
)


def canonical_cidr(value: str) -> list[str]:
    """A range without bits beyond its prefix."""
    network = names.parse_cidr(value)
    if network is None:
        return names.cidr(value)
    if names.parse_ip(value.partition("/")[0]) != network.network_address:
        return ["must not have bits set beyond the prefix length"]
    return [] if str(network) == value else [f'must be in canonical form ("{network}")']


def _cidrs(spec: Object, path: str) -> Errors:
    ranges, where = items(spec, "cidrs"), f"{path}.cidrs"
    if not ranges:
        return [field.required(where, "at least one CIDR required")]
    if len(ranges) > _FAMILIES:
        return [field.invalid(where, ranges, "may only hold up to 2 values")]
    wrong: Errors = []
    if len(ranges) == _FAMILIES and len({":" in value for value in ranges}) == 1:
        detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        wrong.append(field.invalid(where, ranges, detail))
    for index, value in enumerate(ranges):
        wrong += named(f"{where}[{index}]", value, canonical_cidr)
    return wrong


service_cidr = rules(at("spec", _cidrs))


def service_cidr_update(new: Object, old: Object) -> Errors:
    """A range may get one of the other family beside it, once; apart from that ranges stay."""
    after, before = items(part(new, "spec"), "cidrs"), items(part(old, "spec"), "cidrs")
    if after == before or (len(before) == 1 and len(after) == _FAMILIES and after[0] == before[0]):
        return []
    return [field.invalid("spec.cidrs", after, IMMUTABLE)]


def address_name(value: str) -> list[str]:
    """An address in the one form in which it is written."""
    address = names.parse_ip(value)
    if address is not None:
        return [] if str(address) == value else [f'must be in canonical form ("{address}")']
    parts = value.split(".")
    if len(parts) == 4 and all(part.isascii() and part.isdecimal() and int(part) < 256 for part in parts):
        return ["must not have leading 0s"]
    return names.ip_address(value)


ip_address = rules(
    at(
        "spec",
        must_have("parentRef"),
        given(
            "parentRef",
            name("group", names.dns_subdomain),
            required_name("resource", names.path_segment),
            required_name("name", names.path_segment),
            name("namespace", names.path_segment),
        ),
    ),
)
IP_ADDRESS_UPDATE = (fixed("spec.parentRef"),)
