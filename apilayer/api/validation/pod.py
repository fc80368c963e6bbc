"""Rules for pods and pod templates; the order is that of Kubernetes' own validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.api import field, names
from apilayer.api.validation import goform
from apilayer.api.validation.common import Errors, Object, indexed, items, named, part, ranged, supported, text
from apilayer.api.validation.containers import PodContext, containers, ephemeral_containers, init_containers
from apilayer.api.validation.faultless import Faultless
from apilayer.api.validation.metadata import validate_annotations, validate_labels
from apilayer.api.validation.pod_annotations import annotations_match, pod_annotations
from apilayer.api.validation.resources import pod_resources, resources
from apilayer.api.validation.scheduling import affinity, tolerations, topology_spread
from apilayer.api.validation.security import pod_security
from apilayer.api.validation.volumes import validate_volumes
from apilayer.api.validation.windows import host_process, operating_system

if TYPE_CHECKING:
    from apilayer.api.names import NameRule

INT32_MAX = 2**31 - 1
_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_MAX_NAMESERVERS = 3
_MAX_SEARCHES = 32
_MAX_SEARCH_CHARS = 2048
_HOST_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")


def pod(obj: Object) -> Errors:
    """Rules for a pod that hold on creation and on every update."""
    spec = part(obj, "spec")
    wrong = pod_annotations(obj) + pod_spec(spec, "spec", text(part(obj, "metadata"), "name"))
    if spec.get("serviceAccountName"):
        return wrong
    return wrong + [
        field.forbidden(f"{at}.serviceAccountToken", "must not be specified when serviceAccountName is not set")
        for where, volume in indexed(spec, "volumes", "spec")
        for at, source in indexed(part(volume, "projected"), "sources", f"{where}.projected")
        if source.get("serviceAccountToken") is not None
    ]


def new_pod(obj: Object) -> Errors:
    """Rules that hold on creation alone."""
    spec = part(obj, "spec")
    wrong: Errors = []
    if items(spec, "ephemeralContainers"):
        wrong.append(field.forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if items(spec, "schedulingGates") and spec.get("nodeName"):
        detail = "cannot be set until all schedulingGates have been cleared"
        wrong.append(field.forbidden("spec.nodeName", detail))
    return wrong + annotations_match(obj)


def pod_template(template: Object, path: str) -> Errors:
    """Rules for a pod template; Kubernetes leaves ``metadata`` out of the paths of labels and annotations."""
    meta, spec = part(template, "metadata"), part(template, "spec")
    wrong = validate_labels(part(meta, "labels"), f"{path}.labels")
    wrong += validate_annotations(part(meta, "annotations"), f"{path}.annotations")
    wrong += pod_spec(spec, f"{path}.spec")
    if items(spec, "ephemeralContainers"):
        detail = "ephemeral containers not allowed in pod template"
        wrong.append(field.forbidden(f"{path}.spec.ephemeralContainers", detail))
    return wrong


_SEEN: Faultless[field.FieldError] = Faultless()


def pod_spec(spec: Object, path: str, name: str = "") -> Errors:
    """Rules for the spec of a pod, which has a `name` if it is no template."""
    # The name matters to claims that are made for the pod and are called after it.
    called = name if any(volume.get("ephemeral") for volume in spec.get("volumes") or ()) else ""
    return _SEEN.findings((path, called, spec), lambda: _pod_spec(spec, path, name))


def _pod_spec(spec: Object, path: str, name: str) -> Errors:
    volumes, wrong = validate_volumes(spec, path, name)
    claims, claim_errors = _resource_claims(spec, path)
    context = PodContext(spec, volumes, frozenset(claims))
    wrong += claim_errors
    wrong += containers(context, path)
    wrong += init_containers(context, path)
    wrong += ephemeral_containers(context, path)
    wrong += pod_resources(spec, path)
    wrong += _host_network(spec, path)
    wrong += supported(f"{path}.restartPolicy", text(spec, "restartPolicy"), _RESTART_POLICIES)
    wrong += supported(f"{path}.dnsPolicy", text(spec, "dnsPolicy"), _DNS_POLICIES)
    wrong += validate_labels(part(spec, "nodeSelector"), f"{path}.nodeSelector")
    wrong += pod_security(spec, path)
    wrong += affinity(spec.get("affinity"), f"{path}.affinity")
    wrong += _dns(spec, f"{path}.dnsConfig")
    for where, gate in indexed(spec, "readinessGates", path):
        wrong += named(f"{where}.conditionType", text(gate, "conditionType"), names.qualified_name)
    wrong += _scheduling_gates(spec, path)
    wrong += topology_spread(spec, path)
    wrong += host_process(spec, path)
    wrong += _host_users(spec, path)
    wrong += _names(spec, path)
    wrong += tolerations(spec, path)
    wrong += _host_aliases(spec, path)
    for key in ("priorityClassName", "runtimeClassName"):
        if spec.get(key):
            wrong += named(f"{path}.{key}", spec[key], names.dns_subdomain)
    policy = spec.get("preemptionPolicy")
    if policy is not None:
        wrong += supported(f"{path}.preemptionPolicy", policy, ("Never", "PreemptLowerPriority"))
    if spec.get("overhead"):
        wrong += resources({"limits": spec["overhead"]}, f"{path}.overhead")
    return wrong + operating_system(spec, path)


def _resource_claims(spec: Object, path: str) -> tuple[set[str], Errors]:
    found: set[str] = set()
    wrong: Errors = []
    for where, claim in indexed(spec, "resourceClaims", path):
        name = text(claim, "name")
        if not name:
            wrong.append(field.required(f"{where}.name"))
        elif name in found:
            wrong.append(field.duplicate(f"{where}.name", name))
        else:
            wrong += named(f"{where}.name", name, names.dns_label)
        found.add(name)
        refs = [key for key in ("resourceClaimName", "resourceClaimTemplateName") if claim.get(key) is not None]
        shown = goform.of(claim, "core/v1.PodResourceClaim")
        if not refs:
            detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            wrong.append(field.invalid(where, shown, detail))
        elif len(refs) > 1:
            detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            wrong.append(field.invalid(where, shown, detail))
        for key in refs:
            wrong += named(f"{where}.{key}", claim[key], names.dns_subdomain)
    return found, wrong


def _host_network(spec: Object, path: str) -> Errors:
    """With the host's network a container's port is the host's port."""
    if not spec.get("hostNetwork"):
        return []
    wrong: Errors = []
    for key in ("containers", "initContainers"):
        for where, container in indexed(spec, key, path):
            for at, port in indexed(container, "ports", where):
                host = port.get("hostPort", 0)
                if host != port.get("containerPort", 0):
                    detail = "must match `containerPort` when `hostNetwork` is true"
                    wrong.append(field.invalid(f"{at}.hostPort", host, detail))
    return wrong


