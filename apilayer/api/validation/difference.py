"""What changed between two objects, as Kubernetes shows it in messages: a unified diff of Go's JSON."""

from __future__ import annotations

import difflib
from typing import Any

import orjson

from apilayer.api.validation import goform

_CONTEXT_LINES = 3


def difference(after: dict[str, Any], before: dict[str, Any], name: str) -> str:
    """The differences of two messages `name`, with one blank per level."""
    old, new = (_lines(goform.of(obj, name)) for obj in (before, after))
    lines = list(difflib.unified_diff(old, new, n=_CONTEXT_LINES, lineterm=""))[2:]
    return "".join(f"{line}\n" for line in lines)


def _lines(value: Any) -> list[str]:
    """Indented JSON, with one blank per level where orjson writes two."""
    lines = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode().split("\n")
    return [" " * ((len(line) - len(line.lstrip(" "))) // 2) + line.lstrip(" ") for line in lines]
