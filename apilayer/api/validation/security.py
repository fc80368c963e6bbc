"""Rules for security contexts of pods and containers."""

from __future__ import annotations

import re

from apilayer.api import field
from apilayer.api.validation import goform
from apilayer.api.validation.common import Errors, Object, indexed, items, part, ranged, supported, text

ID_MAX = 2**31 - 1
_SYSCTL = r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL_RE = re.compile(_SYSCTL)
_SYSCTL_MAX = 253
_PROFILE_TYPES = ("Localhost", "RuntimeDefault", "Unconfined")
_HOST_PROCESS_NETWORK = "hostNetwork must be true if pod contains any hostProcess containers"


def pod_security(spec: Object, path: str) -> Errors:
    """Rules for ``spec.securityContext`` and the host namespaces that belong to it."""
    context = spec.get("securityContext")
    if context is None:
        return []
    where = f"{path}.securityContext"
    wrong = ranged(f"{where}.fsGroup", context.get("fsGroup"), 0, ID_MAX)
    wrong += ranged(f"{where}.runAsUser", context.get("runAsUser"), 0, ID_MAX)
    wrong += ranged(f"{where}.runAsGroup", context.get("runAsGroup"), 0, ID_MAX)
    for at, group in indexed(context, "supplementalGroups", where):
        wrong += ranged(at, group, 0, ID_MAX)
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        wrong.append(field.invalid(f"{path}.shareProcessNamespace", True, detail))
    wrong += _sysctls(context, f"{where}.sysctls")
    for key, valid in (
        ("fsGroupChangePolicy", ("Always", "OnRootMismatch")),
        ("seLinuxChangePolicy", ("MountOption", "Recursive")),
        ("supplementalGroupsPolicy", ("Merge", "Strict")),
    ):
        if context.get(key) is not None:
            wrong += supported(f"{where}.{key}", context[key], valid)
    wrong += _profiles(context, where)
    return wrong


def _sysctls(context: Object, path: str) -> Errors:
    wrong: Errors = []
    seen: set[str] = set()
    for index, sysctl in enumerate(items(context, "sysctls")):
        where, name = f"{path}[{index}].name", text(sysctl, "name")
        if not name:
            wrong.append(field.required(where))
        elif len(name) > _SYSCTL_MAX or not _SYSCTL_RE.fullmatch(name):
            detail = f"must have at most {_SYSCTL_MAX} characters and match regex ^{_SYSCTL}$"
            wrong.append(field.invalid(where, name, detail))
        elif name in seen:
            wrong.append(field.duplicate(where, name))
        seen.add(name)
    return wrong


def _profiles(context: Object, path: str) -> Errors:
    wrong: Errors = []
    seccomp = context.get("seccompProfile")
    if seccomp is not None:
        wrong += _profile(seccomp, "seccomp", f"{path}.seccompProfile")
    armor = context.get("appArmorProfile")
    if armor is not None:
        wrong += _profile(armor, "AppArmor", f"{path}.appArmorProfile")
    return wrong


def _profile(profile: Object, what: str, path: str) -> Errors:
    kind, local = text(profile, "type"), profile.get("localhostProfile")
    where = f"{path}.localhostProfile"
    if kind == "Localhost":
        if not local:
            return [field.required(where, f"must be set when {what} type is Localhost")]
        if what == "seccomp" and (local.startswith("/") or ".." in local.split("/")):
            detail = "must be a relative path" if local.startswith("/") else "must not contain '..'"
            return [field.invalid(where, local, detail)]
        return []
    wrong: Errors = []
    if local is not None:
        detail = f"can only be set when {what} type is Localhost"
        wrong.append(field.invalid(where, local, detail))
    if not kind:
        wrong.append(field.required(f"{path}.type", f"type is required when {what}Profile is set"))
    else:
        wrong += supported(f"{path}.type", kind, _PROFILE_TYPES)
    return wrong


def container_security(context: Object | None, path: str, *, host_users: bool) -> Errors:
    """Rules for a container's security context."""
    if context is None:
        return []
    wrong = ranged(f"{path}.runAsUser", context.get("runAsUser"), 0, ID_MAX)
    wrong += ranged(f"{path}.runAsGroup", context.get("runAsGroup"), 0, ID_MAX)
    mount = context.get("procMount")
    if mount is not None:
        wrong += supported(f"{path}.procMount", mount, ("Default", "Unmasked"))
        if mount == "Unmasked" and host_users:
            detail = "`hostUsers` must be false to use `Unmasked`"
            wrong.append(field.invalid(f"{path}.procMount", mount, detail))
    wrong += _profiles(context, path)
    if context.get("allowPrivilegeEscalation") is False:
        shown = goform.of(context, "core/v1.SecurityContext")
        head = "cannot set `allowPrivilegeEscalation` to false and"
        if context.get("privileged"):
            wrong.append(field.invalid(path, shown, f"{head} `privileged` to true"))
        if "CAP_SYS_ADMIN" in items(part(context, "capabilities"), "add"):
            wrong.append(field.invalid(path, shown, f"{head} `capabilities.Add` CAP_SYS_ADMIN"))
    return wrong


def host_process(spec: Object, path: str) -> Errors:
    """A pod with a Windows hostProcess container uses the host's network."""
    default = bool(part(part(spec, "securityContext"), "windowsOptions").get("hostProcess"))
    found = [
        bool(part(part(container, "securityContext"), "windowsOptions").get("hostProcess", default))
        for key in ("containers", "initContainers")
        for container in items(spec, key)
    ]
    if not any(found):
        return []
    wrong: Errors = []
    if not all(found):
        detail = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        wrong.append(field.invalid(path, "", detail))
    if not spec.get("hostNetwork"):
        wrong.append(field.invalid(f"{path}.hostNetwork", False, _HOST_PROCESS_NETWORK))
    return wrong
