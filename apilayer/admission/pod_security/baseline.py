"""The checks of the baseline level: no way known to take over the node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.admission.pod_security.finding import (
    Finding,
    context_of,
    counted,
    in_own_user_namespace,
    named,
    quoted,
    setters,
)
from apilayer.admission.pods import containers
from apilayer.api.gotext import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

Object = dict[str, Any]

APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"
SECCOMP_POD_ANNOTATION = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_ANNOTATION = "container.seccomp.security.alpha.kubernetes.io/"
CONFINED = ("RuntimeDefault", "Localhost")
"""Profiles that confine a process."""
_CAPABILITIES = frozenset(
    ("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE")
    + ("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT")
)
_SELINUX_TYPES = ("", "container_t", "container_init_t", "container_kvm_t")
_SYSCTLS_0 = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
)
_SYSCTLS_27 = (*_SYSCTLS_0, "net.ipv4.ip_local_reserved_ports")
_SYSCTLS_29 = (
    *_SYSCTLS_27,
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
)
_SYSCTLS_32 = (*_SYSCTLS_29, "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem")


def app_armor(metadata: Object, spec: Object) -> Finding | None:
    """Profiles may be set to none but those that confine."""
    values: set[str] = set()

    def breaks(context: Object) -> bool:
        kind = (context.get("appArmorProfile") or {}).get("type") or ""
        if kind in ("", *CONFINED):
            return False
        values.add(kind)
        return True

    who = setters(spec, breaks)
    annotations = sorted(
        f"{key}={quote(value)}"
        for key, value in (metadata.get("annotations") or {}).items()
        if key.startswith(APPARMOR_ANNOTATION) and not _app_armor_value(value)
    )
    if annotations:
        who.append("annotation" if len(annotations) == 1 else "annotations")
    if not who:
        return None
    bad = [*sorted(values), *annotations]
    reason = "forbidden AppArmor profile" if len(bad) == 1 else "forbidden AppArmor profiles"
    return Finding(reason, f"{' and '.join(who)} must not set AppArmor profile type to {quoted(bad)}")


def _app_armor_value(value: str) -> bool:
    return value in ("", "runtime/default") or value.startswith("localhost/")


def capabilities(metadata: Object, spec: Object) -> Finding | None:
    """Only capabilities of the default set may be added."""
    del metadata
    extra: set[str] = set()

    def breaks(container: Object) -> bool:
        bad = set((context_of(container).get("capabilities") or {}).get("add") or ()) - _CAPABILITIES
        extra.update(bad)
        return bool(bad)

    who = named(spec, breaks)
    if not who:
        return None
    listed = quoted(sorted(extra))
    detail = f"{counted('container', who)} must not include {listed} in securityContext.capabilities.add"
    return Finding("non-default capabilities", detail)


def host_namespaces(metadata: Object, spec: Object) -> Finding | None:
    """Nothing of the node's is shared."""
    del metadata
    shared = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    return Finding("host namespaces", ", ".join(shared)) if shared else None


def host_path_volumes(metadata: Object, spec: Object) -> Finding | None:
    """No directory of the node is mounted."""
    del metadata
    names = [volume.get("name") or "" for volume in spec.get("volumes") or () if volume.get("hostPath") is not None]
    return Finding("hostPath volumes", counted("volume", names)) if names else None


def host_ports(metadata: Object, spec: Object) -> Finding | None:
    """No port of the node is taken."""
    del metadata
    taken: set[str] = set()

    def breaks(container: Object) -> bool:
        ports = [str(port["hostPort"]) for port in container.get("ports") or () if port.get("hostPort")]
        taken.update(ports)
        return bool(ports)

    who = named(spec, breaks)
    if not who:
        return None
    verb, noun = "uses" if len(who) == 1 else "use", "hostPort" if len(taken) == 1 else "hostPorts"
    return Finding("hostPort", f"{counted('container', who)} {verb} {noun} {', '.join(sorted(taken))}")


def handler_hosts(metadata: Object, spec: Object) -> Finding | None:
    """Probes and lifecycle handlers reach the pod and no other host."""
    del metadata
    hosts: set[str] = set()

    def breaks(container: Object) -> bool:
        found = set(_hosts(container))
        hosts.update(found)
        return bool(found)

    who = sorted(set(named(spec, breaks)))
    if not who:
        return None
    verb = "uses" if len(who) == 1 else "use"
    noun = "probe or lifecycle host" if len(hosts) == 1 else "probe or lifecycle hosts"
    listed = quoted(sorted(hosts))
    return Finding("probe or lifecycle host", f"{counted('container', who)} {verb} {noun} {listed}")


def _hosts(container: Object) -> Iterator[str]:
    lifecycle = container.get("lifecycle") or {}
    handlers = [container.get(name) for name in ("livenessProbe", "readinessProbe", "startupProbe")]
    for handler in (*handlers, lifecycle.get("postStart"), lifecycle.get("preStop")):
        for name in ("httpGet", "tcpSocket"):
            host = ((handler or {}).get(name) or {}).get("host")
            if host:
                yield host


