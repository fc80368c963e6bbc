"""The checks of the restricted level: what hardening asks for."""

from __future__ import annotations

from typing import Any

from apilayer.admission.pod_security import baseline
from apilayer.admission.pod_security.finding import (
    Finding,
    context_of,
    counted,
    in_own_user_namespace,
    named,
    quoted,
    setters,
)

Object = dict[str, Any]

_VOLUMES = frozenset(
    ("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected")
    + ("secret",)
)


def _on_windows(spec: Object) -> bool:
    return (spec.get("os") or {}).get("name") == "windows"


def privilege_escalation(metadata: Object, spec: Object) -> Finding | None:
    """No process gets more rights than its parent."""
    del metadata
    who = named(spec, lambda container: context_of(container).get("allowPrivilegeEscalation") is not False)
    if not who:
        return None
    detail = f"{counted('container', who)} must set securityContext.allowPrivilegeEscalation=false"
    return Finding("allowPrivilegeEscalation != false", detail)


def privilege_escalation_25(metadata: Object, spec: Object) -> Finding | None:
    """As `privilege_escalation`; Windows has no such thing."""
    return None if _on_windows(spec) else privilege_escalation(metadata, spec)


def capabilities(metadata: Object, spec: Object) -> Finding | None:
    """All capabilities are dropped; only that for low ports may be added again."""
    del metadata
    extra: set[str] = set()

    def of(container: Object) -> Object:
        return context_of(container).get("capabilities") or {}

    def adds(container: Object) -> bool:
        bad = set(of(container).get("add") or ()) - {"NET_BIND_SERVICE"}
        extra.update(bad)
        return bool(bad)

    keeping = named(spec, lambda container: "ALL" not in (of(container).get("drop") or ()))
    adding = named(spec, adds)
    details = []
    if keeping:
        details.append(f'{counted("container", keeping)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        listed = quoted(sorted(extra))
        details.append(f"{counted('container', adding)} must not include {listed} in securityContext.capabilities.add")
    return Finding("unrestricted capabilities", "; ".join(details)) if details else None


def capabilities_25(metadata: Object, spec: Object) -> Finding | None:
    """As `capabilities`; Windows has none."""
    return None if _on_windows(spec) else capabilities(metadata, spec)


def volumes(metadata: Object, spec: Object) -> Finding | None:
    """Storage comes from the cluster, not from the node."""
    del metadata
    names: list[str] = []
    kinds: set[str] = set()
    for volume in spec.get("volumes") or ():
        present = sorted(key for key, value in volume.items() if key != "name" and value is not None)
        if not _VOLUMES.intersection(present):
            names.append(volume.get("name") or "")
            kinds.update(present or ["unknown"])
    if not names:
        return None
    verb = "uses" if len(names) == 1 else "use"
    noun = "restricted volume type" if len(kinds) == 1 else "restricted volume types"
    return Finding("restricted volume types", f"{counted('volume', names)} {verb} {noun} {quoted(sorted(kinds))}")


def run_as_non_root(metadata: Object, spec: Object) -> Finding | None:
    """Containers must not be root, by their own context or by the pod's."""
    del metadata
    reason = "runAsNonRoot != true"
    who = setters(spec, lambda context: context.get("runAsNonRoot") is False)
    if who:
        return Finding(reason, f"{' and '.join(who)} must not set securityContext.runAsNonRoot=false")
    if context_of(spec).get("runAsNonRoot"):
        return None
    silent = named(spec, lambda container: context_of(container).get("runAsNonRoot") is None)
    if not silent:
        return None
    return Finding(reason, f"pod or {counted('container', silent)} must set securityContext.runAsNonRoot=true")


def run_as_non_root_35(metadata: Object, spec: Object) -> Finding | None:
    """As `run_as_non_root`; in a user namespace of its own, root is nobody."""
    return None if in_own_user_namespace(spec) else run_as_non_root(metadata, spec)


def run_as_user(metadata: Object, spec: Object) -> Finding | None:
    """Nobody is user 0."""
    del metadata
    who = setters(spec, lambda context: context.get("runAsUser") == 0)
    return Finding("runAsUser=0", f"{' and '.join(who)} must not set runAsUser=0") if who else None


def run_as_user_35(metadata: Object, spec: Object) -> Finding | None:
    """As `run_as_user`; in a user namespace of its own, root is nobody."""
    return None if in_own_user_namespace(spec) else run_as_user(metadata, spec)


def seccomp(metadata: Object, spec: Object) -> Finding | None:
    """A profile that confines is set, by each container or by the pod."""
    explicit = baseline.seccomp(metadata, spec)
    if explicit is not None:
        return explicit
    if context_of(spec).get("seccompProfile") is not None:
        return None
    silent = named(spec, lambda container: context_of(container).get("seccompProfile") is None)
    if not silent:
        return None
    must = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return Finding("seccompProfile", f"pod or {counted('container', silent)} {must}")


def seccomp_25(metadata: Object, spec: Object) -> Finding | None:
    """As `seccomp`; Windows has none."""
    return None if _on_windows(spec) else seccomp(metadata, spec)
