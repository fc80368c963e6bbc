"""Tolerations: which one covers which, and lists of them put together.

Source: Kubernetes' ``pkg/util/tolerations``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

Object = dict[str, Any]


def covers(wide: Object, narrow: Object) -> bool:
    """Whether every taint that `narrow` tolerates is tolerated by `wide` too, for at least as long."""
    if wide == narrow:
        return True
    any_key = not wide.get("key") and wide.get("operator") == "Exists"
    if not any_key and (wide.get("key") or "") != (narrow.get("key") or ""):
        return False
    if wide.get("effect") and wide["effect"] != narrow.get("effect"):
        return False
    if wide.get("effect") in (None, "", "NoExecute"):
        allowed, asked = wide.get("tolerationSeconds"), narrow.get("tolerationSeconds")
        if allowed is not None and (asked is None or asked > allowed):
            return False
    if wide.get("operator") == "Exists":
        return True
    return narrow.get("operator") != "Exists" and (wide.get("value") or "") == (narrow.get("value") or "")


def merge(first: Sequence[Object], second: Sequence[Object]) -> list[Object]:
    """Both lists, without what another one of them covers; the widest stay, in their order."""
    everything = [*first, *second]
    merged: list[Object] = []
    for index, item in enumerate(everything):
        if any(covers(kept, item) for kept in merged):
            continue
        if any(item != later and covers(later, item) for later in everything[index + 1 :]):
            continue
        merged.append(item)
    return merged


def allowed_by(tolerations: Sequence[Object], whitelist: Sequence[Object]) -> bool:
    """Whether each of the tolerations is covered by one of the whitelist; an empty one allows all."""
    return not whitelist or all(any(covers(wide, item) for wide in whitelist) for item in tolerations)
