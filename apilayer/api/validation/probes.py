"""Rules for probes and lifecycle hooks."""

from __future__ import annotations

from apilayer.api import field, names
from apilayer.api.validation.common import Errors, Object, items, named, non_negative, text

_NUMBERS = (
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
)
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")


def probe(obj: Object | None, kind: str, grace_seconds: int | None, path: str) -> Errors:
    """Rules for a probe; `kind` is its field's name: livenessProbe, readinessProbe or startupProbe."""
    if obj is None:
        return []
    wrong = handler(obj, grace_seconds, path)
    wrong += non_negative(obj, path, *_NUMBERS)
    grace = obj.get("terminationGracePeriodSeconds")
    where = f"{path}.terminationGracePeriodSeconds"
    if grace is not None and grace <= 0:
        wrong.append(field.invalid(where, grace, "must be greater than 0"))
    if kind == "readinessProbe":
        if grace is not None:
            wrong.append(field.invalid(where, grace, "must not be set for readinessProbes"))
    elif obj.get("successThreshold") != 1:
        threshold = obj.get("successThreshold", 0)
        wrong.append(field.invalid(f"{path}.successThreshold", threshold, "must be 1"))
    return wrong


def lifecycle(container: Object, grace_seconds: int | None, path: str) -> Errors:
    """Rules for a container's hooks."""
    hooks = container.get("lifecycle")
    if hooks is None:
        return []
    return [
        error
        for key in ("postStart", "preStop")
        if hooks.get(key) is not None
        for error in handler(hooks[key], grace_seconds, f"{path}.lifecycle.{key}")
    ]


def handler(obj: Object, grace_seconds: int | None, path: str) -> Errors:
    """Rules for what a probe or hook does: exactly one of the kinds of handler."""
    present = [key for key in _HANDLERS if obj.get(key) is not None]
    if not present:
        return [field.required(path, "must specify a handler type")]
    first = present[0]
    wrong = _action(first, obj[first], grace_seconds, f"{path}.{first}")
    return wrong + [field.forbidden(f"{path}.{key}", "may not specify more than 1 handler type") for key in present[1:]]


def _action(kind: str, action: Object, grace_seconds: int | None, path: str) -> Errors:
    if kind == "exec":
        return [] if items(action, "command") else [field.required(f"{path}.command")]
    if kind == "httpGet":
        return _http_get(action, path)
    if kind == "tcpSocket":
        return _port(action.get("port", 0), f"{path}.port")
    if kind == "grpc":
        port = action.get("port", 0)
        return [field.invalid(f"{path}.port", port, message) for message in names.port_number(port)]
    seconds = action.get("seconds", 0)
    if grace_seconds is not None and not 0 <= seconds <= grace_seconds:
        detail = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_seconds})"
        return [field.invalid(path, seconds, detail)]
    return []


def _http_get(action: Object, path: str) -> Errors:
    wrong: Errors = []
    if not action.get("path"):
        wrong.append(field.required(f"{path}.path"))
    wrong += _port(action.get("port", 0), f"{path}.port")
    scheme = text(action, "scheme")
    if scheme not in ("HTTP", "HTTPS"):
        wrong.append(field.not_supported(f"{path}.scheme", scheme, ("HTTP", "HTTPS")))
    for header in items(action, "httpHeaders"):
        wrong += named(f"{path}.httpHeaders", text(header, "name"), names.http_header)
    return wrong


def _port(port: int | str, path: str) -> Errors:
    if isinstance(port, str):
        return named(path, port, names.port_name)
    return [field.invalid(path, port, message) for message in names.port_number(port)]
