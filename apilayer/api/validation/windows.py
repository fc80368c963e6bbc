"""Rules for what only pods on Windows have, and for what they cannot have."""

from __future__ import annotations

import re

from apilayer.api import field, names
from apilayer.api.validation.common import Errors, Object, named, part, supported, text
from apilayer.api.validation.pod_annotations import containers_of

_MAX_SPEC_KIB = 64
_MAX_DOMAIN, _MAX_USER = 256, 104
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NETBIOS = re.compile(r'[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}')
_DNS_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_DNS = re.compile(rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*")
_FORBIDDEN_IN_USER = re.compile(r'["/\\:;|=,+*?<>@\[\]]')
_ONLY_DOTS = re.compile(r"[. ]+")
_FORBIDDEN_TEXT = 'cannot contain the following characters: "/\\:;|=,+*?<>@[]'
_HOST_PROCESS_NETWORK = "hostNetwork must be true if pod contains any hostProcess containers"
_ALL_HOST_PROCESS = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
# What a pod on Windows cannot have, in the order of the errors: in its spec, or in its security context.
_NOT_IN_POD = (
    "securityContext.appArmorProfile",
    "securityContext.seLinuxOptions",
    "hostUsers",
    "hostPID",
    "hostIPC",
    "securityContext.seccompProfile",
    "securityContext.fsGroup",
    "securityContext.fsGroupChangePolicy",
    "securityContext.sysctls",
    "shareProcessNamespace",
    "securityContext.runAsUser",
    "securityContext.runAsGroup",
    "securityContext.supplementalGroups",
    "securityContext.supplementalGroupsPolicy",
    "securityContext.seLinuxChangePolicy",
)
_NOT_IN_CONTAINER = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
)


def windows_options(options: Object | None, path: str) -> Errors:
    """Rules for ``windowsOptions`` of a pod or of a container."""
    if options is None:
        return []
    wrong: Errors = []
    name, spec, user = (options.get(key) for key in ("gmsaCredentialSpecName", "gmsaCredentialSpec", "runAsUserName"))
    if name is not None:
        wrong += named(f"{path}.gmsaCredentialSpecName", name, names.dns_subdomain)
    if spec is not None:
        where = f"{path}.gmsaCredentialSpec"
        if not spec:
            wrong.append(field.invalid(where, spec, "gmsaCredentialSpec cannot be an empty string"))
        elif len(spec.encode()) > _MAX_SPEC_KIB * 1024:
            wrong.append(field.invalid(where, spec, f"gmsaCredentialSpec size must be under {_MAX_SPEC_KIB} KiB"))
    if user is not None:
        wrong += [
            field.invalid(f"{path}.runAsUserName", user, f"runAsUserName{message}") for message in _user_name(user)
        ]
    return wrong


def _user_name(text_: str) -> list[str]:
    """What is wrong with a name such as ``DOMAIN\\user``, without the words that each message begins with."""
    if not text_:
        return [" cannot be an empty string"]
    if _CONTROL.search(text_):
        return [" cannot contain control characters"]
    *domains, user = text_.split("\\")
    if len(domains) > 1:
        return [" cannot contain more than one backslash"]
    wrong = []
    for domain in domains:
        if len(domain) >= _MAX_DOMAIN:
            wrong.append(f"'s Domain length must be under {_MAX_DOMAIN} characters")
        if not _NETBIOS.fullmatch(domain) and not _DNS.fullmatch(domain):
            wrong.append("'s Domain doesn't match the NetBios nor the DNS format")
    if not user:
        wrong.append("'s User cannot be empty")
    elif len(user) > _MAX_USER:
        wrong.append(f"'s User length must not be longer than {_MAX_USER} characters")
    if _ONLY_DOTS.fullmatch(user):
        wrong.append("'s User cannot contain only periods or spaces")
    if _FORBIDDEN_IN_USER.search(user):
        wrong.append(f"'s User {_FORBIDDEN_TEXT}")
    return wrong


def host_process(spec: Object, path: str) -> Errors:
    """A pod with a hostProcess container has no others, and uses the host's network."""
    of_pod = part(part(spec, "securityContext"), "windowsOptions").get("hostProcess")
    found = containers_of(spec, path)
    if of_pod is None and not any(part(container, "securityContext").get("windowsOptions") for _, container in found):
        return []
    own = [part(part(container, "securityContext"), "windowsOptions").get("hostProcess") for _, container in found]
    detail = f"pod hostProcess value must be identical if both are specified, was {'true' if of_pod else 'false'}"
    wrong = [
        field.invalid(f"{where}.securityContext.windowsOptions.hostProcess", value, detail)
        for (where, _), value in zip(found, own, strict=True)
        if of_pod is not None and value is not None and value != of_pod
    ]
    are = [bool(of_pod if value is None else value) for value in own]
    if not any(are):
        return wrong
    if not all(are):
        wrong.append(field.invalid(path, "", _ALL_HOST_PROCESS))
    if not spec.get("hostNetwork"):
        wrong.append(field.invalid(f"{path}.hostNetwork", False, _HOST_PROCESS_NETWORK))
    return wrong


def operating_system(spec: Object, path: str) -> Errors:
    """A pod that says for which system it is asks for nothing that the system does not have."""
    os = spec.get("os")
    if os is None:
        return []
    name = text(os, "name")
    if not name:
        return [field.required(f"{path}.os.name", "cannot be empty")]
    wrong = supported(f"{path}.os", name, ("linux", "windows"))
    if wrong:
        return wrong
    found = containers_of(spec, path)
    if name == "linux":
        return [
            field.forbidden(f"{where}.securityContext.windowsOptions", "windows options cannot be set for a linux pod")
            for where, holder in [(path, spec), *found]
            if part(holder, "securityContext").get("windowsOptions") is not None
        ]
    keys = [f"{path}.{key}" for key in _NOT_IN_POD if _is_set(spec, key)]
    keys += [
        f"{where}.securityContext.{key}"
        for where, container in found
        for key in _NOT_IN_CONTAINER
        if part(container, "securityContext").get(key) is not None
    ]
    return [field.forbidden(key, "cannot be set for a windows pod") for key in keys]


def _is_set(spec: Object, key: str) -> bool:
    holder, _, last = key.rpartition(".")
    value = (part(spec, holder) if holder else spec).get(last)
    return bool(value) if last in ("hostPID", "hostIPC") else value is not None
