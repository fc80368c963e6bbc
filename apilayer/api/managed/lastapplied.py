"""The annotation in which ``kubectl apply`` without server-side apply keeps what it applied.

Who moves from one to the other meets no conflicts over what he applied himself, and the annotation follows
what ``kubectl`` applies, so that the way back stays open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api.encoding import jsontext
from apilayer.api.errors import DecodeError
from apilayer.api.gotext import json_text
from apilayer.api.managed.compare import combined, compare, field_set
from apilayer.api.managed.fieldset import difference
from apilayer.api.managed.merge import TypedError, check
from apilayer.api.managed.typed import ItemError

if TYPE_CHECKING:
    from apilayer.api.managed.fieldset import Fields
    from apilayer.api.managed.typed import Type

Object = dict[str, Any]

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
KUBECTL = "kubectl"
"""The only manager that all this is about."""
MAX_ANNOTATIONS_BYTES = 256 * 1024


def annotation_of(obj: Object) -> str:
    """The object's annotation, "" when it has none."""
    value = (obj.get("metadata", {}).get("annotations") or {}).get(ANNOTATION)
    return value if isinstance(value, str) else ""


def applied_before(live: Object, shape: Type, api_version: str) -> Fields:
    """The fields that the annotation of `live` speaks of and that still are as it says."""
    try:
        last = jsontext.loads(annotation_of(live).encode())
        if not isinstance(last, dict) or last.get("apiVersion") != api_version:
            return {}
        check(shape, last)
        return difference(field_set(shape, last), combined(compare(shape, last, live)))
    except (DecodeError, TypedError, ItemError):
        return {}


def follow(obj: Object, config: Object) -> None:
    """Makes the annotation of `obj`, if it has one, say `config`; it goes when it would be too large."""
    if not annotation_of(obj):
        return
    annotations = dict(obj["metadata"]["annotations"])
    metadata = dict(config.get("metadata") or {})
    if isinstance(metadata.get("annotations"), dict):
        metadata["annotations"] = {key: text for key, text in metadata["annotations"].items() if key != ANNOTATION}
    annotations[ANNOTATION] = json_text(_sorted({**config, "metadata": metadata})) + "\n"
    if sum(len(key.encode()) + len(str(text).encode()) for key, text in annotations.items()) > MAX_ANNOTATIONS_BYTES:
        del annotations[ANNOTATION]
    obj["metadata"]["annotations"] = annotations


def _sorted(value: Any) -> Any:
    """`value` with the names of every object in order, as Go writes maps."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
