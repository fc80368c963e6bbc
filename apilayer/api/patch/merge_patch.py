"""JSON merge patch, RFC 7386: members of the patch replace members of the document, null removes them."""

from __future__ import annotations

from typing import Any


def apply(document: Any, patch: Any) -> Any:
    """`document` with `patch` merged in; what neither changes is shared with the inputs, not copied."""
    if not isinstance(patch, dict):
        return patch
    merged: dict[str, Any] = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = apply(merged.get(key), value)
        else:
            merged[key] = value
    return merged
