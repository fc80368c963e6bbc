"""Rules for ``metadata``: names, labels, annotations, owners, finalizers, and what may never change.

Source: apimachinery's ``api/validation/objectmeta.go`` and the core group's additions for finalizers.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from apilayer.api import field, names
from apilayer.api.gotext import string_slice
from apilayer.api.validation.common import Errors, Object, immutable, items, named, non_negative, part, text

if TYPE_CHECKING:
    from collections.abc import Mapping

STANDARD_FINALIZERS = frozenset({"kubernetes", "orphan", "foregroundDeletion"})
_NOT_QUALIFIED = "name is neither a standard finalizer name nor is it fully qualified"
MAX_KNOWN_LABEL = 256
"""Longer ones, key and value together, are looked at each time."""
_SHARED = ("labels", "annotations", "ownerReferences", "managedFields")
_IMMUTABLE = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


def validate_meta(
    meta: Object,
    *,
    namespaced: bool,
    name_rule: names.NameRule,
    path: str = "metadata",
    shared: Errors | None = None,
) -> Errors:
    """Rules for the metadata of any object, new or changed; `shared` is what `validate_shared` has found already."""
    wrong: Errors = []
    prefix = text(meta, "generateName")
    if prefix:
        wrong += [
            field.invalid(f"{path}.generateName", prefix, message) for message in name_rule(names.for_prefix(prefix))
        ]
    name = text(meta, "name")
    if name:
        wrong += named(f"{path}.name", name, name_rule)
    else:
        wrong.append(field.required(f"{path}.name", "name or generateName is required"))
    wrong += _namespace(text(meta, "namespace"), path, namespaced=namespaced)
    wrong += non_negative(meta, path, "generation")
    wrong += validate_shared(meta, path) if shared is None else shared
    wrong += [
        error
        for finalizer in items(meta, "finalizers")
        for error in named(f"{path}.finalizers", finalizer, names.qualified_name)
    ]
    return wrong + validate_finalizers(meta, path)


def _namespace(namespace: str, path: str, *, namespaced: bool) -> Errors:
    if not namespaced:
        return [field.forbidden(f"{path}.namespace", "not allowed on this type")] if namespace else []
    if not namespace:
        return [field.required(f"{path}.namespace")]
    return named(f"{path}.namespace", namespace, names.namespace_name)


def validate_shared(meta: Object, path: str = "metadata") -> Errors:
    """Rules that hold on creation and on every update."""
    return [
        *validate_labels(part(meta, "labels"), f"{path}.labels"),
        *validate_annotations(part(meta, "annotations"), f"{path}.annotations"),
        *_owners(meta, f"{path}.ownerReferences"),
        *_managed_fields(meta, f"{path}.managedFields"),
    ]


def validate_labels(labels: Mapping[str, str], path: str) -> Errors:
    """Keys are qualified names, values label values."""
    wrong: Errors = []
    for key, value in labels.items():
        if len(key) + len(value) > MAX_KNOWN_LABEL or not _is_label(key, value):
            wrong += named(path, key, names.qualified_name)
            wrong += named(path, value, names.label_value)
    return wrong


@lru_cache(maxsize=1024)
def _is_label(key: str, value: str) -> bool:
    """Objects have the same labels as others, and metadata are looked at more than once."""
    return not names.qualified_name(key) and not names.label_value(value)


def validate_annotations(annotations: Mapping[str, str], path: str) -> Errors:
    """Keys are qualified names in any case; keys and values together are bounded."""
    wrong: Errors = []
    size = 0
    for key, value in annotations.items():
        wrong += [field.invalid(path, key, message) for message in names.qualified_name(key.lower())]
        size += len(key.encode()) + len(value.encode())
    if size > names.MAX_ANNOTATIONS_BYTES:
        wrong.append(field.too_long(path, "", names.MAX_ANNOTATIONS_BYTES))
    return wrong


def _owners(meta: Object, path: str) -> Errors:
    wrong: Errors = []
    controller = ""
    owners = items(meta, "ownerReferences")
    for owner in owners:
        wrong += _owner(owner, path)
        if owner.get("controller"):
            name = f"{owner['kind']}/{owner['name']}"
            if controller:
                wrong.append(
                    field.invalid(
                        path,
                        owners,
                        "Only one reference can have Controller set to true. "
                        f'Found "true" in references for {controller} and {name}',
                    )
                )
            else:
                controller = name
    return wrong


def _owner(owner: Object, path: str) -> Errors:
    wrong = []
    group, _, version = owner["apiVersion"].rpartition("/")
    if not version:
        wrong.append(field.invalid(f"{path}.apiVersion", owner["apiVersion"], "version must not be empty"))
    wrong += [
        field.invalid(f"{path}.{key}", owner[key], "must not be empty")
        for key in ("kind", "name", "uid")
        if not owner[key]
    ]
    if (group, version, owner["kind"]) == ("", "v1", "Event"):
        wrong.append(field.invalid(path, owner, "/v1, Kind=Event is disallowed from being an owner"))
    return wrong


def _managed_fields(meta: Object, path: str) -> Errors:
    wrong: Errors = []
    for index, entry in enumerate(items(meta, "managedFields")):
        where = f"{path}[{index}]"
        operation = text(entry, "operation")
        if operation not in ("Apply", "Update"):
            wrong.append(field.invalid(f"{where}.operation", operation, "must be `Apply` or `Update`"))
        fields_type = text(entry, "fieldsType")
        if fields_type not in ("", "FieldsV1"):
            wrong.append(field.invalid(f"{where}.fieldsType", fields_type, "must be `FieldsV1`"))
    return wrong


def validate_finalizers(meta: Object, path: str = "metadata") -> Errors:
    """A finalizer has a domain or is one of the standard ones."""
    return [
        field.invalid(f"{path}.finalizers[{index}]", finalizer, _NOT_QUALIFIED)
        for index, finalizer in enumerate(items(meta, "finalizers"))
        if "/" not in finalizer and finalizer not in STANDARD_FINALIZERS
    ]


def finalizer_name(finalizer: str, path: str) -> Errors:
    """Rule for one finalizer of a namespace's spec."""
    wrong = named(path, finalizer, names.qualified_name)
    if "/" not in finalizer and finalizer not in STANDARD_FINALIZERS:
        wrong.append(field.invalid(path, finalizer, _NOT_QUALIFIED))
    return wrong


def validate_meta_update(new: Object, old: Object, path: str = "metadata", shared: Errors | None = None) -> Errors:
    """Rules for a change of metadata: what identifies an object stays, deletion cannot be taken back.

    `shared` is what `validate_shared` has found in the new metadata already.
    """
    wrong: Errors = []
    if old.get("deletionTimestamp"):
        added = [name for name in items(new, "finalizers") if name not in items(old, "finalizers")]
        if added:
            wrong.append(
                field.forbidden(
                    f"{path}.finalizers",
                    "no new finalizers can be added if the object is being deleted, "
                    f"found new finalizers {string_slice(sorted(added))}",
                )
            )
    if new.get("generation", 0) < old.get("generation", 0):
        wrong.append(field.invalid(f"{path}.generation", new.get("generation", 0), "must not be decremented"))
    for key in _IMMUTABLE:
        if new.get(key) != old.get(key):
            shown = new.get(key, "" if key in ("name", "namespace", "uid") else None)
            wrong += immutable(f"{path}.{key}", shown, old.get(key))
    if all(new.get(key) == old.get(key) for key in _SHARED):
        return wrong
    return wrong + (validate_shared(new, path) if shared is None else shared)