def _dns(spec: Object, path: str) -> Errors:
    config = spec.get("dnsConfig")
    wrong: Errors = []
    if spec.get("dnsPolicy") == "None":
        if config is None:
            detail = "must provide `dnsConfig` when `dnsPolicy` is None"
            return [field.required(path, detail)]
        if not items(config, "nameservers"):
            detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            wrong.append(field.required(f"{path}.nameservers", detail))
    if config is None:
        return wrong
    servers, searches = items(config, "nameservers"), items(config, "searches")
    if len(servers) > _MAX_NAMESERVERS:
        detail = f"must not have more than {_MAX_NAMESERVERS} nameservers"
        wrong.append(field.invalid(f"{path}.nameservers", servers, detail))
    for where, server in indexed(config, "nameservers", path):
        wrong += named(where, server, names.ip_address)
    if len(searches) > _MAX_SEARCHES:
        detail = f"must not have more than {_MAX_SEARCHES} search paths"
        wrong.append(field.invalid(f"{path}.searches", searches, detail))
    if len(" ".join(searches)) > _MAX_SEARCH_CHARS:
        detail = f"must not have more than {_MAX_SEARCH_CHARS} characters (including spaces) in the search list"
        wrong.append(field.invalid(f"{path}.searches", searches, detail))
    for where, search in indexed(config, "searches", path):
        if search != ".":
            wrong += [
                field.invalid(where, search, message)
                for message in names.dns_subdomain(search.removesuffix(".").replace("_", "-"))
            ]
    for where, option in indexed(config, "options", path):
        if not option.get("name"):
            wrong.append(field.required(where, "must not be empty"))
    return wrong


def _scheduling_gates(spec: Object, path: str) -> Errors:
    wrong: Errors = []
    seen: set[str] = set()
    for where, gate in indexed(spec, "schedulingGates", path):
        name = text(gate, "name")
        wrong += named(where, name, names.qualified_name)
        if name in seen:
            wrong.append(field.duplicate(where, name))
        seen.add(name)
    return wrong


def _host_users(spec: Object, path: str) -> Errors:
    if spec.get("hostUsers") is not False:
        return []
    return [field.forbidden(f"{path}.{key}", "when `hostUsers` is false") for key in _HOST_NAMESPACES if spec.get(key)]


def _names(spec: Object, path: str) -> Errors:
    rules: tuple[tuple[str, NameRule], ...] = (
        ("serviceAccountName", names.dns_subdomain),
        ("nodeName", names.dns_subdomain),
    )
    wrong: Errors = []
    for key, rule in rules:
        if spec.get(key):
            wrong += named(f"{path}.{key}", spec[key], rule)
    wrong += ranged(f"{path}.activeDeadlineSeconds", spec.get("activeDeadlineSeconds"), 1, INT32_MAX)
    for key in ("hostname", "subdomain"):
        if spec.get(key):
            wrong += named(f"{path}.{key}", spec[key], names.dns_label)
    return wrong


def _host_aliases(spec: Object, path: str) -> Errors:
    wrong: Errors = []
    for where, alias in indexed(spec, "hostAliases", path):
        wrong += named(f"{where}.ip", text(alias, "ip"), names.ip_address)
        for at, name in indexed(alias, "hostnames", where):
            wrong += named(at, name, names.dns_subdomain)
    return wrong
