"""Values of single cells: each function takes an object and the current time and returns one JSON scalar.

Rules are those of Kubernetes' ``pkg/printers/internalversion``; objects may lack any field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api.selectors import selector_text
from apilayer.api.table.age import UNKNOWN, since

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    Cell = Callable[[Mapping[str, Any], datetime], Any]
    Path = tuple[str, ...]

NONE = "<none>"
UNSET = "<unset>"


def dig(obj: Mapping[str, Any], *path: str) -> Any:
    """The value at `path`, or None when the object has none."""
    value: Any = obj
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def text(path: Path, absent: str = "") -> Cell:
    """A cell that shows the value at `path` as text, `absent` when there is none."""

    def cell(obj: Mapping[str, Any], now: datetime) -> str:
        value = dig(obj, *path)
        return absent if value is None or value == "" else str(value)

    return cell


def number(path: Path) -> Cell:
    """A cell that shows the integer at `path`, 0 when absent."""
    return lambda obj, now: dig(obj, *path) or 0


def flag(path: Path, absent: str = "false") -> Cell:
    """A cell that shows the boolean at `path`."""

    def cell(obj: Mapping[str, Any], now: datetime) -> bool:
        value = dig(obj, *path)
        return absent == "true" if value is None else bool(value)

    return cell


def join(path: Path) -> Cell:
    """A cell that shows the texts of the list at `path`."""
    return lambda obj, now: ",".join(dig(obj, *path) or ())


def size(path: Path) -> Cell:
    """A cell that shows how many items the list at `path` has."""
    return lambda obj, now: len(dig(obj, *path) or ())


def count(*fields: str) -> Cell:
    """A cell that shows how many entries the object's `fields` have together."""
    return lambda obj, now: sum(len(obj.get(field) or ()) for field in fields)


def age(*path: str) -> Cell:
    """A cell that shows how long ago the timestamp at `path` is."""
    return lambda obj, now: since(dig(obj, *path), now)


def date(obj: Mapping[str, Any], now: datetime) -> str:
    """When the object was created."""
    del now
    return dig(obj, "metadata", "creationTimestamp") or ""


def names(template: Path) -> Cell:
    """A cell that shows the names of the containers of a pod template."""
    return _containers(template, "name")


def images(template: Path) -> Cell:
    """A cell that shows the images of the containers of a pod template."""
    return _containers(template, "image")


def _containers(template: Path, key: str) -> Cell:
    path = (*template, "spec", "containers")
    return lambda obj, now: ",".join(container.get(key, "") for container in dig(obj, *path) or ())


def labels(path: Path) -> Cell:
    """A cell that shows the map of labels at `path`, keys in order."""

    def cell(obj: Mapping[str, Any], now: datetime) -> str:
        found = dig(obj, *path) or {}
        return ",".join(f"{key}={found[key]}" for key in sorted(found)) or NONE

    return cell


def selector(path: Path) -> Cell:
    """A cell that shows the label selector at `path` in the selector language."""
    return lambda obj, now: selector_text(dig(obj, *path) or {}) or NONE


MAKERS: dict[str, Callable[..., Cell]] = {
    "text": text,
    "number": number,
    "flag": flag,
    "join": join,
    "size": size,
    "names": names,
    "images": images,
    "labels": labels,
    "selector": selector,
}


def ready_replicas(obj: Mapping[str, Any], now: datetime) -> str:
    """Ready and wanted replicas, e.g. ``1/2``."""
    del now
    return f"{dig(obj, 'status', 'readyReplicas') or 0}/{dig(obj, 'spec', 'replicas') or 0}"


def event_first_seen(obj: Mapping[str, Any], now: datetime) -> str:
    """When the event happened first: the old field, or the newer API's event time."""
    first = since(obj.get("firstTimestamp"), now)
    return first if first != UNKNOWN else since(obj.get("eventTime"), now)


def event_last_seen(obj: Mapping[str, Any], now: datetime) -> str:
    """When the event happened last: of its series, else its last time, else its first."""
    if obj.get("series"):
        return since(dig(obj, "series", "lastObservedTime"), now)
    last = since(obj.get("lastTimestamp"), now)
    return last if last != UNKNOWN else event_first_seen(obj, now)


def event_count(obj: Mapping[str, Any], now: datetime) -> int:
    """How often it happened; an event of the newer API without a series happened once."""
    del now
    if obj.get("series"):
        return dig(obj, "series", "count") or 0
    return obj.get("count") or 1


def event_object(obj: Mapping[str, Any], now: datetime) -> str:
    """What the event is about, e.g. ``pod/web-1``."""
    del now
    kind = (dig(obj, "involvedObject", "kind") or "").lower()
    name = dig(obj, "involvedObject", "name") or ""
    return f"{kind}/{name}" if name else kind


def event_source(obj: Mapping[str, Any], now: datetime) -> str:
    """Who reported the event, and from where."""
    del now
    component = dig(obj, "source", "component") or obj.get("reportingComponent") or ""
    instance = dig(obj, "source", "host") or obj.get("reportingInstance") or ""
    return f"{component}, {instance}" if instance else component


def event_message(obj: Mapping[str, Any], now: datetime) -> str:
    """The event's text without blanks around it."""
    del now
    return (obj.get("message") or "").strip()


CELLS: dict[str, Cell] = {
    "ready_replicas": ready_replicas,
    "event_first_seen": event_first_seen,
    "event_last_seen": event_last_seen,
    "event_count": event_count,
    "event_object": event_object,
    "event_source": event_source,
    "event_message": event_message,
}
