"""Rules for annotations of pods that Kubernetes itself reads, most of them older than the fields that replaced them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from apilayer.api import field
from apilayer.api.gotext import quote
from apilayer.api.validation.common import Errors, Object, indexed, part, text
from apilayer.api.validation.paths import descending_path

if TYPE_CHECKING:
    from collections.abc import Mapping

MIRROR = "kubernetes.io/config.mirror"
SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
APP_ARMOR_CONTAINER = "container.apparmor.security.beta.kubernetes.io/"
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_WHERE = "metadata.annotations"
_COST = re.compile(r"0|-?[1-9][0-9]*")
_INT32 = 2**31
_LOCALHOST = "localhost/"
_SECCOMP_NAMES: Mapping[str, tuple[str, ...]] = {
    "Unconfined": ("unconfined",),
    "RuntimeDefault": ("runtime/default", "docker/default"),
}
_APP_ARMOR_NAMES: Mapping[str, tuple[str, ...]] = {
    "Unconfined": ("unconfined",),
    "RuntimeDefault": ("runtime/default",),
}


def containers_of(spec: Object, path: str = "spec") -> list[tuple[str, Object]]:
    """Path and value of every container of a pod: initial, regular, ephemeral."""
    keys = ("initContainers", "containers", "ephemeralContainers")
    return [found for key in keys if spec.get(key) for found in indexed(spec, key, path)]


def _annotations(pod: Object) -> dict[str, str]:
    return part(part(pod, "metadata"), "annotations")


def pod_annotations(pod: Object) -> Errors:
    """Rules that hold for a new pod, and for any later one."""
    notes, spec = _annotations(pod), part(pod, "spec")
    if not notes:
        return []
    wrong: Errors = []
    if MIRROR in notes and not spec.get("nodeName"):
        detail = "must set spec.nodeName if mirror pod annotation is set"
        wrong.append(field.invalid(f"{_WHERE}[{MIRROR}]", notes[MIRROR], detail))
    cost = notes.get(_DELETION_COST)
    if cost is not None and not (_COST.fullmatch(cost) and -_INT32 <= int(cost) < _INT32):
        wrong.append(field.invalid(f"{_WHERE}[{_DELETION_COST}]", cost, "must be a 32bit integer"))
    for key, value in notes.items():
        if key == SECCOMP_POD or key.startswith(SECCOMP_CONTAINER):
            wrong += _seccomp(value, f"{_WHERE}.{key}")
    known = {text(container, "name") for _, container in containers_of(spec)}
    for key, value in notes.items():
        if not key.startswith(APP_ARMOR_CONTAINER):
            continue
        where, name = f"{_WHERE}[{key}]", key.removeprefix(APP_ARMOR_CONTAINER)
        if name not in known:
            wrong.append(field.invalid(where, name, "container not found"))
        if value not in ("", "runtime/default", "unconfined") and not value.startswith(_LOCALHOST):
            wrong.append(field.invalid(where, value, f"invalid AppArmor profile name: {quote(value)}"))
    return wrong


def _seccomp(value: str, path: str) -> Errors:
    if value.startswith(_LOCALHOST):
        return descending_path(value.removeprefix(_LOCALHOST), path)
    known = any(value in names for names in _SECCOMP_NAMES.values())
    return [] if known else [field.invalid(path, value, "must be a valid seccomp profile")]


def annotations_match(pod: Object) -> Errors:
    """Where a new pod has an annotation and the field that replaced it, both say the same."""
    notes, spec = _annotations(pod), part(pod, "spec")
    if not notes:
        return []
    context = part(spec, "securityContext")
    profile = context.get("seccompProfile")
    wrong = _same(notes.get(SECCOMP_POD), profile, "seccomp", _SECCOMP_NAMES, "spec.securityContext.seccompProfile")
    for where, container in containers_of(spec):
        profile = part(container, "securityContext").get("seccompProfile")
        note = notes.get(SECCOMP_CONTAINER + text(container, "name"))
        wrong += _same(note, profile, "seccomp", _SECCOMP_NAMES, f"{where}.securityContext.seccompProfile")
    if part(spec, "os").get("name") == "windows":
        return wrong
    for where, container in containers_of(spec):
        own = part(container, "securityContext").get("appArmorProfile")
        profile = own if own is not None else context.get("appArmorProfile")
        note = notes.get(APP_ARMOR_CONTAINER + text(container, "name"))
        wrong += _same(note, profile, "apparmor", _APP_ARMOR_NAMES, f"{where}.securityContext.appArmorProfile")
    return wrong


def _same(
    note: str | None, profile: Object | None, what: str, names: Mapping[str, tuple[str, ...]], path: str
) -> Errors:
    if note is None or profile is None:
        return []
    kind = text(profile, "type")
    if kind == "Localhost" and note.startswith(_LOCALHOST):
        if note.removeprefix(_LOCALHOST) == profile.get("localhostProfile"):
            return []
        return [field.forbidden(f"{path}.localhostProfile", f"{what} profile in annotation and field must match")]
    if kind != "Localhost" and note in names.get(kind, (note,)):
        return []
    return [field.forbidden(f"{path}.type", f"{what} type in annotation and field must match")]


def annotations_update(new: Object, old: Object) -> Errors:
    """What says that a pod is a mirror of a static one, and AppArmor annotations, never change."""
    after, before = _annotations(new), _annotations(old)
    fixed = [key for key in (*before, *after) if key == MIRROR or key.startswith(APP_ARMOR_CONTAINER)]
    wrong: Errors = []
    for key in dict.fromkeys(fixed):
        what = "mirror pod annotation" if key == MIRROR else "AppArmor annotations"
        if key not in before:
            wrong.append(field.forbidden(f"{_WHERE}[{key}]", f"may not add {what}"))
        elif after.get(key) != before[key]:
            wrong.append(field.forbidden(f"{_WHERE}[{key}]", f"may not remove or update {what}"))
    return wrong + pod_annotations(new)
