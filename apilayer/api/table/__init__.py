"""Server-side printing: what ``kubectl get`` shows, as ``Table`` objects of meta.k8s.io/v1.

`columns` holds the columns of every kind as data, `cells` the small functions behind single cells, `pods`
the one cell set with real logic, `age` how durations are written, `reading` what is read of an object.
"""

from __future__ import annotations

from apilayer.api.table.age import human_duration
from apilayer.api.table.reading import reader_of
from apilayer.api.table.render import (
    check_include_object,
    partial_object_metadata,
    partial_object_metadata_list,
    row_without_object,
    table_columns,
    table_row,
    table_row_cells,
    to_table,
)

__all__ = [
    "check_include_object",
    "human_duration",
    "partial_object_metadata",
    "partial_object_metadata_list",
    "reader_of",
    "row_without_object",
    "table_columns",
    "table_row",
    "table_row_cells",
    "to_table",
]
