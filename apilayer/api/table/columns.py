"""The columns of every kind: read from ``columns.txt``, whose head explains its format, when first asked for."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from apilayer.api.table import cells, cluster, networking, workloads
from apilayer.api.table.pods import pod_cells

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    Row = Callable[[Mapping[str, Any], datetime], list[Any]]

_FUNCTIONS = {**cells.CELLS, **cluster.CELLS, **networking.CELLS, **workloads.CELLS}
_WHOLE_ROWS: dict[str, Row] = {"pods": pod_cells}


@attrs.frozen
class Column:
    """One column; `described_by` is a path into the kind's schema, used when there is no `text`.

    `cell` is None where the whole row is made by one function.
    """

    name: str
    type: str
    format: str
    priority: int
    cell: cells.Cell | None
    described_by: str = ""
    text: str = ""


@functools.cache
def _blocks() -> dict[str, list[str]]:
    text = Path(__file__).with_name("columns.txt").read_text(encoding="utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    blocks = (block.splitlines() for block in lines.strip().split("\n\n"))
    return {head: body for head, *body in blocks}


@functools.cache
def columns_of(group_resource: str) -> tuple[Column, ...] | None:
    """The columns of a resource, None when it has no table."""
    block = _blocks().get(group_resource)
    return None if block is None else tuple(_column(line) for line in block)


def row_of(group_resource: str) -> Row | None:
    """The function that makes the whole row of a resource, or None where every column has a cell of its own."""
    return _WHOLE_ROWS.get(group_resource)


def _column(line: str) -> Column:
    name, kind, priority, cell, description = line.split(" | ", 4)
    value_type, _, value_format = kind.partition("/")
    is_text = description.startswith("=")
    return Column(
        name,
        value_type,
        value_format,
        int(priority),
        _cell(*cell.split()),
        "" if is_text else description,
        description[1:].replace("\\n", "\n") if is_text else "",
    )


def _cell(word: str, *arguments: str) -> cells.Cell | None:
    if word == "row":
        return None
    if word == "fn":
        return _FUNCTIONS[arguments[0]]
    if word == "count":
        return cells.count(*arguments)
    if word == "age":
        return cells.age("metadata", "creationTimestamp")
    if word == "date":
        return cells.date
    path = tuple(arguments[0].split("."))
    return cells.MAKERS[word](path, *arguments[1:])
