"""Conditions in the status of objects. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api.meta import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

Object = dict[str, Any]


def condition(kind: str, holds: bool, reason: str, message: str) -> Object:
    """A condition of type `kind`, without its time."""
    return {"type": kind, "status": "True" if holds else "False", "reason": reason, "message": message}


def with_conditions(obj: Object, wanted: Iterable[Object], now: datetime) -> Object:
    """The object with these conditions among the others that it has; those that say something new are of `now`."""
    status = dict(obj.get("status") or {})
    present = list(status.get("conditions") or ())
    places = {item.get("type"): place for place, item in enumerate(present)}
    for item in wanted:
        place = places.get(item["type"])
        if place is None:
            present.append({**item, "lastTransitionTime": timestamp(now)})
        elif any(present[place].get(key) != value for key, value in item.items()):
            present[place] = {**present[place], **item, "lastTransitionTime": timestamp(now)}
    return {**obj, "status": {**status, "conditions": present}}
