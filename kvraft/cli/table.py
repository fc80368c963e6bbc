"""Tables as etcdctl draws them: headings centred in capitals, cells to the right."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def draw(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines."""
    titles = [title.upper() for title in header]
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    rule = "+".join(["", *("-" * (width + 2) for width in widths), ""])
    head = "|".join(["", *(f" {_centred(title, width)} " for title, width in zip(titles, widths, strict=True)), ""])
    lines = [rule, head, rule]
    lines += [
        "|".join(["", *(f" {cell:>{width}} " for cell, width in zip(row, widths, strict=True)), ""]) for row in rows
    ]
    if rows:
        lines.append(rule)
    return lines


def _centred(text: str, width: int) -> str:
    gap = width - len(text)
    return " " * (gap // 2) + text + " " * (gap - gap // 2)


def human_bytes(count: int) -> str:
    """``2.1 MB``: thousands, with one decimal below ten."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(UNITS) - 1:
        value /= 1000
        unit += 1
    value = int(value * 10 + 0.5) / 10 if unit else value
    return f"{value:.1f} {UNITS[unit]}" if unit and value < 10 else f"{value:.0f} {UNITS[unit]}"
