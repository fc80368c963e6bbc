"""Which of the objects that are marked as default is meant: the youngest, then the first by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

Object = dict[str, Any]


def newest_marked(objects: Iterable[Object], marks: Iterable[str]) -> str:
    """The name of the youngest object with one of the annotations `marks` set to "true"; "" for none."""
    marked = [obj["metadata"] for obj in objects if _has_any(obj["metadata"].get("annotations") or {}, marks)]
    if not marked:
        return ""
    youngest = max(metadata.get("creationTimestamp") or "" for metadata in marked)
    name: str = min(item["name"] for item in marked if (item.get("creationTimestamp") or "") == youngest)
    return name


def _has_any(annotations: dict[str, str], marks: Iterable[str]) -> bool:
    return any(annotations.get(mark) == "true" for mark in marks)
