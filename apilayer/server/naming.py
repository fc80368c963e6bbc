"""The name and namespace that a body gives must be those of the URL."""

from __future__ import annotations

from typing import Any

from apilayer.api import status

Object = dict[str, Any]


def require_metadata(obj: Object) -> Object:
    """`obj`, which has metadata afterwards."""
    if not isinstance(obj.get("metadata"), dict):
        obj["metadata"] = {}
    return obj


def check_name(obj: Object, name: str) -> None:
    """Raises StatusError 400 when the object has no name, or another one."""
    given = obj["metadata"].get("name") or ""
    if not given:
        raise status.bad_request(
            f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )
    if given != name:
        raise status.bad_request(f"the name of the object ({given}) does not match the name on the URL ({name})")


def check_namespace(obj: Object, namespace: str) -> None:
    """Raises StatusError 400 when the object names another namespace."""
    given = obj["metadata"].get("namespace") or ""
    if given and given != namespace:
        raise status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
