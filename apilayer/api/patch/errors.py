"""What can be wrong with a strategic merge patch, with the code and text that Kubernetes answers."""

from __future__ import annotations

from typing import Any

from apilayer.api.patch.gotext import go_value


class StrategicPatchError(ValueError):
    """A patch that cannot be applied; `code` is the HTTP code that it deserves."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def bad_delete_from_primitive_list() -> StrategicPatchError:
    """``$deleteFromPrimitiveList`` without the name of a list."""
    return StrategicPatchError(400, "invalid patch format of primitive list")


def bad_retain_keys() -> StrategicPatchError:
    """``$retainKeys`` is no list, or lacks a field that the patch sets."""
    return StrategicPatchError(400, "invalid patch format of retainKeys")


def bad_set_element_order() -> StrategicPatchError:
    """``$setElementOrder`` without the name of a list."""
    return StrategicPatchError(400, "invalid patch format of setElementOrder list")


def lists_of_lists() -> StrategicPatchError:
    """A list to be merged has lists as items."""
    return StrategicPatchError(422, "lists of lists are not supported")


def no_merge_key(item: Any, merge_key: str) -> StrategicPatchError:
    """A list item lacks the field by which items of its list are told apart."""
    return StrategicPatchError(500, f"map: {go_value(item)} does not contain declared merge key: {merge_key}")


def bad_patch_type(directive: Any, container: Any) -> StrategicPatchError:
    """``$patch`` has a value that means nothing there."""
    return StrategicPatchError(500, f"unknown patch type: {go_value(directive)} in map: {go_value(container)}")


def bad_argument(expected: str, actual: str) -> StrategicPatchError:
    """A value has the wrong type for the directive that speaks of it."""
    return StrategicPatchError(500, f"expected a {expected}, but received a {actual}")
