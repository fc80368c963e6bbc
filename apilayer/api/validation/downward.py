"""Rules for references to fields of the pod itself: the downward API in variables and volumes."""

from __future__ import annotations

import re

from apilayer.api import field, names
from apilayer.api.validation.common import Errors, Object, text

_KNOWN = frozenset(
    {
        "metadata.annotations",
        "metadata.labels",
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.serviceAccountName",
        "spec.schedulerName",
        "status.phase",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    }
)
_RESOURCES = tuple(
    f"{which}.{name}" for which in ("limits", "requests") for name in ("cpu", "ephemeral-storage", "memory")
)
_BYTE_DIVISORS = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
_SUBSCRIPT = re.compile(r"(.*)\['(.*)'\]")


def field_ref(ref: Object, path: str, supported: tuple[str, ...]) -> Errors:
    """A reference to one of the `supported` fields, or to one label or annotation."""
    version, name = text(ref, "apiVersion"), text(ref, "fieldPath")
    if not version:
        return [field.required(f"{path}.apiVersion")]
    if not name:
        return [field.required(f"{path}.fieldPath")]
    subscript = _SUBSCRIPT.fullmatch(name)
    base = subscript.group(1) if subscript else name
    problem = ""
    if version != "v1":
        problem = f"unsupported pod version: {version}"
    elif base not in _KNOWN and base != "spec.host":
        problem = f"field label not supported: {base}"
    elif subscript and base not in ("metadata.annotations", "metadata.labels"):
        problem = f"field label does not support subscript: {name}"
    if problem:
        return [field.invalid(f"{path}.fieldPath", name, f"error converting fieldPath: {problem}")]
    if subscript is None:
        canonical = "spec.nodeName" if name == "spec.host" else name
        if canonical in supported:
            return []
        return [field.not_supported(f"{path}.fieldPath", canonical, supported)]
    key = subscript.group(2)
    checked = key.lower() if base == "metadata.annotations" else key
    return [field.invalid(path, key, message) for message in names.qualified_name(checked)]


def resource_field_ref(ref: Object, path: str, *, needs_container: bool) -> Errors:
    """A reference to a limit or request of a container."""
    resource = text(ref, "resource")
    if needs_container and not ref.get("containerName"):
        return [field.required(f"{path}.containerName")]
    if not resource:
        return [field.required(f"{path}.resource")]
    huge = resource.startswith(("limits.hugepages-", "requests.hugepages-"))
    if resource not in _RESOURCES and not huge:
        return [field.not_supported(f"{path}.resource", resource, _RESOURCES)]
    return _divisor(resource, text(ref, "divisor"), f"{path}.divisor")


def _divisor(resource: str, divisor: str, path: str) -> Errors:
    if divisor in ("", "0"):
        return []
    if resource.endswith(".cpu"):
        if divisor in ("1m", "1"):
            return []
        detail = "only divisor's values 1m and 1 are supported with the cpu resource"
        return [field.invalid(path, resource, detail)]
    if divisor in _BYTE_DIVISORS:
        return []
    what = {
        "memory": "memory",
        "ephemeral-storage": "local ephemeral storage",
    }.get(resource.partition(".")[2], "hugepages")
    detail = f"only divisor's values {', '.join(_BYTE_DIVISORS)} are supported with the {what} resource"
    return [field.invalid(path, resource, detail)]
