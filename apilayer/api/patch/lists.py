"""Lists in strategic merge patches: telling items apart, checking them and putting them in order.

Items are maps, told apart by the list's merge key, or scalars (merge key ""), told apart by value.
"""

from __future__ import annotations

from typing import Any

from apilayer.api.patch.errors import (
    StrategicPatchError,
    bad_argument,
    lists_of_lists,
    no_merge_key,
)
from apilayer.api.patch.gotext import go_type, go_value


def identity(value: Any) -> tuple[str, Any]:
    """Something hashable that is equal for equal scalars only: 1, 1.0 and true are three values.

    Raises StrategicPatchError for maps and lists, which identify nothing.
    """
    if isinstance(value, dict | list):
        raise StrategicPatchError(500, f"a {go_type(value)} cannot identify a list item: {go_value(value)}")
    return type(value).__name__, value


def key_of(item: Any, merge_key: str) -> Any:
    """What identifies `item` in its list; raises StrategicPatchError where that is missing."""
    if not merge_key:
        return item
    if not isinstance(item, dict):
        raise bad_argument("map[string]interface {}", go_type(item))
    if merge_key not in item:
        raise no_merge_key(item, merge_key)
    return item[merge_key]


def check_elements(*lists: list[Any]) -> bool:
    """Whether the items are maps; raises StrategicPatchError unless all of them are of one type."""
    kinds = {go_type(item) for items in lists for item in items}
    if "[]interface {}" in kinds:
        raise lists_of_lists()
    if len(kinds) > 1:
        raise StrategicPatchError(500, f"list element types are not identical: {go_value(list(lists))}")
    return "map[string]interface {}" in kinds


def check_order(changes: list[Any], order: list[Any], merge_key: str) -> None:
    """Raise StrategicPatchError unless the items of `changes` stand in `order`, in the same order."""
    if not changes or not order:
        return
    wanted = [item for item in changes if not (merge_key and isinstance(item, dict) and "$patch" in item)]
    position = 0
    for item in order:
        if position == len(wanted):
            return
        if identity(key_of(wanted[position], merge_key)) == identity(key_of(item, merge_key)):
            position += 1
    if position < len(wanted):
        raise StrategicPatchError(
            500,
            f"The order in patch list:\n{go_value(changes)}\n doesn't match $setElementOrder list:\n"
            f"{go_value(order)}\n",
        )


def arrange(items: list[Any], order: list[Any], live: list[Any], merge_key: str) -> list[Any]:
    """`items` so that those named by `order` follow it and the others keep the order of `live`.

    The two groups are interleaved as in `live` where that is possible; otherwise what `order` names comes
    first.
    """
    wanted = _positions(order, merge_key)
    before = _positions(live, merge_key)
    named = [(identity(key_of(item, merge_key)), item) for item in items]
    first = sorted((pair for pair in named if pair[0] in wanted), key=lambda pair: wanted[pair[0]])
    others = sorted((pair for pair in named if pair[0] not in wanted), key=lambda pair: before.get(pair[0], -1))
    result: list[Any] = []
    left = right = 0
    while left < len(others) and right < len(first):
        left_at = before.get(others[left][0])
        right_at = before.get(first[right][0])
        if left_at is not None and right_at is not None and left_at < right_at:
            result.append(others[left][1])
            left += 1
        else:
            result.append(first[right][1])
            right += 1
    result.extend(item for _, item in first[right:])
    result.extend(item for _, item in others[left:])
    return result


def _positions(items: list[Any], merge_key: str) -> dict[tuple[str, Any], int]:
    positions: dict[tuple[str, Any], int] = {}
    for position, item in enumerate(items):
        positions.setdefault(identity(key_of(item, merge_key)), position)
    return positions
