"""Cells of nodes, storage, access rules and the server's own configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api.table.age import UNKNOWN, human_duration
from apilayer.api.table.cells import NONE, UNSET, dig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from apilayer.api.table.cells import Cell

    Obj = Mapping[str, Any]

_ROLE, _OLD_ROLE = "node-role.kubernetes.io/", "kubernetes.io/role"
_ACCESS_MODES = (
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
)
_CLASS = "volume.beta.kubernetes.io/storage-class"
_DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")


def component_status(obj: Obj, now: datetime) -> str:
    """One word for a component's health."""
    del now
    for condition in obj.get("conditions") or ():
        if condition.get("type") == "Healthy":
            return "Healthy" if condition.get("status") == "True" else "Unhealthy"
    return "Unknown"


def _component(key: str) -> Cell:
    def cell(obj: Obj, now: datetime) -> str:
        del now
        found = [item for item in obj.get("conditions") or () if item.get("type") == "Healthy"]
        return found[0].get(key) or "" if found else ""

    return cell


def node_status(obj: Obj, now: datetime) -> str:
    """Whether a node is ready, and whether it takes pods."""
    del now
    ready = [item for item in dig(obj, "status", "conditions") or () if item.get("type") == "Ready"]
    words = ["Unknown"] if not ready else ["Ready" if ready[-1].get("status") == "True" else "NotReady"]
    if dig(obj, "spec", "unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def node_roles(obj: Obj, now: datetime) -> str:
    """The roles that a node's labels name."""
    del now
    labels = dig(obj, "metadata", "labels") or {}
    roles = {key[len(_ROLE) :] for key in labels if key.startswith(_ROLE)} - {""}
    if labels.get(_OLD_ROLE):
        roles.add(labels[_OLD_ROLE])
    return ",".join(sorted(roles)) or NONE


def _node_address(kind: str) -> Cell:
    def cell(obj: Obj, now: datetime) -> str:
        del now
        addresses = dig(obj, "status", "addresses") or ()
        return next((item.get("address", "") for item in addresses if item.get("type") == kind), NONE)

    return cell


def node_kernel(obj: Obj, now: datetime) -> str:
    """Kernel version and architecture."""
    del now
    info = dig(obj, "status", "nodeInfo") or {}
    kernel, architecture = info.get("kernelVersion"), info.get("architecture")
    if not kernel:
        return UNKNOWN
    return f"{kernel} ({architecture})" if architecture else kernel


def _phase(obj: Obj, now: datetime) -> str:
    del now
    return "Terminating" if dig(obj, "metadata", "deletionTimestamp") else dig(obj, "status", "phase") or ""


def _modes(modes: Iterable[str]) -> str:
    given = set(modes)
    return ",".join(short for name, short in _ACCESS_MODES if name in given)


def volume_modes(obj: Obj, now: datetime) -> str:
    """Access modes of a volume."""
    del now
    return _modes(dig(obj, "spec", "accessModes") or ())


def claim_modes(obj: Obj, now: datetime) -> str:
    """Access modes of a claim's volume, once there is one."""
    del now
    return _modes(dig(obj, "status", "accessModes") or ()) if dig(obj, "spec", "volumeName") else ""


def claim_capacity(obj: Obj, now: datetime) -> str:
    """Size of a claim's volume, once there is one."""
    del now
    return (dig(obj, "status", "capacity", "storage") or "0") if dig(obj, "spec", "volumeName") else ""


def volume_claim(obj: Obj, now: datetime) -> str:
    """The claim that a volume is for."""
    del now
    ref = dig(obj, "spec", "claimRef")
    return f"{ref.get('namespace', '')}/{ref.get('name', '')}" if ref else ""


def storage_class(obj: Obj, now: datetime) -> str:
    """The class of a volume or claim; the old annotation counts first."""
    del now
    annotations = dig(obj, "metadata", "annotations") or {}
    return annotations.get(_CLASS) or dig(obj, "spec", "storageClassName") or ""


def class_name(obj: Obj, now: datetime) -> str:
    """A storage class's name, with a mark on the default one."""
    del now
    annotations = dig(obj, "metadata", "annotations") or {}
    name: str = dig(obj, "metadata", "name") or ""
    return f"{name} (default)" if any(annotations.get(key) == "true" for key in _DEFAULT_CLASS) else name


def token_audiences(obj: Obj, now: datetime) -> str:
    """Audiences of the tokens that a CSI driver asks for."""
    del now
    requests = dig(obj, "spec", "tokenRequests") or ()
    return ",".join(request.get("audience", "") for request in requests) if requests else UNSET


def _quota(wanted: Callable[[str], bool]) -> Cell:
    """Used and allowed amounts of the resources whose names are wanted."""

    def cell(obj: Obj, now: datetime) -> str:
        del now
        hard, used = dig(obj, "status", "hard") or {}, dig(obj, "status", "used") or {}
        return ", ".join(f"{name}: {used.get(name, '0')}/{hard[name]}" for name in sorted(hard) if wanted(name))

    return cell


def _subjects(kind: str) -> Cell:
    def cell(obj: Obj, now: datetime) -> str:
        del now
        found = (subject for subject in obj.get("subjects") or () if subject.get("kind") == kind)
        return ", ".join(
            f"{subject.get('namespace', '')}/{subject['name']}" if kind == "ServiceAccount" else subject["name"]
            for subject in found
        )

    return cell


def role_ref(obj: Obj, now: datetime) -> str:
    """Kind and name of the role that is bound."""
    del now
    ref = obj.get("roleRef") or {}
    return f"{ref.get('kind', '')}/{ref.get('name', '')}"


def certificate_state(obj: Obj, now: datetime) -> str:
    """Whether a certificate was approved, denied, issued."""
    del now
    types = {condition.get("type") for condition in dig(obj, "status", "conditions") or ()}
    word = "Denied" if "Denied" in types else "Approved" if "Approved" in types else "Pending"
    word += ",Failed" if "Failed" in types else ""
    return word + (",Issued" if dig(obj, "status", "certificate") else "")


def certificate_duration(obj: Obj, now: datetime) -> str:
    """How long a certificate is to be valid."""
    del now
    seconds = dig(obj, "spec", "expirationSeconds")
    return NONE if seconds is None else human_duration(seconds)


def param_kind(obj: Obj, now: datetime) -> str:
    """Version and kind of a policy's parameters."""
    del now
    kind = dig(obj, "spec", "paramKind")
    return f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else UNSET


def param_ref(obj: Obj, now: datetime) -> str:
    """Which parameters a policy binding takes."""
    del now
    ref = dig(obj, "spec", "paramRef")
    if not ref:
        return UNSET
    name: str = ref.get("name") or ""
    return f"{ref['namespace']}/{name}" if ref.get("namespace") else name


def service_of_api(obj: Obj, now: datetime) -> str:
    """The service behind an API, ``Local`` for one of this server."""
    del now
    service = dig(obj, "spec", "service")
    return f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"


def api_available(obj: Obj, now: datetime) -> str:
    """Whether an API is available, and why not."""
    del now
    for condition in dig(obj, "status", "conditions") or ():
        if condition.get("type") == "Available":
            word: str = condition.get("status") or ""
            reason = condition.get("reason")
            return f"{word} ({reason})" if reason and word != "True" else word
    return "Unknown"


def claim_state(obj: Obj, now: datetime) -> str:
    """Words for the state of a resource claim."""
    del now
    words = ["deleted"] if dig(obj, "metadata", "deletionTimestamp") else []
    if dig(obj, "status", "allocation") is None:
        words += [] if words else ["pending"]
    else:
        words.append("allocated")
        if dig(obj, "status", "reservedFor"):
            words.append("reserved")
    return ",".join(words)


def dangling(obj: Obj, now: datetime) -> str:
    """Whether a flow schema names a priority level that is not there."""
    del now
    conditions = dig(obj, "status", "conditions") or ()
    return next((item.get("status", "") for item in conditions if item.get("type") == "Dangling"), "?")


def level_shares(obj: Obj, now: datetime) -> Any:
    """Concurrency shares of a priority level, exempt or limited."""
    del now
    for kind in ("exempt", "limited"):
        shares = dig(obj, "spec", kind, "nominalConcurrencyShares")
        if shares is not None:
            return shares
    return NONE


def _queuing(key: str) -> Cell:
    def cell(obj: Obj, now: datetime) -> Any:
        del now
        queuing = dig(obj, "spec", "limited", "limitResponse", "queuing")
        return NONE if queuing is None else queuing.get(key, 0)

    return cell


CELLS: dict[str, Cell] = {
    "component_status": component_status,
    "component_message": _component("message"),
    "component_error": _component("error"),
    "node_status": node_status,
    "node_roles": node_roles,
    "internal_ip": _node_address("InternalIP"),
    "node_external_ip": _node_address("ExternalIP"),
    "node_kernel": node_kernel,
    "phase": _phase,
    "volume_modes": volume_modes,
    "claim_modes": claim_modes,
    "claim_capacity": claim_capacity,
    "volume_claim": volume_claim,
    "storage_class": storage_class,
    "class_name": class_name,
    "token_audiences": token_audiences,
    "quota_requests": _quota(lambda name: not name.startswith("limits.")),
    "quota_limits": _quota(lambda name: name.startswith("limits.")),
    "users": _subjects("User"),
    "groups": _subjects("Group"),
    "service_accounts": _subjects("ServiceAccount"),
    "role_ref": role_ref,
    "certificate_state": certificate_state,
    "certificate_duration": certificate_duration,
    "param_kind": param_kind,
    "param_ref": param_ref,
    "service_of_api": service_of_api,
    "api_available": api_available,
    "claim_state": claim_state,
    "dangling": dangling,
    "level_shares": level_shares,
    "queues": _queuing("queues"),
    "hand_size": _queuing("handSize"),
    "queue_length": _queuing("queueLengthLimit"),
}
