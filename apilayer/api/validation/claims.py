"""Rules for PersistentVolumeClaims, their own and those that pods and sets make."""

from __future__ import annotations

from apilayer.api import field, names, quantity
from apilayer.api.validation.common import Errors, Object, items, part, supported
from apilayer.api.validation.difference import difference
from apilayer.api.validation.vocabulary import (
    every,
    given,
    maybe_one_of,
    name,
    required,
    selector,
)

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")
_FIXED = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"


def access_modes(spec: Object, path: str, detail: str = "") -> Errors:
    """Some modes are given, each a known one; a volume for one pod is for that alone."""
    modes, where = items(spec, "accessModes"), f"{path}.accessModes"
    wrong: Errors = [] if modes else [field.required(where, detail)]
    for mode in modes:
        wrong += supported(where, mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and len(set(modes)) > 1:
        wrong.append(field.forbidden(where, "may not use ReadWriteOncePod with other access modes"))
    return wrong


def _storage(spec: Object, path: str) -> Errors:
    amount, where = part(part(spec, "resources"), "requests").get("storage"), f"{path}.resources[storage]"
    if amount is None:
        return [field.required(where)]
    if quantity.parse(amount).amount <= 0:
        return [field.invalid(where, amount, "must be greater than zero")]
    return []


def _needs_group(source: Object, path: str) -> Errors:
    """Only a claim can be meant without an API group."""
    if source.get("apiGroup") or source.get("kind") == "PersistentVolumeClaim":
        return []
    detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
    return [field.invalid(path, source.get("kind", ""), detail)]


_source = every(required("name", "kind"), _needs_group)
_more = every(
    name("storageClassName", names.dns_subdomain),
    maybe_one_of("volumeMode", *VOLUME_MODES),
    given("dataSource", _source),
    given("dataSourceRef", _source),
    name("volumeAttributesClassName", names.dns_subdomain),
)


def claim_spec(spec: Object, path: str) -> Errors:
    """Rules for the spec of a claim."""
    wrong: Errors = []
    if not items(spec, "accessModes"):
        wrong += access_modes(spec, path, "at least 1 access mode is required")
    wrong += selector("selector")(spec, path)
    if items(spec, "accessModes"):
        wrong += access_modes(spec, path)
    return wrong + _storage(spec, path) + _more(spec, path)


def claim(obj: Object) -> Errors:
    """Rules for a claim."""
    return claim_spec(part(obj, "spec"), "spec")


def claim_update(new: Object, old: Object) -> Errors:
    """A claim is bound once; apart from that only its size, and the class of its attributes, change when bound."""
    after, before = part(new, "spec"), part(old, "spec")
    bound = part(new, "status").get("phase") == "Bound"
    wrong: Errors = []
    kept = dict(after)
    if not before.get("volumeName"):
        _restore(kept, before, "volumeName")
    if bound:
        _restore(kept, before, "volumeAttributesClassName")
        requests = {**part(part(after, "resources"), "requests")}
        _restore(requests, part(part(before, "resources"), "requests"), "storage")
        kept["resources"] = {**part(after, "resources"), "requests": requests}
    if kept != before:
        detail = f"{_FIXED}\n{difference(kept, before, 'core/v1.PersistentVolumeClaimSpec')}"
        wrong.append(field.forbidden("spec", detail))
    wrong += _not_below_capacity(new, old)
    if after.get("volumeMode") != before.get("volumeMode"):
        wrong.append(field.invalid("volumeMode", after.get("volumeMode"), "field is immutable"))
    if before.get("volumeAttributesClassName") is not None and after.get("volumeAttributesClassName") is None:
        detail = "update from non-nil value to nil is forbidden"
        wrong.append(field.forbidden("spec.volumeAttributesClassName", detail))
    return wrong


def _restore(target: Object, source: Object, key: str) -> None:
    if key in source:
        target[key] = source[key]
    else:
        target.pop(key, None)


def _not_below_capacity(new: Object, old: Object) -> Errors:
    wanted, had, holds = (
        quantity.parse(amounts.get("storage", "0")).amount
        for amounts in (
            part(part(part(new, "spec"), "resources"), "requests"),
            part(part(part(old, "spec"), "resources"), "requests"),
            part(part(old, "status"), "capacity"),
        )
    )
    if wanted >= had or wanted > holds:
        return []
    return [field.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")]
