"""Values of single cells: each function takes an object and the current time and returns one JSON scalar.

Rules are those of Kubernetes' ``pkg/printers/internalversion``; objects may lack any field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api.table.age import UNKNOWN, since

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    Cell = Callable[[Mapping[str, Any], datetime], Any]


def dig(obj: Mapping[str, Any], *path: str) -> Any:
    """The value at `path`, or None when the object has none."""
    value: Any = obj
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def text(*path: str) -> Cell:
    """A cell that shows the string at `path`, "" when absent."""
    return lambda obj, now: dig(obj, *path) or ""


def number(*path: str) -> Cell:
    """A cell that shows the integer at `path`, 0 when absent."""
    return lambda obj, now: dig(obj, *path) or 0


def count(*fields: str) -> Cell:
    """A cell that shows how many entries the object's `fields` have together."""
    return lambda obj, now: sum(len(obj.get(field) or ()) for field in fields)


def age(*path: str) -> Cell:
    """A cell that shows how long ago the timestamp at `path` is."""
    return lambda obj, now: since(dig(obj, *path), now)


def ready_replicas(obj: Mapping[str, Any], now: datetime) -> str:
    """Ready and wanted replicas, e.g. ``1/2``."""
    del now
    return f"{dig(obj, 'status', 'readyReplicas') or 0}/{dig(obj, 'spec', 'replicas') or 0}"


def _containers(obj: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return dig(obj, "spec", "template", "spec", "containers") or []


def container_names(obj: Mapping[str, Any], now: datetime) -> str:
    """Names of the template's containers."""
    del now
    return ",".join(container.get("name", "") for container in _containers(obj))


def container_images(obj: Mapping[str, Any], now: datetime) -> str:
    """Images of the template's containers."""
    del now
    return ",".join(container.get("image", "") for container in _containers(obj))


def selector_text(obj: Mapping[str, Any], now: datetime) -> str:
    """``spec.selector`` in the label selector language, keys in order."""
    del now
    selector = dig(obj, "spec", "selector") or {}
    terms = [(key, f"{key}={value}") for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        key = expression.get("key", "")
        terms.append((key, _expression(key, expression.get("operator"), expression.get("values") or ())))
    return ",".join(term for _, term in sorted(terms, key=lambda pair: pair[0]))


def _expression(key: str, operator: object, values: Iterable[str]) -> str:
    if operator == "Exists":
        return key
    if operator == "DoesNotExist":
        return f"!{key}"
    word = "in" if operator == "In" else "notin"
    return f"{key} {word} ({','.join(sorted(values))})"


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
