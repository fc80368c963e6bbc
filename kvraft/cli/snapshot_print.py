"""What a snapshot holds, in the output formats of etcdutl."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kvraft.version import ETCD_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvraft.storage.snapshot_file import Description

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
HEADERS = ("HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE", "VERSION")
STORAGE_VERSION = f"{ETCD_VERSION.rpartition('.')[0]}.0"


def human_bytes(count: int) -> str:
    """``2.1 MB``, as Go's humanize writes it: thousands, one decimal below ten."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(UNITS) - 1:
        value /= 1000
        unit += 1
    return f"{value:.1f} {UNITS[unit]}" if unit and value < 10 else f"{value:.0f} {UNITS[unit]}"


def _cells(found: Description) -> tuple[str, ...]:
    return (
        f"{found.hash:x}",
        str(found.revision),
        str(found.total_keys),
        human_bytes(found.total_bytes),
        STORAGE_VERSION,
    )


def _simple(found: Description) -> str:
    return ", ".join(_cells(found))


def _table(found: Description) -> str:
    cells = _cells(found)
    widths = [max(len(header), len(cell)) for header, cell in zip(HEADERS, cells, strict=True)]
    rule = "+".join(["", *("-" * (width + 2) for width in widths), ""])
    head = "|".join(["", *(f" {header:^{width}} " for header, width in zip(HEADERS, widths, strict=True)), ""])
    row = "|".join(["", *(f" {cell:>{width}} " for cell, width in zip(cells, widths, strict=True)), ""])
    return "\n".join((rule, head, rule, row, rule))


def _json(found: Description) -> str:
    return json.dumps(
        {
            "hash": found.hash,
            "revision": found.revision,
            "totalKey": found.total_keys,
            "totalSize": found.total_bytes,
            "version": STORAGE_VERSION,
        },
        separators=(",", ":"),
    )


def _fields(found: Description) -> str:
    return "\n".join(
        (
            f'"Hash" : {found.hash}',
            f'"Revision" : {found.revision}',
            f'"Keys" : {found.total_keys}',
            f'"Size" : {found.total_bytes}',
            f'"Version" : "{STORAGE_VERSION}"',
        )
    )


FORMATS: dict[str, Callable[[Description], str]] = {
    "simple": _simple,
    "table": _table,
    "json": _json,
    "fields": _fields,
}
