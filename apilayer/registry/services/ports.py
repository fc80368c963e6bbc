"""Which node ports are taken: a bitmap under one key, changed by compare-and-swap, as kube-apiserver keeps it.

Servers over one store see each other's changes when they next change it; a swap that fails brings the news.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import trio

from apilayer.api.encoding.base64text import decode, encode
from apilayer.storage.codec import CorruptObject
from apilayer.storage.interface import KeyChanged, KeyExists

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apilayer.api.services.ranges import PortRange
    from apilayer.storage.interface import Record, Store

KEY = b"/registry/ranges/servicenodeports"


class Taken(Exception):
    """Somebody else was faster: what was chosen has been given to another service."""


class PortBitmap:
    """The node ports of the cluster. `load` before use."""

    def __init__(self, store: Store, ports: PortRange) -> None:
        self.range = ports
        self._store = store
        self._revision = 0
        self._bits = 0
        self._turn = trio.Lock()

    def taken(self, port: int) -> bool:
        """Whether the port is given out, as far as is known now; outside the range none is."""
        return port in self.range and bool(self._bits >> (port - self.range.first) & 1)

    @property
    def all_taken(self) -> frozenset[int]:
        """Every port that is given out."""
        return frozenset(port for port in range(self.range.first, self.range.last + 1) if self.taken(port))

    async def load(self) -> None:
        """Reads what is stored now. Raises StoreError."""
        async with self._turn:
            record, _ = await self._store.get(KEY)
            self._adopt(record)

    async def take(self, ports: Iterable[int]) -> None:
        """Reserves all of the ports or none. Raises Taken, or StoreError."""
        wanted = self._mask(ports)
        async with self._turn:
            while wanted:
                if self._bits & wanted:
                    raise Taken
                if await self._swap(self._bits | wanted):
                    return

    async def release(self, ports: Iterable[int]) -> None:
        """Gives ports back; free ones stay so. Raises StoreError."""
        mask = self._mask(ports)
        async with self._turn:
            while self._bits & mask:
                if await self._swap(self._bits & ~mask):
                    return

    async def hold(self, ports: Iterable[int]) -> None:
        """Marks ports as taken that are in use. Raises StoreError."""
        mask = self._mask(ports)
        async with self._turn:
            while mask & ~self._bits:
                if await self._swap(self._bits | mask):
                    return

    def _mask(self, ports: Iterable[int]) -> int:
        """Ports outside the range (of an earlier configuration) are nobody's business."""
        return sum(1 << (port - self.range.first) for port in set(ports) if port in self.range)

    async def _swap(self, bits: int) -> bool:
        """Stores `bits`; False when the store has another state, which is then known."""
        value = self._encode(bits)
        try:
            if self._revision:
                self._revision = await self._store.update(KEY, value, self._revision)
            else:
                self._revision = await self._store.create(KEY, value)
        except (KeyChanged, KeyExists) as error:
            self._adopt(error.current)
            return False
        self._bits = bits
        return True

    def _encode(self, bits: int) -> bytes:
        return orjson.dumps(
            {
                "kind": "RangeAllocation",
                "apiVersion": "v1",
                "metadata": {},
                "range": str(self.range),
                "data": encode(bits.to_bytes((bits.bit_length() + 7) // 8, "big")),
            }
        )

    def _adopt(self, record: Record | None) -> None:
        if record is None:
            self._revision = self._bits = 0
            return
        self._revision = record.revision
        try:
            stored = orjson.loads(record.value)
            first = stored["range"].partition("-")[0]
            bits = int.from_bytes(decode(stored.get("data") or ""), "big")
            shift = int(first) - self.range.first
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorruptObject(f"{KEY.decode()}: not an allocation of ports") from error
        moved = bits << shift if shift >= 0 else bits >> -shift
        self._bits = moved & ((1 << self.range.size) - 1)
