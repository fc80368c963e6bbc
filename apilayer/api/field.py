"""Errors about one field of an object, with the reason and message text that Kubernetes gives them.

Source: Kubernetes' API conventions, "Response Status Kind", and apimachinery's ``field.Error``. A
`FieldError` becomes one entry of ``Status.details.causes``; see `apilayer.api.status.invalid`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from apilayer.api.gotext import json_text, quote

if TYPE_CHECKING:
    from collections.abc import Iterable

REQUIRED = "FieldValueRequired"
INVALID = "FieldValueInvalid"
NOT_SUPPORTED = "FieldValueNotSupported"
DUPLICATE = "FieldValueDuplicate"
FORBIDDEN = "FieldValueForbidden"
TOO_LONG = "FieldValueTooLong"
TOO_MANY = "FieldValueTooMany"
TYPE_INVALID = "FieldValueTypeInvalid"
NOT_FOUND = "FieldValueNotFound"


@attrs.frozen
class FieldError:
    """One wrong field: where (`path`), machine-readable why (`reason`) and the text (`message`)."""

    path: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def render(value: Any) -> str:
    """`value` as it appears in a message: strings quoted, numbers plain, everything else JSON."""
    if isinstance(value, str):
        return quote(value)
    return json_text(value)


def _with_detail(text: str, detail: str) -> str:
    return f"{text}: {detail}" if detail else text


def required(path: str, detail: str = "") -> FieldError:
    """The field must be given."""
    return FieldError(path, REQUIRED, _with_detail("Required value", detail))


def invalid(path: str, value: Any, detail: str = "") -> FieldError:
    """The field's value breaks a rule."""
    return FieldError(path, INVALID, _with_detail(f"Invalid value: {render(value)}", detail))


def invalid_unshown(path: str, detail: str) -> FieldError:
    """The field's value breaks a rule; the message leaves the value out."""
    return FieldError(path, INVALID, f"Invalid value: {detail}")


def not_supported(path: str, value: Any, valid: Iterable[str]) -> FieldError:
    """The field's value is none of `valid`, which the message lists in the order given."""
    listed = ", ".join(quote(item) for item in valid)
    detail = f"supported values: {listed}" if listed else ""
    return FieldError(path, NOT_SUPPORTED, _with_detail(f"Unsupported value: {render(value)}", detail))


def duplicate(path: str, value: Any) -> FieldError:
    """The value occurs a second time where each may occur once."""
    return FieldError(path, DUPLICATE, f"Duplicate value: {render(value)}")


def forbidden(path: str, detail: str = "") -> FieldError:
    """The field may not be set, or not changed, here."""
    return FieldError(path, FORBIDDEN, _with_detail("Forbidden", detail))


def too_long(path: str, value: Any, max_len: int) -> FieldError:
    """The value is longer than `max_len` bytes; the value itself is never repeated in the message."""
    del value  # part of the signature so that callers read alike, left out of the text on purpose
    return FieldError(path, TOO_LONG, f"Too long: may not be more than {max_len} bytes")


def too_many(path: str, actual: int, maximum: int) -> FieldError:
    """The list has `actual` items where `maximum` are allowed."""
    noun = "item" if maximum == 1 else "items"
    return FieldError(path, TOO_MANY, f"Too many: {actual}: must have at most {maximum} {noun}")


def type_invalid(path: str, value: Any, detail: str) -> FieldError:
    """The value has the wrong JSON type."""
    return FieldError(path, TYPE_INVALID, _with_detail(f"Invalid value: {render(value)}", detail))


def not_found(path: str, value: Any, detail: str = "") -> FieldError:
    """The value names something that does not exist."""
    return FieldError(path, NOT_FOUND, _with_detail(f"Not found: {render(value)}", detail))
