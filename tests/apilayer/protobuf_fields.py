"""Protobuf messages taken apart without their types."""

from __future__ import annotations

from apilayer.api.protobuf.message import Reader


def delimited_fields(data: bytes) -> list[tuple[int, bytes]]:
    """Number and bytes of the fields of a message that has no others."""
    reader, found = Reader(data, 0, len(data)), []
    while reader.more():
        number, wire_type = reader.tag()
        assert wire_type == 2
        start, stop = reader.span()
        found.append((number, data[start:stop]))
    return found
