"""Rules for security contexts of pods and containers."""

from __future__ import annotations

import re

from apilayer.api import field
from apilayer.api.validation import goform
from apilayer.api.validation.common import Errors, Object, indexed, items, part, ranged, supported, text
from apilayer.api.validation.paths import descending_path
from apilayer.api.validation.vocabulary import every, maybe_one_of, required_one_of
from apilayer.api.validation.windows import windows_options

ID_MAX = 2**31 - 1
_SYSCTL = r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL_RE = re.compile(_SYSCTL)
_SYSCTL_MAX = 253
_PROFILE_TYPES = ("Localhost", "RuntimeDefault", "Unconfined")
_MAX_APP_ARMOR = 4095
# Sysctls that belong to a namespace which pods may share with the host.
_NET_SYSCTLS = "net."
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")


_volume_policy = maybe_one_of("fsGroupChangePolicy", "Always", "OnRootMismatch")
_group_policies = every(
    maybe_one_of("supplementalGroupsPolicy", "Merge", "Strict"),
    maybe_one_of("seLinuxChangePolicy", "MountOption", "Recursive"),
)


def pod_security(spec: Object, path: str) -> Errors:
    """Rules for ``spec.securityContext`` and the host namespaces that belong to it."""
    context = spec.get("securityContext")
    if context is None or (not context and not spec.get("shareProcessNamespace")):
        return []
    where = f"{path}.securityContext"
    wrong = ranged(f"{where}.fsGroup", context.get("fsGroup"), 0, ID_MAX)
    wrong += ranged(f"{where}.runAsUser", context.get("runAsUser"), 0, ID_MAX)
    wrong += ranged(f"{where}.runAsGroup", context.get("runAsGroup"), 0, ID_MAX)
    for at, group in indexed(context, "supplementalGroups", where):
        wrong += ranged(at, group, 0, ID_MAX)
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        wrong.append(field.invalid(f"{where}.shareProcessNamespace", True, detail))
    wrong += _sysctls(spec, context, f"{where}.sysctls")
    wrong += _volume_policy(context, where) + _seccomp(context, where)
    wrong += windows_options(context.get("windowsOptions"), f"{where}.windowsOptions") + _app_armor(context, where)
    return wrong + _group_policies(context, where)


def _sysctls(spec: Object, context: Object, path: str) -> Errors:
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
        dotted = name.replace("/", ".")
        for shared, prefixes in (("hostNetwork", _NET_SYSCTLS), ("hostIPC", _IPC_SYSCTLS)):
            if spec.get(shared) and dotted.startswith(prefixes):
                wrong.append(field.invalid(where, name, f"may not be specified when '{shared}' is true"))
        seen.add(name)
    return wrong


def _seccomp(context: Object, path: str) -> Errors:
    profile, where = context.get("seccompProfile"), f"{path}.seccompProfile"
    if profile is None:
        return []
    kind, local = text(profile, "type"), profile.get("localhostProfile")
    check = required_one_of("type", *_PROFILE_TYPES, detail="type is required when seccompProfile is set")
    wrong = check(profile, where)
    where = f"{where}.localhostProfile"
    if kind == "Localhost":
        if local is None:
            return [*wrong, field.required(where, "must be set when seccomp type is Localhost")]
        return wrong + descending_path(local, where)
    if local is not None:
        shown = goform.of(profile, "core/v1.SeccompProfile")
        wrong.append(field.invalid(where, shown, "can only be set when seccomp type is Localhost"))
    return wrong


def _app_armor(context: Object, path: str) -> Errors:
    profile, where = context.get("appArmorProfile"), f"{path}.appArmorProfile"
    if profile is None:
        return []
    kind, local, local_path = text(profile, "type"), profile.get("localhostProfile"), f"{where}.localhostProfile"
    if kind == "Localhost":
        if local is None or not local:
            return [field.required(local_path, "must be set when AppArmor type is Localhost")]
        wrong: Errors = []
        if local.strip() != local:
            wrong.append(field.invalid(local_path, local, "must not be padded with whitespace"))
        if len(local.encode()) > _MAX_APP_ARMOR:
            wrong.append(field.too_long(local_path, "", _MAX_APP_ARMOR))
        return wrong
    if kind in _PROFILE_TYPES:
        detail = "can only be set when AppArmor type is Localhost"
        return [] if local is None else [field.invalid(local_path, local, detail)]
    check = required_one_of("type", *_PROFILE_TYPES, detail="type is required when appArmorProfile is set")
    return check(profile, where)


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
    wrong += _seccomp(context, path)
    if context.get("allowPrivilegeEscalation") is False:
        shown = goform.of(context, "core/v1.SecurityContext")
        head = "cannot set `allowPrivilegeEscalation` to false and"
        if context.get("privileged"):
            wrong.append(field.invalid(path, shown, f"{head} `privileged` to true"))
        if "CAP_SYS_ADMIN" in items(part(context, "capabilities"), "add"):
            wrong.append(field.invalid(path, shown, f"{head} `capabilities.Add` CAP_SYS_ADMIN"))
    wrong += windows_options(context.get("windowsOptions"), f"{path}.windowsOptions")
    return wrong + _app_armor(context, path)
