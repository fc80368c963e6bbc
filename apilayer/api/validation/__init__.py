"""Rules for objects of each kind: what is wrong with a new object, or with a change.

Objects come in canonical form with defaults applied. Rules stand in tables and small functions by schema
part; `kinds` says which apply to which kind. Errors come in the order of kube-apiserver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.api.validation.common import part
from apilayer.api.validation.kinds import rules_of
from apilayer.api.validation.metadata import (
    validate_finalizers,
    validate_labels,
    validate_meta,
    validate_meta_update,
    validate_shared,
)

if TYPE_CHECKING:
    from apilayer.api.resources import Resource
    from apilayer.api.validation.common import Errors, Object

__all__ = ["validate_create", "validate_update"]


def validate_create(resource: Resource, obj: Object) -> Errors:
    """What is wrong with a new object; its name and namespace must be set already."""
    rules = rules_of(resource.group_resource)
    meta = part(obj, "metadata")
    wrong: Errors = []
    if rules.meta_first:
        wrong += validate_meta(meta, namespaced=resource.namespaced, name_rule=rules.name)
    for rule in rules.every + rules.create:
        wrong += rule(obj)
    if not rules.meta_first and not wrong:
        wrong += validate_meta(meta, namespaced=resource.namespaced, name_rule=rules.name)
    return wrong


def validate_update(resource: Resource, new: Object, old: Object, subresource: str = "") -> Errors:
    """What is wrong with a change from `old` to `new`, made directly or through a subresource.

    Errors of metadata come more than once, as from kube-apiserver: its generic checks and those of the kind
    overlap.
    """
    rules = rules_of(resource.group_resource)
    if subresource == "scale":  # changes the object itself, and has to keep to all its rules
        subresource = ""
    meta = part(new, "metadata")
    whole = not subresource and rules.meta_on_update
    shared = validate_shared(meta) if whole else None
    wrong = validate_meta_update(meta, part(old, "metadata"), shared=shared)
    if rules.meta_first:
        wrong += wrong
        wrong += validate_finalizers(meta)
    if not subresource:
        if whole:
            wrong += validate_meta(meta, namespaced=resource.namespaced, name_rule=rules.name, shared=shared)
        if resource.kind == "Pod":
            wrong += validate_labels(meta.get("labels") or {}, "metadata.labels")
        for rule in rules.every:
            wrong += rule(new)
    for change in rules.changes(subresource):
        wrong += change(new, old)
    return wrong