def privileged(metadata: Object, spec: Object) -> Finding | None:
    """No container is privileged."""
    del metadata
    who = named(spec, lambda container: bool(context_of(container).get("privileged")))
    if not who:
        return None
    return Finding("privileged", f"{counted('container', who)} must not set securityContext.privileged=true")


def proc_mount(metadata: Object, spec: Object) -> Finding | None:
    """/proc stays masked."""
    del metadata
    kinds: set[str] = set()

    def breaks(container: Object) -> bool:
        kind = context_of(container).get("procMount")
        if kind in (None, "Default"):
            return False
        kinds.add(kind)
        return True

    who = named(spec, breaks)
    if not who:
        return None
    detail = f"{counted('container', who)} must not set securityContext.procMount to {quoted(sorted(kinds))}"
    return Finding("procMount", detail)


def proc_mount_35(metadata: Object, spec: Object) -> Finding | None:
    """As `proc_mount`; in a user namespace of its own the pod may see /proc."""
    return None if in_own_user_namespace(spec) else proc_mount(metadata, spec)


def selinux(metadata: Object, spec: Object) -> Finding | None:
    """SELinux types are those of containers, users and roles are not set."""
    del metadata
    return _selinux(spec, _SELINUX_TYPES)


def selinux_31(metadata: Object, spec: Object) -> Finding | None:
    """As `selinux`, with the type of container engines."""
    del metadata
    return _selinux(spec, (*_SELINUX_TYPES, "container_engine_t"))


def _selinux(spec: Object, allowed: tuple[str, ...]) -> Finding | None:
    types: set[str] = set()
    also: set[str] = set()

    def breaks(context: Object) -> bool:
        options = context.get("seLinuxOptions") or {}
        kind = options.get("type") or ""
        if kind not in allowed:
            types.add(kind)
        present = [name for name in ("user", "role") if options.get(name)]
        also.update(present)
        return kind not in allowed or bool(present)

    who = setters(spec, breaks)
    if not who:
        return None
    bad = [counted("type", sorted(types))] if types else []
    bad += [f"{name} may not be set" for name in ("user", "role") if name in also]
    detail = f"{' and '.join(who)} set forbidden securityContext.seLinuxOptions: {'; '.join(bad)}"
    return Finding("seLinuxOptions", detail)


def seccomp_annotations(metadata: Object, spec: Object) -> Finding | None:
    """Before there were fields: annotations name profiles that confine."""
    annotations = metadata.get("annotations") or {}
    keys = [SECCOMP_POD_ANNOTATION, *(f"{SECCOMP_ANNOTATION}{container.get('name')}" for container in containers(spec))]
    bad = sorted({f"{key}={quote(annotations[key])}" for key in keys if not _seccomp_value(annotations.get(key))})
    if not bad:
        return None
    noun = "annotation" if len(bad) == 1 else "annotations"
    return Finding("seccompProfile", f"forbidden {noun} {', '.join(bad)}")


def _seccomp_value(value: str | None) -> bool:
    return value in (None, "runtime/default", "docker/default") or str(value).startswith("localhost/")


def seccomp(metadata: Object, spec: Object) -> Finding | None:
    """Profiles may be set to none but those that confine."""
    del metadata
    values: set[str] = set()

    def breaks(context: Object) -> bool:
        profile = context.get("seccompProfile")
        if profile is None or profile.get("type") in CONFINED:
            return False
        values.add(profile.get("type") or "")
        return True

    who = setters(spec, breaks)
    if not who:
        return None
    listed = quoted(sorted(values))
    return Finding(
        "seccompProfile", f"{' and '.join(who)} must not set securityContext.seccompProfile.type to {listed}"
    )


def _sysctls(spec: Object, allowed: tuple[str, ...]) -> Finding | None:
    given = [item.get("name") or "" for item in context_of(spec).get("sysctls") or ()]
    bad = [name for name in given if name not in allowed]
    return Finding("forbidden sysctls", ", ".join(bad)) if bad else None


def sysctls(metadata: Object, spec: Object) -> Finding | None:
    """Only sysctls that concern the pod alone."""
    del metadata
    return _sysctls(spec, _SYSCTLS_0)


def sysctls_27(metadata: Object, spec: Object) -> Finding | None:
    """As `sysctls`, with reserved ports."""
    del metadata
    return _sysctls(spec, _SYSCTLS_27)


def sysctls_29(metadata: Object, spec: Object) -> Finding | None:
    """As `sysctls_27`, with keepalive and timeouts of TCP."""
    del metadata
    return _sysctls(spec, _SYSCTLS_29)


def sysctls_32(metadata: Object, spec: Object) -> Finding | None:
    """As `sysctls_29`, with buffers of TCP."""
    del metadata
    return _sysctls(spec, _SYSCTLS_32)


def windows_host_process(metadata: Object, spec: Object) -> Finding | None:
    """No process of the node on Windows."""
    del metadata
    who = setters(spec, lambda context: bool((context.get("windowsOptions") or {}).get("hostProcess")))
    if not who:
        return None
    return Finding("hostProcess", f"{' and '.join(who)} must not set securityContext.windowsOptions.hostProcess=true")
