"""Rules for the status of a pod, which its node reports."""

from __future__ import annotations

from apilayer.api import field, names
from apilayer.api.validation import goform
from apilayer.api.validation.common import (
    Errors,
    Object,
    immutable,
    indexed,
    items,
    named,
    part,
    ranged,
    supported,
    text,
)
from apilayer.api.validation.pod_annotations import annotations_update
from apilayer.api.validation.security import ID_MAX

_OWN_CONDITIONS = ("PodScheduled", "Ready", "Initialized")
_STAYS_ENDED = "may not be transitioned to non-terminated state"
# Lists of statuses with the lists of containers that they are about.
_STATUSES = (
    ("containerStatuses", "containers"),
    ("initContainerStatuses", "initContainers"),
    ("ephemeralContainerStatuses", "ephemeralContainers"),
)
_CLAIM_FORM = (
    "must match one of the container's resource claims in a format 'claim:<claimName>/<request>'"
    " or 'claim:<claimName>' if request is empty"
)


def pod_status(new: Object, old: Object) -> Errors:
    """Rules for a change of a pod's status."""
    status, before, spec = part(new, "status"), part(old, "status"), part(new, "spec")
    wrong = annotations_update(new, old)
    for where, condition in indexed(status, "conditions", "metadata"):
        kind = text(condition, "type")
        wrong += [] if kind in _OWN_CONDITIONS else named(f"{where}.Type", kind, names.qualified_name)
    node = text(status, "nominatedNodeName")
    if node and node != text(before, "nominatedNodeName"):
        wrong += named("status.nominatedNodeName", node, names.dns_subdomain)
    wrong += immutable("status.qosClass", text(status, "qosClass"), text(before, "qosClass"))
    for key, of in _STATUSES:
        wrong += _ended_stays_ended(status, before, spec, key, of)
    wrong += _claims(status, spec)
    wrong += _addresses(status, "podIPs", "core/v1.PodIP")
    hosts = items(status, "hostIPs")
    if hosts and text(hosts[0], "ip") != text(status, "hostIP"):
        wrong.append(field.invalid("status.hostIPs[0].ip", text(hosts[0], "ip"), "must be equal to `hostIP`"))
    wrong += _addresses(status, "hostIPs", "core/v1.HostIP")
    for key, _ in _STATUSES:
        wrong += _users(status, key, part(spec, "os").get("name") or "linux")
    for key, of in _STATUSES:
        wrong += _allocated(status, spec, key, of)
    return wrong


def _ended_stays_ended(status: Object, before: Object, spec: Object, key: str, of: str) -> Errors:
    """A container that has ended and is not restarted does not come back to life."""
    policy = "Never" if of == "ephemeralContainers" else text(spec, "restartPolicy")
    if policy == "Always":
        return []
    sidecars = {
        text(container, "name")
        for container in items(spec, "initContainers")
        if of == "initContainers" and container.get("restartPolicy") == "Always"
    }
    wrong: Errors = []
    for where, was in indexed(before, key, "status"):
        ended = part(was, "state").get("terminated")
        name = text(was, "name")
        if ended is None or name in sidecars or (ended.get("exitCode") and policy == "OnFailure"):
            continue
        wrong += [
            field.forbidden(f"{where}.state", _STAYS_ENDED)
            for now in items(status, key)
            if text(now, "name") == name and part(now, "state").get("terminated") is None
        ]
    return wrong


def _claims(status: Object, spec: Object) -> Errors:
    known = {text(claim, "name") for claim in items(spec, "resourceClaims")}
    seen: set[str] = set()
    wrong: Errors = []
    for where, claim in indexed(status, "resourceClaimStatuses", "status"):
        name = text(claim, "name")
        if name not in known:
            detail = "must match the name of an entry in `spec.resourceClaims`"
            wrong.append(field.invalid(f"{where}.name", name, detail))
        if name in seen:
            wrong.append(field.duplicate(f"{where}.name", name))
        seen.add(name)
        if claim.get("resourceClaimName") is not None:
            wrong += named(f"{where}.name", claim["resourceClaimName"], names.dns_subdomain)
    return wrong


def _addresses(status: Object, key: str, message: str) -> Errors:
    wrong: Errors = []
    addresses = indexed(status, key, "status")
    given = [text(address, "ip") for _, address in addresses]
    for (where, _), value in zip(addresses, given, strict=True):
        wrong += named(where, value, names.ip_address)
    versions = [parsed.version for value in given if (parsed := names.parse_ip(value))]
    if len(versions) != len(set(versions)):
        shown = [goform.of(address, message) for _, address in addresses]
        detail = "may specify no more than one IP for each IP family"
        wrong.append(field.invalid(f"status.{key}", shown, detail))
    return wrong + [
        field.duplicate(where, goform.of(address, message))
        for index, (where, address) in enumerate(addresses)
        if given[index] in given[:index]
    ]


def _users(status: Object, key: str, system: str) -> Errors:
    wrong: Errors = []
    for where, container in indexed(status, key, "status"):
        user = part(container, "user").get("linux")
        if user is None:
            continue
        if system == "windows":
            wrong.append(field.forbidden(f"{where}.linux", "cannot be set for a windows pod"))
            continue
        for name in ("uid", "gid"):
            wrong += ranged(f"{where}.linux.{name}", user.get(name, 0), 0, ID_MAX)
        for at, group in indexed(user, "supplementalGroups", f"{where}.linux"):
            wrong += ranged(at, group, 0, ID_MAX)
    return wrong


def _allocated(status: Object, spec: Object, key: str, of: str) -> Errors:
    """The health of devices that a container was given: of resources that it asked for, each told once."""
    containers = {text(container, "name"): container for container in items(spec, of)}
    wrong: Errors = []
    for where, reported in indexed(status, key, "status"):
        if of == "ephemeralContainers":
            if items(reported, "allocatedResourcesStatus"):
                detail = "must not be specified in container status"
                wrong.append(field.forbidden(f"{where}.allocatedResourcesStatus", detail))
            continue
        container = containers.get(text(reported, "name"))
        for at, resource in indexed(reported, "allocatedResourcesStatus", where):
            if container is not None:
                wrong += _asked_for(text(resource, "name"), part(container, "resources"), f"{at}.name")
            seen: set[str] = set()
            for device_at, device in indexed(resource, "resources", at):
                health, device_id = text(device, "health"), text(device, "resourceID")
                wrong += supported(f"{device_at}.health", health, ("Healthy", "Unhealthy", "Unknown"))
                if device_id in seen:
                    wrong.append(field.duplicate(f"{device_at}.resourceID", device_id))
                seen.add(device_id)
    return wrong


def _asked_for(name: str, needs: Object, path: str) -> Errors:
    if not name.startswith("claim:"):
        if name in part(needs, "requests"):
            return []
        return [field.invalid(path, name, "must match one of the container's resource requests")]
    claims = {
        "/".join(filter(None, (f"claim:{text(claim, 'name')}", text(claim, "request"))))
        for claim in items(needs, "claims")
    }
    return [] if name in claims else [field.invalid(path, name, _CLAIM_FORM)]
