"""JSON patch, RFC 6902, with JSON pointers, RFC 6901.

Where the RFC and the server that clients know differ, the server wins: a missing member counts as null for
``replace`` and ``test``, and a negative array index counts from the end.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_OPERATIONS = 10_000
MAX_COPY_BYTES = 3 * 1024 * 1024
# Putting an item into a list or taking it out moves the others; all operations together may move so many.
MAX_MOVED_ITEMS = 50_000_000
_INDEX = re.compile(r"[+-]?[0-9]{1,9}\Z")


class JSONPatchError(ValueError):
    """An operation cannot be applied: missing path, failed test, bad index, unknown operation, too much."""


def apply(document: Any, operations: Sequence[Mapping[str, Any]]) -> Any:
    """A copy of `document` with the operations applied in order; all of them or, on JSONPatchError, none.

    `operations` are decoded: dicts with ``op``, ``path``, ``from`` and ``value``. Copied values may add up to
    `MAX_COPY_BYTES` of JSON, so that a chain of copies cannot grow without bound.
    """
    state = _Patch(orjson.loads(orjson.dumps(document)))
    for operation in operations:
        handler = _HANDLERS.get(operation.get("op", ""))
        if handler is None:
            raise JSONPatchError(f"Unexpected kind: {operation.get('op', '')}")
        handler(state, operation)
    return state.document


class _Patch:
    """The document while it is changed in place, and how much the operations have cost so far."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self._copied_bytes = 0
        self._moved_items = 0

    def add(self, operation: Mapping[str, Any]) -> None:
        container, key = self._parent(_pointer(operation, "path"))
        self._insert(container, key, operation.get("value"))

    def remove(self, operation: Mapping[str, Any]) -> None:
        container, key = self._parent(_pointer(operation, "path"))
        self._delete(container, key)

    def replace(self, operation: Mapping[str, Any]) -> None:
        pointer = _pointer(operation, "path")
        value = operation.get("value")
        if not pointer:
            if not isinstance(value, dict | list):
                raise JSONPatchError("replace operation value must be object or array")
            self.document = value
            return
        container, key = self._parent(pointer)
        if isinstance(container, dict):
            container[key] = value
        else:
            container[_index(key, len(container))] = value

    def move(self, operation: Mapping[str, Any]) -> None:
        container, key = self._parent(_pointer(operation, "from"))
        value = self._delete(container, key)
        container, key = self._parent(_pointer(operation, "path"))
        self._insert(container, key, value)

    def copy(self, operation: Mapping[str, Any]) -> None:
        container, key = self._parent(_pointer(operation, "from"))
        value = _get(container, key)
        container, key = self._parent(_pointer(operation, "path"))
        try:
            encoded = orjson.dumps(value)
        except orjson.JSONEncodeError as error:  # nested deeper than any document may be
            raise JSONPatchError(str(error)) from None
        self._copied_bytes += len(encoded)
        if self._copied_bytes > MAX_COPY_BYTES:
            raise JSONPatchError(
                f"Unable to complete the copy, the accumulated size increase of copy is {self._copied_bytes},"
                f" exceeding the limit {MAX_COPY_BYTES}"
            )
        self._insert(container, key, orjson.loads(encoded))

    def test(self, operation: Mapping[str, Any]) -> None:
        pointer = _pointer(operation, "path")
        if pointer:
            container, key = self._parent(pointer)
            value = _get(container, key)
        else:
            value = self.document
        if not json_equal(value, operation.get("value")):
            raise JSONPatchError(f"testing value {pointer} failed")

    def _insert(self, container: dict[str, Any] | list[Any], key: str, value: Any) -> None:
        if isinstance(container, dict):
            container[key] = value
        elif key == "-":
            container.append(value)
        else:
            self._count_moves(len(container))
            container.insert(_index(key, len(container) + 1), value)

    def _delete(self, container: dict[str, Any] | list[Any], key: str) -> Any:
        if isinstance(container, list):
            self._count_moves(len(container))
            return container.pop(_index(key, len(container)))
        if key not in container:
            raise JSONPatchError(f"Unable to remove nonexistent key: {key}")
        return container.pop(key)

    def _count_moves(self, items: int) -> None:
        self._moved_items += items
        if self._moved_items > MAX_MOVED_ITEMS:
            raise JSONPatchError(f"the patch moves more than {MAX_MOVED_ITEMS} list items")

    def _parent(self, pointer: str) -> tuple[dict[str, Any] | list[Any], str]:
        """The container that holds what `pointer` names, and the key in it."""
        if not pointer:
            raise JSONPatchError("operation does not apply to the whole document")
        *parts, key = pointer[1:].split("/")
        container = self.document
        for part in parts:
            container = _get(container, _unescape(part))
            if not isinstance(container, dict | list):
                raise JSONPatchError(f'doc is missing path: "{pointer}"')
        return container, _unescape(key)


_HANDLERS = {
    "add": _Patch.add,
    "remove": _Patch.remove,
    "replace": _Patch.replace,
    "move": _Patch.move,
    "copy": _Patch.copy,
    "test": _Patch.test,
}


def _pointer(operation: Mapping[str, Any], member: str) -> str:
    pointer = operation.get(member)
    if not isinstance(pointer, str):
        raise JSONPatchError(f"operation, missing {member} field")
    if pointer and not pointer.startswith("/"):
        raise JSONPatchError(f'{member} "{pointer}" is no JSON pointer')
    return pointer


def _unescape(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~") if "~" in part else part


def _index(key: str, length: int) -> int:
    if not _INDEX.match(key):
        raise JSONPatchError(f"value was not a proper array index: '{key}'")
    index = int(key)
    if not -length <= index < length:
        raise JSONPatchError(f"Unable to access invalid index: {index}")
    return index + length if index < 0 else index


def _get(container: dict[str, Any] | list[Any], key: str) -> Any:
    if isinstance(container, dict):
        return container.get(key)
    return container[_index(key, len(container))]


def json_equal(left: Any, right: Any) -> bool:
    """Equality of JSON values: numbers by value, booleans are no numbers, members in any order."""
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and left.keys() == right.keys()
            and all(json_equal(value, right[key]) for key, value in left.items())
        )
    if isinstance(left, list):
        return (
            isinstance(right, list)
            and len(left) == len(right)
            and all(json_equal(*pair) for pair in zip(left, right, strict=True))
        )
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)
