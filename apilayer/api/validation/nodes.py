"""Rules for Nodes."""

from __future__ import annotations

import attrs

from apilayer.api import field, names, quantity
from apilayer.api.validation import goform
from apilayer.api.validation.common import NOT_NEGATIVE, Errors, Object, indexed, items, named, part, text
from apilayer.api.validation.vocabulary import required_one_of

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_FROM_EMPTY = 'node updates may not change {} except from "" to valid'
_FAMILIES = 2


def _taints(obj: Object) -> Errors:
    """Taints; Kubernetes says that they are in the metadata."""
    wrong: Errors = []
    seen: set[tuple[str, str]] = set()
    for where, taint in indexed(part(obj, "spec"), "taints", "metadata"):
        key, effect = text(taint, "key"), text(taint, "effect")
        wrong += named(f"{where}.key", key, names.qualified_name)
        wrong += named(f"{where}.value", text(taint, "value"), names.label_value)
        wrong += required_one_of("effect", *_EFFECTS)(taint, where)
        if (key, effect) in seen:
            error = field.duplicate(where, goform.of(taint, "core/v1.Taint"))
            message = f"{error.message}: taints must be unique by key and effect pair"
            wrong.append(attrs.evolve(error, message=message))
        seen.add((key, effect))
    return wrong


def _resources(obj: Object) -> Errors:
    status = part(obj, "status")
    return [
        field.invalid(f"status.{key}.{resource}", amount, NOT_NEGATIVE)
        for key in ("capacity", "allocatable")
        for resource, amount in part(status, key).items()
        if quantity.parse(amount).amount < 0
    ]


def _ranges(obj: Object) -> Errors:
    ranges, where = items(part(obj, "spec"), "podCIDRs"), "spec.podCIDRs"
    wrong = [error for index, value in enumerate(ranges) for error in named(f"{where}[{index}]", value, names.cidr)]
    families = [":" in value for value in ranges]
    if len(ranges) > _FAMILIES or len(set(families)) < len(families):
        wrong.append(field.invalid(where, ranges, "may specify no more than one CIDR for each IP family"))
    return wrong


def node(obj: Object) -> Errors:
    """Rules for a Node."""
    return _taints(obj) + _resources(obj) + _ranges(obj)


def node_update(new: Object, old: Object) -> Errors:
    """What a Node was given once it keeps."""
    after, before = part(new, "spec"), part(old, "spec")
    wrong = _resources(new)
    addresses = items(part(new, "status"), "addresses")
    wrong += [
        field.duplicate(f"status.addresses[{index}]", goform.of(address, "core/v1.NodeAddress"))
        for index, address in enumerate(addresses)
        if address in addresses[:index]
    ]
    for key, shown in (("podCIDRs", "podCIDR"), ("providerID", "providerID")):
        if before.get(key) and after.get(key) != before.get(key):
            wrong.append(field.forbidden(f"spec.{key}", _FROM_EMPTY.format(shown)))
    wrong += _taints(new)
    if after.get("externalID") != before.get("externalID"):
        wrong.append(field.forbidden("spec.externalID", "may not be updated"))
    return wrong
