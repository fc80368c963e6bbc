"""Commands as the data of log entries, and the check that they pass before they are proposed and when applied.

An entry carries a batch: the msgpack array of the commands that arrived together, each as its client sent it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kvraft.mvcc.check import MAX_TXN_OPS, check_command
from kvraft.types import Command

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "MAX_TXN_OPS",
    "check_command",
    "decode_commands",
    "encode_command",
    "join_commands",
]

_encoder = msgspec.msgpack.Encoder()
_batch_decoder: msgspec.msgpack.Decoder[list[Command]] = msgspec.msgpack.Decoder(list[Command])


def encode_command(command: Command) -> bytes:
    """One command, as the native protocol carries it too."""
    return _encoder.encode(command)


def join_commands(encoded: Sequence[bytes]) -> bytes:
    """The data of a NORMAL entry that carries these encoded commands, in order: one array, nothing encoded again."""
    count = len(encoded)
    if count < 16:
        head = bytes((0x90 | count,))
    else:
        head = b"\xdc" + count.to_bytes(2)
    return head + b"".join(encoded)


def decode_commands(data: bytes) -> list[Command]:
    """The commands of an entry. Raises ``msgspec.MsgspecError`` for bytes that are no batch of commands."""
    return _batch_decoder.decode(data)
