"""The least HTTP/2 that asks etcd for a Put or a Range, so that the load generator is no heavier than ours.

Header blocks are constant and use no dynamic table; an answer counts as success when its stream carried a message
(etcd answers errors with trailers alone).
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from kvraft.channel import Channel, Closed, WakeUp, dial

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

DATA, HEADERS, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 4, 6, 7, 8
ACK = END_STREAM = 1
END_HEADERS = 4
BIG_WINDOW = (1 << 31) - 1


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def _literal(text: bytes) -> bytes:
    return bytes((len(text),)) + text


def _header_block(method: str, authority: str) -> bytes:
    return (
        b"\x83\x86"  # :method POST, :scheme http
        + b"\x04" + _literal(f"/etcdserverpb.KV/{method}".encode())
        + b"\x01" + _literal(authority.encode())
        + b"\x0f\x10" + _literal(b"application/grpc")
        + b"\x00" + _literal(b"te") + _literal(b"trailers")
    )  # fmt: skip


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes((value,))


def _field(number: int, value: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + _varint(len(value)) + value


def put_message(key: bytes, value: bytes) -> bytes:
    """``etcdserverpb.PutRequest``."""
    return _field(1, key) + _field(2, value)


def txn_message(puts: Iterable[tuple[bytes, bytes]]) -> bytes:
    """``etcdserverpb.TxnRequest`` that puts keys with their values, whatever is there."""
    return b"".join(_field(2, _field(2, put_message(key, value))) for key, value in puts)


def range_message(
    key: bytes, *, serializable: bool, range_end: bytes = b"", limit: int = 0, count_only: bool = False
) -> bytes:
    """``etcdserverpb.RangeRequest`` of one key, or of ``[key, range_end)``."""
    return (
        _field(1, key)
        + (_field(2, range_end) if range_end else b"")
        + (b"\x18" + _varint(limit) if limit else b"")
        + (b"\x38\x01" if serializable else b"")
        + (b"\x48\x01" if count_only else b"")
    )


class EtcdConnection:
    """One connection to etcd; any number of calls in flight."""

    def __init__(self, channel: Channel, authority: str) -> None:
        self._channel = channel
        self._blocks = {method: _header_block(method, authority) for method in ("Put", "Range", "Txn")}
        self._stream = -1
        self._waiting: dict[int, trio.lowlevel.Task] = {}
        self._messages: set[int] = set()
        self._flush = WakeUp()
        settings = b"\0\1" + (0).to_bytes(4) + b"\0\4" + BIG_WINDOW.to_bytes(4)
        channel.queue(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(SETTINGS, 0, 0, settings))
        channel.queue(_frame(WINDOW_UPDATE, 0, 0, (BIG_WINDOW - 65535).to_bytes(4)))

    async def call(self, method: str, message: bytes) -> None:
        """One unary call; raises ``RuntimeError`` when the answer is an error."""
        self._stream += 2
        stream = self._stream
        alone = not self._waiting
        self._waiting[stream] = trio.lowlevel.current_task()
        body = b"\0" + len(message).to_bytes(4) + message
        self._channel.queue(
            _frame(HEADERS, END_HEADERS, stream, self._blocks[method]) + _frame(DATA, END_STREAM, stream, body)
        )
        if not alone or not self._channel.send_now():
            self._flush.set()
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)
        if stream not in self._messages:
            raise RuntimeError(f"etcd answered {method} with an error")
        self._messages.discard(stream)

    async def run(self) -> None:
        """Read and write until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            rest = b""
            try:
                while data := await self._channel.receive():
                    rest = self._frames(rest + data)
            except Closed:
                return

    async def _write(self) -> None:
        while True:
            await self._flush.wait()
            await self._channel.drain()

    def _frames(self, data: bytes) -> bytes:
        position = 0
        while len(data) - position >= 9:
            end = position + 9 + int.from_bytes(data[position : position + 3])
            if end > len(data):
                break
            kind, flags = data[position + 3], data[position + 4]
            stream = int.from_bytes(data[position + 5 : position + 9])
            if kind == DATA:
                self._messages.add(stream)
            elif kind == HEADERS and flags & END_STREAM:
                task = self._waiting.pop(stream, None)
                if task is not None:
                    trio.lowlevel.reschedule(task)
            elif kind in (SETTINGS, PING) and not flags & ACK:
                payload = data[position + 9 : end] if kind == PING else b""
                self._channel.queue(_frame(kind, ACK, 0, payload))
                self._flush.set()
            position = end
        return data[position:]


@asynccontextmanager
async def open_etcd(url: str) -> AsyncIterator[EtcdConnection]:
    """A connection to the etcd member that serves ``url``."""
    channel = await dial(url, None)
    async with trio.open_nursery() as nursery:
        connection = EtcdConnection(channel, url.removeprefix("http://"))
        nursery.start_soon(connection.run)
        yield connection
        nursery.cancel_scope.cancel()
    channel.close()
