"""Commands as the data of log entries, and the check that they pass before they are proposed and when applied."""

from __future__ import annotations

import msgspec

from kvraft.mvcc.check import MAX_TXN_OPS, check_command
from kvraft.types import Command

__all__ = ["MAX_TXN_OPS", "check_command", "decode_command", "encode_command"]

_encoder = msgspec.msgpack.Encoder()
_command_decoder: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)


def encode_command(command: Command) -> bytes:
    """The data of a NORMAL entry."""
    return _encoder.encode(command)


def decode_command(data: bytes) -> Command:
    """Raises ``msgspec.MsgspecError`` for bytes that are no command."""
    return _command_decoder.decode(data)
