"""Header blocks: decoding with memory of blocks seen before, and encoding without state.

A client that sends the same headers again sends the same few bytes again, because HPACK has put them into its table.
While that table does not change, equal bytes mean equal headers, so what they mean is looked up instead of decoded.
What we send uses no table of ours: a block made once is good for every answer on every connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import hpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Header = tuple[bytes, bytes]
Head = TypeVar("Head")

MAX_BLOCK_BYTES = 64 << 10
"""Of one header block as it is sent."""
MAX_LIST_BYTES = 64 << 10
"""Of all headers decoded, with 32 bytes added for each as HPACK counts."""
MAX_REMEMBERED = 64
"""Blocks remembered per connection; clients use a few."""
MAX_REMEMBERED_BYTES = 1024

_RESIZES = tuple(bytes((first,)) for first in range(0x20, 0x40))
"""How a block begins that sets the table's size; skipping that would lose it."""


class HeaderError(Exception):
    """A block cannot be decoded: neither can any later one, the connection is lost."""


class HeaderDecoder(Generic[Head]):
    """Turns the blocks of one connection, in their order, into what ``interpret`` makes of their headers."""

    __slots__ = ("_decoder", "_interpret", "_remembered")

    def __init__(self, interpret: Callable[[Sequence[Header]], Head]) -> None:
        self._decoder = hpack.Decoder(max_header_list_size=MAX_LIST_BYTES)
        self._interpret = interpret
        self._remembered: dict[bytes, Head] = {}

    def decode(self, block: bytes) -> Head:
        """Raises ``HeaderError``."""
        known = self._remembered.get(block)
        if known is not None:
            return known
        entries = self._decoder.header_table.dynamic_entries
        count, newest = len(entries), entries[0] if entries else None
        try:
            headers = self._decoder.decode(block, raw=True)
        except (hpack.HPACKError, ValueError, IndexError) as error:
            raise HeaderError(f"a header block cannot be decoded: {error}") from error
        head = self._interpret(headers)  # type: ignore[arg-type]
        if len(entries) != count or (entries[0] if entries else None) is not newest:
            self._remembered.clear()  # the same bytes may mean something else from now on
        elif (
            block[:1] not in _RESIZES and len(block) <= MAX_REMEMBERED_BYTES and len(self._remembered) < MAX_REMEMBERED
        ):
            self._remembered[block] = head
        return head


def encode(headers: Iterable[Header]) -> bytes:
    """A block of literals that leaves every table as it is. Names and values have up to 2 MiB."""
    block = bytearray()
    for name, value in headers:
        if name == b":status" and value == b"200":
            block.append(0x88)
            continue
        block.append(0)
        for text in (name, value):
            block += _length(len(text))
            block += text
    return bytes(block)


def _length(size: int) -> bytes:
    """An integer with a 7-bit prefix (RFC 7541, section 5.1)."""
    if size < 127:
        return bytes((size,))
    rest = size - 127
    out = bytearray((127,))
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)
