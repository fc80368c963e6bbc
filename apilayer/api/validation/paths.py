"""Rules for paths of files that objects name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.api import field

if TYPE_CHECKING:
    from apilayer.api.validation.common import Errors


def descending_path(where: str, path: str) -> Errors:
    """A relative path that stays below where it starts."""
    wrong: Errors = []
    if where.startswith("/"):
        wrong.append(field.invalid(path, where, "must be a relative path"))
    return wrong + no_backsteps(where, path)


def no_backsteps(where: str, path: str) -> Errors:
    """A path without ``..``."""
    if ".." in where.split("/"):
        return [field.invalid(path, where, "must not contain '..'")]
    return []
