"""Patches: JSON patch (RFC 6902), JSON merge patch (RFC 7386) and Kubernetes' strategic merge patch.

`json_patch`, `merge_patch` and `strategic` are the three algorithms on plain values; `apply` reads the body,
picks one and turns what goes wrong into the answers of a real server. Inputs are never changed.
"""

from __future__ import annotations

from apilayer.api.patch.apply import PATCH_TYPES, Patched, apply_patch, patch_type_of

__all__ = ["PATCH_TYPES", "Patched", "apply_patch", "patch_type_of"]
