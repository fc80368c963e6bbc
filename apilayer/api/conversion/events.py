"""Events of core/v1 and of events.k8s.io/v1: the same facts under other names."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

_CORE_NAMES = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_NEW_NAMES = {old: new for new, old in _CORE_NAMES.items()}


def to_core(event: Object) -> Object:
    """An event of events.k8s.io/v1 as one of core/v1."""
    return {_CORE_NAMES.get(key, key): value for key, value in event.items()}


def from_core(event: Object) -> Object:
    """An event of core/v1 as one of events.k8s.io/v1."""
    return {_NEW_NAMES.get(key, key): value for key, value in event.items()}
